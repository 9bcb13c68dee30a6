"""
Saturated units, layer by layer
===============================

A sigmoid unit is saturated if y (1 - y) is nearly 0. Then hardly any gradient gets through the unit. How many units are
saturated in each layer, and does training free them? This network has three sigmoid layers, and starts with weights
that are ten times too large. Epoch 0 is the start.

Training hardly frees the hidden units, since little gradient gets through them. At the start, the softmax is saturated,
too, and mostly wrong. But with cross-entropy the gradient of the softmax, (y - t) / n, does not vanish, so one epoch
frees the softmax. Later the softmax saturates again, since the network becomes certain with good reason.
"""

import matplotlib.pyplot as plt

import numnet as nn

train, test = nn.datasets.digits()
net = nn.Sequential(
    nn.Linear(64, 32),
    nn.Sigmoid(),
    nn.Linear(32, 32),
    nn.Sigmoid(),
    nn.Linear(32, 32),
    nn.Sigmoid(),
    nn.Linear(32, 10),
    nn.Softmax(),
    seed=0,
)
net.parameters *= 10

shares = [nn.plotting.saturated(net, test.images)]  # before the first epoch


def record(trainer):
    """Add the saturated shares after an epoch."""
    shares.append(nn.plotting.saturated(trainer.net, test.images))


trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.1), seed=0)
trainer.fit(train, epochs=20, batch_size=64, test=test, callbacks=[record])
nn.plotting.saturation(shares)

plt.show()
