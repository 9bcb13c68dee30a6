"""S. Raschka, Y. Liu, V. Mirjalili, Machine Learning with PyTorch and Scikit-Learn, chapter 11: 784-50-10 from scratch.

    python examples/literature/raschka.py

Source: https://github.com/rasbt/machine-learning-book, ch11. Sigmoids, pixels from -1 to 1, batches of 100, 50 epochs.
All 70,000 images of MNIST are split at random: 55,000 to train on, 5,000 for validation and 10,000 to test.

The book's learning rate is 0.1. But its gradient is that of 1/n sum (y - t)^2, twice that of numnet's quadratic cost
1/(2n) sum (y - t)^2, so the rate is 0.2 here. (The loss that the book prints is a tenth of the loss that it descends:
the mean over the ten classes, too.)

The seeds decide on the split, the start and the order. If scikit-learn is installed, there is also a run with those of
the book, whose seed is 123.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from table import Result, load, main

import numnet as nn

Array = nn.backend.Array
PUBLISHED = {"training": "0.9559", "validation": "0.9474", "test": "0.9451"}


def results(options: argparse.Namespace) -> Iterator[Result]:
    """Yield the lines of the table."""
    sets = load(options)
    images, labels = np.concatenate([s.images for s in sets]), np.concatenate([s.labels for s in sets])
    x = (images.reshape(len(images), -1) / np.float32(127.5) - 1).astype(np.float32)
    epochs = 1 if options.quick else 50
    yield from lines("784-50-10", lambda seed: run(x, labels, epochs, seed), list(range(options.seeds)))
    if importlib.util.find_spec("sklearn"):
        yield from lines("the book's own seed", lambda seed: as_in_the_book(x, labels, epochs, seed), [123])
    else:
        print("no run with the book's own seed: its split is scikit-learn's, which is not installed", file=sys.stderr)


def lines(what: str, run: Callable[[int], list[float]], seeds: list[int]) -> Iterator[Result]:
    """Yield a line for each part of the images."""
    started = time.process_time()
    runs = [run(seed) for seed in seeds]
    seconds = (time.process_time() - started) / len(seeds)
    for part, found in zip(PUBLISHED, zip(*runs, strict=True), strict=True):
        yield Result(f"{what}, {part} accuracy", PUBLISHED[part], list(found), seconds)
        seconds = 0.0


def run(x: Array, labels: Array, epochs: int, seed: int) -> list[float]:
    """Train on 55 of 70 parts of the images; return the accuracies on these, on 5 others and on the remaining 10."""
    rng = np.random.default_rng(seed)
    parts = np.split(rng.permutation(len(x)), [len(x) * 55 // 70, len(x) * 60 // 70])
    net = network(rng.normal(scale=0.1, size=(50, x.shape[1])), rng.normal(scale=0.1, size=(10, 50)))
    trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(2 * 0.1), seed=seed)
    trainer.fit((x[parts[0]], labels[parts[0]]), epochs, batch_size=100, progress=False)
    return [net.accuracy(x[part], labels[part]) for part in parts]


def as_in_the_book(x: Array, labels: Array, epochs: int, seed: int) -> list[float]:
    """Do the same with the random numbers that the book draws, and in the book's order."""
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(np.arange(len(x)), test_size=len(x) // 7, random_state=seed, stratify=labels)
    train, held_out = train_test_split(rest, test_size=len(x) // 14, random_state=seed, stratify=labels[rest])
    rng = np.random.RandomState(seed)
    net = network(rng.normal(scale=0.1, size=(50, x.shape[1])), rng.normal(scale=0.1, size=(10, 50)))
    trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(2 * 0.1))
    rng = np.random.RandomState(seed)
    for _ in range(epochs):
        order = shuffled(train, rng)
        for start in range(0, len(order) - 99, 100):
            rows = order[start : start + 100]
            trainer.step(x[rows], labels[rows])
        shuffled(train, rng), shuffled(held_out, rng)  # the book shuffles before it measures an accuracy
    return [net.accuracy(x[part], labels[part]) for part in (train, held_out, test)]


def shuffled(rows: Array, rng: np.random.RandomState) -> Array:
    """Return rows in a new order, drawn as the book draws it."""
    order = np.arange(len(rows))
    rng.shuffle(order)
    return rows[order]


def network(hidden: Array, output: Array) -> nn.Sequential:
    """Return the network with these weights, one row for each unit, and biases of 0."""
    layers = nn.Linear(hidden.shape[1], len(hidden)), nn.Linear(output.shape[1], len(output))
    net = nn.Sequential(layers[0], nn.Sigmoid(), layers[1], nn.Sigmoid())
    net.parameters = 0
    layers[0].weight, layers[1].weight = hidden.T, output.T
    return net


if __name__ == "__main__":
    sys.exit(main(__doc__, 5, results))
