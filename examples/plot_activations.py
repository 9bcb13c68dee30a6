"""
Activations and their derivatives
=================================

Here are the outputs of three activations, and their derivatives. A gradient that comes back through a unit is
multiplied by the unit's derivative. The sigmoid lets through at most a quarter of the gradient, and nearly nothing if
the sigmoid is saturated. Tanh lets through at most the whole gradient. The ReLU lets through the whole gradient or
nothing. :doc:`/derivations/index` derives the derivatives.
"""

import matplotlib.pyplot as plt
import numpy as np

import numnet as nn

nn.plotting.activations_and_derivatives()

# %%
# Behind several sigmoid layers, little of the gradient is left: each layer multiplies the gradient by 1/4 at most. Here
# is the gradient that reaches each Linear layer of a network with six activations, at the usual starting weights.
train, _ = nn.datasets.digits()
x, t = train.images[:256] / 255, train.labels[:256]
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
looks = {
    nn.Sigmoid: ("o", "#0072B2"),
    nn.Tanh: ("s", "#D55E00"),
    nn.ReLU: ("^", "#009E73"),
}
for activation, (marker, color) in looks.items():
    layers = [layer for _ in range(6) for layer in (nn.Linear(64, 64), activation())]
    net = nn.Sequential(*layers, nn.Linear(64, 10), nn.Softmax(), seed=0)
    nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=1e-9)).step(x, t)
    gradients = [layer.gradients["weight"] for layer in net.layers if layer.parameters]
    sizes = [np.sqrt(np.mean(gradient**2)) for gradient in gradients]
    name = activation.__name__
    ax.semilogy(range(1, 8), sizes, marker + "-", color=color, label=name)
ax.set(xlabel="Linear layer", xticks=range(1, 8))
ax.set(ylabel="size of dE/dw (root mean square)")
ax.spines[["top", "right"]].set_visible(False)
ax.grid(axis="y", color="0.9")
ax.legend(frameon=False)

plt.show()
