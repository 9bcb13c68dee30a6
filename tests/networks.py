"""Random networks with costs and batches, for properties that hold for every one of them, and some that are special."""

import functools
import itertools
import math
import os
from dataclasses import dataclass

import hypothesis.strategies as st
import numpy as np

import numnet as nn

ACTIVATIONS = [nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Softmax]
ENDINGS = [  # (last layer or None for a linear output, cost)
    (nn.Softmax, nn.CrossEntropy),
    (nn.Sigmoid, nn.CrossEntropy),
    (nn.Sigmoid, nn.Quadratic),
    (nn.Softmax, nn.Quadratic),
    (nn.Tanh, nn.Quadratic),
    (nn.ReLU, nn.Quadratic),
    (None, nn.Quadratic),
]


def meaningful(kinds, outputs):
    """Return the kinds of layers without a softmax of one output, which is 1 whatever comes in."""
    return [kind for kind in kinds if outputs > 1 or kind is not nn.Softmax]


@dataclass
class Case:
    net: nn.Sequential
    cost: nn.Cost
    x: np.ndarray
    t: np.ndarray

    @property
    def pair(self):
        return self.cost.pair(self.net.layers)


@st.composite
def cases(draw, dtype="float64", scales=(0.1, 1.0, 10.0)):
    """Draw a chain of 1 to 5 linear layers, most with an activation, weights from tiny to saturating, and a batch."""
    widths = draw(st.lists(st.integers(1, 4), min_size=2, max_size=6))
    scale = draw(st.sampled_from(scales))
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        # Large weights in a row with no activation between make E too steep for the step of any difference formula.
        activations = st.lists(st.sampled_from(meaningful(ACTIVATIONS, outputs)), min_size=int(scale > 1), max_size=1)
        layers += [nn.Linear(inputs, outputs, draw(st.booleans())), *(kind() for kind in draw(activations))]
    if not isinstance(layers[-1], nn.Linear):
        layers.pop()
    last, cost = draw(st.sampled_from([end for end in ENDINGS if meaningful(end[:1], widths[-1])]))
    layers += [last()] if last else []
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    net = nn.Sequential(*layers, seed=int(rng.integers(2**32)), dtype=dtype)
    net.parameters = net.parameters * scale
    n = draw(st.integers(1, 6))
    x = rng.normal(size=(n, widths[0])) * draw(st.sampled_from([0.5, 3.0]))
    return Case(net, cost(), x, draw_targets(draw, rng, n, widths[-1], distribution=last is nn.Softmax))


def backpropagated(net, pair, x, t):
    """Take a batch forward and its error back, as a training step does; return the last layer's input and output."""
    z, y = net.forward(x)
    net.backpropagate(pair, z, y, t)
    return z, y


def draw_targets(draw, rng, n, outputs, distribution):
    """Draw class indices, one-hot rows or probabilities."""
    kind = draw(st.sampled_from(["indices", "one-hot", "probabilities"]))
    labels = rng.integers(outputs, size=n)
    if kind == "indices" and outputs > 1:
        return labels
    if kind == "one-hot":
        return np.eye(outputs)[labels]
    t = rng.random((n, outputs))
    return t / t.sum(axis=1, keepdims=True) if distribution else t


class Fuse(nn.Layer):
    """Passes all through, and burns through at a given call of `forward` in training."""

    analytic = True
    left = math.inf

    def forward(self, x, out=None):
        if out is not None:
            Fuse.left -= 1
            if Fuse.left == 0:
                raise KeyboardInterrupt
        return np.multiply(x, 1, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, 1, out=out)


@st.composite
def exportable(draw):
    """Draw a network of built-in layers with a linear layer among them, float32 or float64, any of them last."""
    widths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    layers = [kind() for kind in draw(st.lists(st.sampled_from(meaningful(ACTIVATIONS, widths[0])), max_size=1))]
    for inputs, outputs in itertools.pairwise(widths):
        activations = st.lists(st.sampled_from(meaningful(ACTIVATIONS, outputs)), max_size=2)
        layers += [nn.Linear(inputs, outputs, draw(st.booleans())), *(kind() for kind in draw(activations))]
    dtype, seed = draw(st.sampled_from(["float32", "float64"])), draw(st.integers(0, 2**32 - 1))
    net = nn.Sequential(*layers, seed=seed, dtype=dtype)
    net.parameters = net.parameters * draw(st.sampled_from([0.1, 1.0, 3.0]))
    return net


def not_exportable():
    """Return networks that no export can write, by what is said of each."""

    class Doubled(nn.Sigmoid):
        def forward(self, x, out=None):
            return 2 * super().forward(x, out)

    class Inverted(nn.Sequential):
        def scaled(self, x, out=None):
            return 1 - super().scaled(x, out)

    class Gated(nn.Linear):
        def __init__(self, inputs, outputs):
            super().__init__(inputs, outputs)
            self.parameters["gate"] = np.ones(outputs)

    diverged = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2))
    diverged.layers[1].bias = np.nan
    return {
        "net must be a Sequential, got Linear(4, 2)": nn.Linear(4, 2),
        "Inverted has a scaled of its own, which would be lost: give a": Inverted(nn.Linear(4, 2)),
        "the network is complex128: give net.astype('float32')": nn.Sequential(nn.Linear(4, 2), dtype="complex128"),
        "layer 1, Doubled(), has a forward or parameters of its own, which would be lost: use Linear, Sigmoid, Tanh, "
        "ReLU, Softmax": nn.Sequential(nn.Linear(4, 2), Doubled()),
        "layer 0, Gated(4, 2), has a forward or parameters of its own": nn.Sequential(Gated(4, 2)),
        "the bias of layer 1 has values that are not finite in float32: training has diverged, train": diverged,
    }


@functools.cache
def trained_on_images():
    """Return a network that was trained for an epoch, and 1,000 test images: of MNIST if its files are there."""
    train, test = nn.datasets.mnist(download=False) if os.environ.get("NUMNET_DATA") else nn.datasets.digits()
    images = np.resize(test.images, (1000, *test.images.shape[1:]))  # again from the first, if there are fewer
    pixels = images[0].size
    net = nn.Sequential(nn.Linear(pixels, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Softmax(), seed=0)
    nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0).fit(train[:20_000], 1, 64, progress=False)
    return net, images.reshape(1000, pixels)
