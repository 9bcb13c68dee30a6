"""
A training run on one page
==========================

:func:`numnet.plotting.report` puts what there is to see after a training on one page: how it went, what was taken for
what, what the weights look like, and which mistakes the network was surest of.
"""

import matplotlib.pyplot as plt

import numnet as nn

train, test = nn.datasets.digits()
net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
history = trainer.fit(train, epochs=10, batch_size=64, test=test)
nn.plotting.report(net, history, test)
plt.show()

# %%
# The history is a table as well.
history
