"""M. Nielsen, Neural Networks and Deep Learning, chapters 1 and 3: 784-30-10 and 784-100-10 on MNIST.

    python examples/literature/nielsen.py

Source: http://neuralnetworksanddeeplearning.com, the programs network.py and network2.py. All layers are sigmoid, also
the last, and a batch has 10 images. Training is on the first 50,000 training images of MNIST. "Test" is MNIST's test
set, and "validation" is the last 10,000 training images. The book's numbers of chapter 1 are the best epoch of the best
of three runs. For most numbers of chapter 3 the book does not say which epoch they are from.

The book's lambda is a penalty of lambda/(2n) sum w^2 with n training images, so weight_decay is lambda/n.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from table import Result, load, main

import numnet as nn

Data = tuple[nn.backend.Array, nn.backend.Array]


class Experiment(NamedTuple):
    """One of the book's networks; `published` has what the book says of it, by the measures of `run`."""

    what: str
    published: dict[str, str]
    hidden: int = 30
    cost: nn.Cost = nn.CrossEntropy()
    lr: float = 0.5
    penalty: float = 0.0  # the book's lambda
    images: int = 50_000
    epochs: int = 30
    judge: str = "test"
    small_start: bool = False


EXPERIMENTS = [
    Experiment("ch. 1, quadratic, 30 hidden", {"best epoch": "0.9542"}, cost=nn.Quadratic(), lr=3.0),
    Experiment("ch. 1, quadratic, 100 hidden", {"best epoch": "0.9659"}, hidden=100, cost=nn.Quadratic(), lr=3.0),
    Experiment("ch. 3, cross-entropy, 30 hidden", {"best epoch": "0.9549"}),
    Experiment("ch. 3, cross-entropy, 100 hidden", {"best epoch": "0.9682"}, hidden=100),
    Experiment("lambda 5, 30 hidden", {"best epoch": "0.9649"}, penalty=5.0),
    Experiment("lambda 5, 100 hidden", {"best epoch": "0.9792"}, hidden=100, penalty=5.0, judge="validation"),
    Experiment(
        "lambda 5, 100 hidden, lr 0.1, 60 epochs",
        {"best epoch": "0.9804"},
        hidden=100,
        lr=0.1,
        penalty=5.0,
        epochs=60,
        judge="validation",
    ),
    Experiment(
        "1,000 images, 400 epochs",
        {"best epoch": "0.8227", "training accuracy": "1.00", "epoch of the lowest cost": "15"},
        images=1000,
        epochs=400,
    ),
    Experiment("1,000 images, 400 epochs, lambda 0.1", {"best epoch": "0.871"}, penalty=0.1, images=1000, epochs=400),
    Experiment(
        "large start, lambda 5, lr 0.1",
        {"epoch 1": "under 0.87", "best epoch": "0.96"},
        lr=0.1,
        penalty=5.0,
        judge="validation",
    ),
    Experiment(
        "small start, lambda 5, lr 0.1",
        {"epoch 1": "almost 0.93", "best epoch": "0.96"},
        lr=0.1,
        penalty=5.0,
        judge="validation",
        small_start=True,
    ),
]


def results(options: argparse.Namespace) -> Iterator[Result]:
    """Yield the lines of the table."""
    train, test = load(options)
    rest = len(train) * 5 // 6  # 50,000 of 60,000
    judges = {"test": (test.images, test.labels), "validation": (train.images[rest:], train.labels[rest:])}
    for experiment in EXPERIMENTS:
        if options.quick:
            experiment = experiment._replace(epochs=1)
        n = min(experiment.images, rest)
        data = train.images[:n], train.labels[:n]
        started = time.process_time()
        runs = [run(experiment, data, judges[experiment.judge], seed) for seed in range(options.seeds)]
        seconds = (time.process_time() - started) / options.seeds
        for measure in dict.fromkeys([*experiment.published, "last epoch"]):
            form = ".0f" if measure.startswith("epoch of") else ".4f"
            found = [measures[measure] for measures in runs]
            what = f"{experiment.what}, {experiment.judge}: {measure}"
            yield Result(what, experiment.published.get(measure, ""), found, seconds, form)
            seconds = 0.0


def run(experiment: Experiment, data: Data, judge: Data, seed: int) -> dict[str, float]:
    """Train one network; return its accuracies on the data that judge it, and its accuracy on the training data."""
    inputs = data[0][0].size
    layers = [nn.Linear(inputs, experiment.hidden), nn.Sigmoid(), nn.Linear(experiment.hidden, 10), nn.Sigmoid()]
    net = nn.Sequential(*layers)
    start(net, experiment.small_start, seed)
    sgd = nn.SGD(experiment.lr, weight_decay=experiment.penalty / len(data[1]))
    trainer = nn.Trainer(net, experiment.cost, sgd, seed=seed)
    history = trainer.fit(data, experiment.epochs, batch_size=10, test=judge, progress=False)
    return {
        "epoch 1": history.test_accuracy[0],
        "best epoch": max(history.test_accuracy),
        "last epoch": history.test_accuracy[-1],
        "training accuracy": net.accuracy(*data),
        "epoch of the lowest cost": 1 + int(np.argmin(history.test_cost)),
    }


def start(net: nn.Sequential, small: bool, seed: int) -> None:
    """Draw weights and biases from a Gaussian of deviation 1; of 1/sqrt(inputs) for the weights of the small start."""
    net.parameters = np.random.default_rng(seed).normal(size=net.parameters.size)
    if small:
        for layer in net.layers:
            if isinstance(layer, nn.Linear):
                layer.weight /= np.sqrt(layer.weight.shape[0])


if __name__ == "__main__":
    sys.exit(main(__doc__, 5, results))
