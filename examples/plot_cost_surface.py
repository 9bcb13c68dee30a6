"""
Two costs over two weights
==========================

One sigmoid neuron learns to answer 0 to x = 1. The pictures show two costs over the neuron's weight and bias. The
quadratic cost is a step with a plateau: where the neuron is saturated and wrong, the cost is flat, and the gradient is
nearly 0. Cross-entropy rises everywhere, and rises more steeply the more wrong the neuron is.
"""

import matplotlib.pyplot as plt

import numnet as nn

net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), dtype="float64")
net.parameters = [0.0, 0.0]
nn.plotting.cost_surface(net, [[1.0]], [0.0])

# %%
# So two neurons that start equally wrong, with w = b = 2 and y = 0.98, learn in different ways. The learning rates are
# chosen so that both curves can be seen.
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
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
