"""
Two costs from two starts
=========================

Is cross-entropy the better cost? From the usual small weights, the two costs differ little on these digits if the
learning rate suits both: of 0.1, 0.2, 0.5, 1, 2, 5 and 10, both end highest with 5. The other start has weights so
large that most first outputs are confident mistakes. From this start, the quadratic cost stays on its plateau for a
time, and cross-entropy learns at once. :doc:`/quadratic-vs-cross-entropy` makes the same comparison on MNIST.
"""

import matplotlib.pyplot as plt

import numnet as nn

train, test = nn.datasets.digits()


def run(cost, scale):
    """Train a softmax network from `scale` times the usual weights."""
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    net.parameters *= scale
    trainer = nn.Trainer(net, cost, nn.SGD(lr=5.0), seed=0)
    return trainer.fit(train, epochs=30, batch_size=64, test=test)


figure, axes = plt.subplots(2, 1, figsize=(6.4, 7), sharey=True, layout="constrained")
for ax, scale, start in zip(axes, (1, 100), ("Usual start", "Saturated start: weights x 100"), strict=True):
    histories = {repr(cost): run(cost, scale) for cost in (nn.CrossEntropy(), nn.Quadratic())}
    nn.plotting.learning_curves(histories, ax=ax).set_title(start, loc="left")

plt.show()
