"""
A training run on one page
==========================

:func:`numnet.plotting.report` shows a whole training on one page: how the training went, which class was taken for
what, what the weights look like, and of which mistakes the network was most certain.
"""

import matplotlib.pyplot as plt

import numnet as nn

# sphinx_gallery_thumbnail_number = 2

train, test = nn.datasets.digits()
net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
history = trainer.fit(train, epochs=10, batch_size=64, test=test)
nn.plotting.report(net, history, test)
plt.show()

# %%
# The page is 1600 x 900 pixels. On a small screen, draw its parts one by one. Here are the learning curves alone.
# :doc:`plot_mistakes` draws the confusion matrix and the mistakes, and :doc:`plot_weights` the weights.
nn.plotting.learning_curves(history)
plt.show()

# %%
# The history is a table as well.
history
