"""Random networks with costs and batches, for properties that hold for every one of them; and a layer that fails."""

import itertools
import math
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
