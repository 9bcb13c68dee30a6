"""
What weights look like
======================

Each unit of the first layer has a weight for each pixel, so its weights are a picture. Those of a softmax network are
rough templates of the digits: bright where ink speaks for the class, dark where it speaks against it.
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
# Where no digit has ink, in the corners, a weight gets no gradient and stays as it started. From a start ten times
# larger than usual one sees that:
net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
net.parameters *= 10
nn.plotting.weight_images(trained(net))

# %%
# Weight decay takes away what the data do not ask for:
net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
net.parameters *= 10
nn.plotting.weight_images(trained(net, weight_decay=0.01))

# %%
# Hidden units need not be templates of whole digits: what each answers to, several digits may share, and the next layer
# combines it.
net = trained(nn.Sequential(nn.Linear(64, 20), nn.Sigmoid(), nn.Linear(20, 10), nn.Softmax(), seed=0), momentum=0.9)
nn.plotting.weight_images(net)

plt.show()
