"""
A training run on one page
==========================

:func:`numnet.plotting.report` shows a whole training on one page: how the training went, which class was taken for
what, what the weights look like, and of which mistakes the network was most certain.
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
