r"""
Momentum in a narrow valley
===========================

In a narrow valley, a cost is steep across the valley, and flat along the valley. Plain gradient descent then leaps from
wall to wall, and makes little progress along the valley. Momentum adds up past steps, and the steps along the valley
all have the same direction. So with momentum about half the learning rate is enough to get along the valley, and with
the smaller rate the swings across the valley die out sooner. Nesterov's variant looks one step ahead and swings less.
:doc:`/derivations/sgd` has the formulas.

The valley is a real cost, E = 1/4 (w1\ :sup:`2` + 25 w2\ :sup:`2`): a linear neuron of two weights, whose inputs
differ in scale by a factor of 5. For each optimizer, twenty learning rates are tried. Each picture shows the path with
the learning rate that reaches the lowest cost in 25 steps.
"""

import matplotlib.pyplot as plt
import numpy as np

import numnet as nn

# sphinx_gallery_thumbnail_number = 2

x = np.array([[1.0, 0.0], [0.0, 5.0]])
t = np.zeros((2, 1))


def path(optimizer):
    """Return the weights before each of 25 steps from (-9, 2), and after the last."""
    net = nn.Sequential(nn.Linear(2, 1), dtype="float64")
    net.parameters = [-9.0, 2.0, 0.0]
    trainer = nn.Trainer(net, nn.Quadratic(), optimizer)
    weights = [net.parameters[:2].copy()]
    for _ in range(25):
        trainer.step(x, t)
        net.layers[0].bias = 0.0  # so that only the two weights change
        weights.append(net.parameters[:2].copy())
    return np.array(weights)


def cost(w1, w2):
    """Return E."""
    return (w1**2 + 25 * w2**2) / 4


w1, w2 = np.meshgrid(np.linspace(-11, 5, 200), np.linspace(-4, 4, 200))


def draw(label, color, **options):
    """Draw the path with the best learning rate. On a grey line, E is the same."""
    lrs = np.linspace(0.01, 0.2, 20)
    ends = [cost(*path(nn.SGD(lr, **options))[-1]) for lr in lrs]
    lr = lrs[np.argmin(ends)]
    _, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    levels = [1, 5, 15, 35, 65, 105]
    ax.contour(w1, w2, cost(w1, w2), levels=levels, colors="0.8", linewidths=1)
    ax.plot(*path(nn.SGD(lr, **options)).T, "o-", color=color, ms=4, lw=1.2)
    ax.plot(0, 0, "k+", ms=12)
    title = f"{label}, lr {lr:.2f}: E = {min(ends):.1g} after 25 steps"
    ax.set_title(title, loc="left")
    ax.set(xlabel="w1", ylabel="w2")
    ax.spines[["top", "right"]].set_visible(False)


# %%
# Plain gradient descent begins at the left, and leaps from wall to wall. The cross is the lowest place.
draw("plain", "#D55E00")

# %%
# With momentum, the swings across the valley become smaller, and the steps along the valley become larger.
draw("momentum 0.7", "#0072B2", momentum=0.7)

# %%
# Nesterov's variant leaps once, and then goes along the valley.
draw("Nesterov, momentum 0.7", "#009E73", momentum=0.7, nesterov=True)

plt.show()
