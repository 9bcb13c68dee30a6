"""
Two costs from two starts
=========================

Is cross-entropy the better cost? Here are the two costs from two starts: from the usual small weights, and from weights
so large that most first outputs are confident mistakes. :doc:`/quadratic-vs-cross-entropy` makes the same comparison on
MNIST.
"""

import matplotlib.pyplot as plt

import numnet as nn

# sphinx_gallery_thumbnail_number = 2

train, test = nn.datasets.digits()


def run(cost, scale):
    """Train a softmax network from `scale` times the usual weights."""
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    net.parameters *= scale
    trainer = nn.Trainer(net, cost, nn.SGD(lr=5.0), seed=0)
    return trainer.fit(train, epochs=30, batch_size=64, test=test)


def compare(scale, title):
    """Draw the learning curves of both costs."""
    costs = nn.CrossEntropy(), nn.Quadratic()
    histories = {repr(cost): run(cost, scale) for cost in costs}
    ax = nn.plotting.learning_curves(histories)
    ax.set_ylim(0, 1.02)
    ax.set_title(title, loc="left")


# %%
# From the usual start, the two costs differ little on these digits, if the learning rate suits both costs. Of the
# learning rates 0.1, 0.2, 0.5, 1, 2, 5 and 10, both costs end with the highest accuracy at 5.
compare(1, "Usual start")

# %%
# From the saturated start, the quadratic cost stays on its plateau for a time, and cross-entropy learns at once.
compare(100, "Saturated start: weights x 100")

plt.show()
