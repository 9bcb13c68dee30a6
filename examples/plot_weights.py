"""
What weights look like
======================

Each unit of the first layer has a weight for each pixel, so the weights of a unit are a picture. The weights of a
softmax network are rough templates of the digits. A pixel is yellow if ink there speaks for the class, and dark blue if
ink there speaks against the class. Grey is a weight near 0.
"""

import matplotlib.pyplot as plt

import numnet as nn

# sphinx_gallery_thumbnail_number = 4

train, test = nn.datasets.digits()


def trained(net, **options):
    """Train a network."""
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5, **options), seed=0)
    trainer.fit(train, epochs=30, batch_size=64)
    return net


net = trained(nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0))
nn.plotting.weight_images(net)

# %%
# No digit has ink in the corners. A weight in a corner gets no gradient, and keeps its starting value. Starting weights
# that are ten times larger than usual make this visible:
net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
net.parameters *= 10
nn.plotting.weight_images(trained(net))

# %%
# Weight decay makes a weight small if the data give no reason for a large weight:
net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
net.parameters *= 10
nn.plotting.weight_images(trained(net, weight_decay=0.01))

# %%
# Hidden units need not be templates of whole digits. A hidden unit may answer to a shape that several digits share, and
# the next layer combines the answers of the hidden units.
layers = nn.Linear(64, 20), nn.Sigmoid(), nn.Linear(20, 10), nn.Softmax()
net = nn.Sequential(*layers, seed=0)
nn.plotting.weight_images(trained(net, momentum=0.9))

plt.show()
