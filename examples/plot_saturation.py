"""
Saturated units, layer by layer
===============================

A sigmoid unit is saturated where y (1 - y) is nearly 0: then hardly any gradient gets through it. How many are, in
which layer, and does training free them? Here for a network of three sigmoid layers that starts with weights ten times
too large; epoch 0 is the start.

Training hardly frees the hidden units, since little gradient gets through them. The softmax starts saturated, too, and
mostly wrong. But with cross-entropy its gradient, (y - t) / n, does not vanish, so that is undone in one epoch; later
it saturates again, as the network becomes sure with good reason.
"""

import matplotlib.pyplot as plt

import numnet as nn

train, test = nn.datasets.digits()
hidden = nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, 32), nn.Sigmoid(), nn.Linear(32, 32), nn.Sigmoid()
net = nn.Sequential(*hidden, nn.Linear(32, 10), nn.Softmax(), seed=0)
net.parameters *= 10

shares = [nn.plotting.saturated(net, test.images)]  # before the first epoch


def record(trainer):
    """Add the shares after an epoch."""
    shares.append(nn.plotting.saturated(trainer.net, test.images))


trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.1), seed=0)
trainer.fit(train, epochs=20, batch_size=64, test=test, callbacks=[record])
nn.plotting.saturation(shares)

plt.show()
