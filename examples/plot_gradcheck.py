"""
How to judge a derivative
=========================

A derivative that was derived by hand can be compared with differences of the cost. But a difference has errors of its
own: with a large step h, the difference is not yet the derivative, and with a small h, rounding errors are large. So
the derivative and the difference agree only in their first digits, and you must know how many digits to expect. The
complex step, Im E(w + ih) / h, subtracts nothing, so its h can be as small as you like.
"""

import matplotlib.pyplot as plt
import numpy as np

import numnet as nn

# %%
# Here is one sigmoid neuron with cross-entropy. For the target 0, its cost is E = ln(1 + exp(z)). The derivative by
# hand is dE/dw = x (y - t).
w, x = 0.7, 1.3


def cost(w):
    """Return E."""
    return np.log(1 + np.exp(w * x))


exact = x / (1 + np.exp(-w * x))
steps = np.logspace(-16, 0, 60)
one_sided = (cost(w + steps) - cost(w)) / steps
central = (cost(w + steps) - cost(w - steps)) / (2 * steps)
complex_step = cost(w + 1j * steps).imag / steps
methods = {
    "one-sided, (E(w+h) - E(w)) / h": (one_sided, "o", "#D55E00"),
    "central, (E(w+h) - E(w-h)) / 2h": (central, "s", "#0072B2"),
    "complex step, Im E(w+ih) / h": (complex_step, "^", "#009E73"),
}
figure, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
for label, (values, marker, color) in methods.items():
    error = np.abs(values - exact) / exact
    ax.loglog(steps, np.maximum(error, 1e-17), marker, color=color, ms=4, label=label)
ax.set(xlabel="step h", ylabel="relative error", ylim=(3e-18, 3e3))
ax.spines[["top", "right"]].set_visible(False)
ax.grid(color="0.92")
ax.legend(frameon=False)

# %%
# :func:`numnet.gradcheck` compares the derivatives with central differences and with the complex step, for every
# parameter and every input of a network. The function chooses h by itself. Here it judges tanh, and a tanh with a wrong
# sign in its derivative.


class WrongTanh(nn.Tanh):
    """dy/dx = 1 + y^2, where it should be 1 - y^2."""

    def backward(self, grad, out=None):
        """Return dE/dx, wrongly."""
        return np.multiply(grad, 1 + self.y**2, out=out)


rng = np.random.default_rng(0)
images, labels = rng.normal(size=(5, 3)), rng.integers(2, size=5)
for activation in nn.Tanh(), WrongTanh():
    layers = nn.Linear(3, 4), activation, nn.Linear(4, 2), nn.Softmax()
    net = nn.Sequential(*layers, seed=0)
    report = nn.gradcheck(net, nn.CrossEntropy(), images, labels)
    print(f"{activation!r}: central differences are off by {report.central.error:.0e},")
    print(f"    the complex step by {report.complex_step.error:.0e}")

# %%
# The last network had the wrong sign. If you give a limit, ``gradcheck`` raises an error that names the place of the
# largest difference:
try:
    nn.gradcheck(net, nn.CrossEntropy(), images, labels, raise_above=1e-7)
except nn.GradientError as error:
    print(str(error).replace(": ", ":\n"))

plt.show()
