"""Stanford's CS231n: two toy networks of its notes and assignments, with the course's own random numbers.

    python examples/literature/cs231n.py

The case study (https://cs231n.github.io/neural-networks-case-study/) has three spiral arms of 100 points, a softmax and
a network 2-100-3 of ReLUs. The printed losses say what the notes do not: the generator's seed is 0, and the first
weights were drawn three times before the run that is shown. The penalty is reg/2 sum W^2, so weight_decay is reg.

Assignment 1, two_layer_net.ipynb, trains 4-10-3 on five points, with batches of 200 points drawn with replacement. The
learning rate is 0.95 times as large after each step. The penalty is reg sum W^2, so weight_decay is 2 reg. Many who did
the assignment have published its last loss, 0.017149607938732093.

Both losses are with the penalty. All is in float64, as in the course.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np
from table import Result, main

import numnet as nn

Array = nn.backend.Array

SOFTMAX = """
1.096956 0.917265 0.851503 0.822336 0.807586 0.799448 0.794681 0.791764 0.789920 0.788726
0.787938 0.787409 0.787049 0.786803 0.786633 0.786514 0.786431 0.786373 0.786331 0.786302
"""
NETWORK = "1.098744 0.294946 0.259301 0.248310 0.246170 0.245649 0.245491 0.245400 0.245335 0.245292"


def results(options: argparse.Namespace) -> Iterator[Result]:
    """Yield the lines of the table; the seeds are the course's."""
    rng = np.random.RandomState(0)
    x, t = spiral(rng)
    rng.randn(18)  # the weights of the runs that are not shown
    losses = dict(zip(range(0, 200, 10), SOFTMAX.split(), strict=True))
    yield from descend("spiral, softmax", [0.01 * rng.randn(2, 3)], x, t, 200, losses, "0.49")
    weights = [0.01 * rng.randn(2, 100), 0.01 * rng.randn(100, 3)]
    losses = dict(zip(range(0, 10_000, 1000), NETWORK.split(), strict=True))
    yield from descend("spiral, 2-100-3", weights, x, t, 1001 if options.quick else 10_000, losses, "0.98")
    started = time.process_time()
    yield Result(
        "assignment 1, loss 100", "0.017149607938732093", [assignment()], time.process_time() - started, ".18f"
    )


def spiral(rng: np.random.RandomState) -> tuple[Array, Array]:
    """Return three arms of 100 points each, and the number of the arm of each point."""
    radius = np.linspace(0, 1, 100)
    angles = [np.linspace(4 * arm, 4 * (arm + 1), 100) + 0.2 * rng.randn(100) for arm in range(3)]
    points = [np.column_stack([radius * np.sin(angle), radius * np.cos(angle)]) for angle in angles]
    return np.concatenate(points), np.repeat(np.arange(3), 100)


def network(weights: list[Array]) -> nn.Sequential:
    """Return a network of ReLUs and a softmax, with these weights and no bias yet."""
    linear = [nn.Linear(*weight.shape) for weight in weights]
    layers = [layer for pair in zip(linear, [nn.ReLU() for _ in linear], strict=True) for layer in pair]
    net = nn.Sequential(*layers[:-1], nn.Softmax(), dtype="float64")
    net.parameters = 0
    for layer, weight in zip(linear, weights, strict=True):
        layer.weight = weight
    return net


def descend(
    what: str, weights: list[Array], x: Array, t: Array, steps: int, published: dict[int, str], accuracy: str
) -> Iterator[Result]:
    """Train on all points in each step; yield the losses that the notes print, and the accuracy in the end."""
    net, reg = network(weights), 1e-3
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(1.0, weight_decay=reg))
    started = time.process_time()
    for step in range(steps):
        penalty = reg / 2 * squares(net)
        loss = trainer.step(x, t) + penalty
        if step in published:
            yield Result(f"{what}, loss {step}", published[step], [loss], 0.0, ".6f")
    found = [net.accuracy(x, t)]
    yield Result(f"{what}, accuracy in the end", accuracy, found, time.process_time() - started)


def assignment() -> float:
    """Return the loss of the last of 100 steps."""
    rng = np.random.RandomState(0)
    net, reg = network([0.1 * rng.randn(4, 10), 0.1 * rng.randn(10, 3)]), 5e-6
    x, t = 10 * np.random.RandomState(1).randn(5, 4), np.array([0, 1, 2, 2, 1])
    trainer, lr = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1, weight_decay=2 * reg)), 0.1
    for _ in range(100):
        rows = rng.choice(5, 200)
        penalty = reg * squares(net)
        loss = trainer.step(x[rows], t[rows], lr=lr) + penalty
        lr *= 0.95
    return loss


def squares(net: nn.Sequential) -> float:
    """Return the sum of the squares of all weights."""
    return sum(float(np.sum(layer.weight**2)) for layer in net.layers if isinstance(layer, nn.Linear))


if __name__ == "__main__":
    sys.exit(main(__doc__, 1, results))
