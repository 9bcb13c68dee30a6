"""T. Rashid, Make Your Own Neural Network: 784-200-10 without biases, one image at a time.

    python examples/literature/rashid.py

Source: https://github.com/makeyourownneuralnetwork/makeyourownneuralnetwork, the notebook
part2_neural_network_mnist_data.ipynb, which prints 0.9712. Sigmoids, the quadratic cost, a learning rate of 0.1, inputs
from 0.01 to 1, and targets of 0.01 and 0.99. Five epochs take the 60,000 images in the order of their file.

The start of the notebook is a Gaussian of deviation 1/sqrt(inputs) for each layer. The first versions of the program
have 1/sqrt(outputs). `Trainer.fit` takes the images in a new order in each epoch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np
from table import Result, load, main

import numnet as nn

Array = nn.backend.Array


def results(options: argparse.Namespace) -> Iterator[Result]:
    """Yield the lines of the table."""
    train, test = load(options)
    x, t = inputs(train.images), np.where(train.labels[:, None] == np.arange(10), 0.99, 0.01)
    epochs = 1 if options.quick else 5
    for what, published, start, in_order in (
        ("the notebook", "0.9712", nn.starts.nielsen, True),
        ("the notebook's start, a new order each epoch", "", nn.starts.nielsen, False),
        ("the start of the first versions", "", by_outputs, True),
    ):
        started = time.process_time()
        found = []
        for seed in range(options.seeds):
            layers = [nn.Linear(n, m, bias=False, start=start) for n, m in ((x.shape[1], 200), (200, 10))]
            net = nn.Sequential(layers[0], nn.Sigmoid(), layers[1], nn.Sigmoid(), seed=seed)
            trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1), seed=seed)
            if in_order:
                for _ in range(epochs):
                    for i in range(len(x)):
                        trainer.step(x[i : i + 1], t[i : i + 1])
            else:
                trainer.fit((x, t), epochs, batch_size=1, progress=False)
            found.append(net.accuracy(inputs(test.images), test.labels))
        yield Result(what, published, found, (time.process_time() - started) / options.seeds)


def inputs(images: Array) -> Array:
    """Return images as rows of numbers from 0.01 to 1."""
    return (0.01 + 0.99 / 255 * images.reshape(len(images), -1)).astype(np.float32)


def by_outputs(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return weights from a Gaussian of deviation 1/sqrt(outputs)."""
    return rng.normal(0, shape[1] ** -0.5, shape)


if __name__ == "__main__":
    sys.exit(main(__doc__, 3, results))
