"""
Two costs over two weights
==========================

One sigmoid neuron learns to answer 0 to x = 1. Each panel is a map of a cost E, like a map of a landscape: w goes to
the right, b upwards, and the colour is the height, from dark blue for a small E to yellow for a large E. On each line
between two colours, E is the number beside the colour bar. Each number is about twice the number below. The white dot
is the neuron at w = b = 0, where y = 1/2. Training moves the dot downhill, towards the dark blue corner, where y is
near 0.
"""

import matplotlib.pyplot as plt

import numnet as nn

net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), dtype="float64")
net.parameters = [0.0, 0.0]
figure = nn.plotting.cost_surface(net, [[1.0]], [0.0])
for ax in figure.axes:
    ax.set(xlabel="w", ylabel="b")

# %%
# The yellow part of the quadratic cost is a plateau. On the plateau, the neuron is saturated and wrong: y is near 1,
# and E is near 1/2, whatever w and b are. So there is no line on the plateau, and the gradient is nearly 0. A dot that
# starts on the plateau hardly moves. Cross-entropy has no plateau. Its lines at 1, 2, 5 and 10 show that E keeps rising
# as the neuron becomes more wrong, so from every place there is a slope to go down.
#
# So two neurons that start equally wrong, with w = b = 2 and y = 0.98, learn in different ways. The learning rates are
# chosen so that both curves can be seen.
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
runs = [
    (nn.Quadratic(), 0.15, "-", "#D55E00"),
    (nn.CrossEntropy(), 0.005, "--", "#0072B2"),
]
for cost, lr, style, color in runs:
    net.parameters = [2.0, 2.0]
    trainer = nn.Trainer(net, cost, nn.SGD(lr))
    outputs = []
    for _ in range(400):
        outputs.append(net([[1.0]]).item())
        trainer.step([[1.0]], [0.0])
    ax.plot(outputs, style, color=color, label=f"{cost!r}, lr {lr}")
ax.set(xlabel="step", ylabel="output y for target 0", ylim=(0, 1))
ax.spines[["top", "right"]].set_visible(False)
ax.grid(axis="y", color="0.9")
ax.legend(frameon=False)

plt.show()
