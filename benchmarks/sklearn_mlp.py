"""numnet's NetClassifier beside scikit-learn's MLPClassifier: accuracies and times at equal settings.

    NUMNET_DATA=... python benchmarks/sklearn_mlp.py

Both train by SGD with the same batches, learning rate, momentum and number of epochs, in float32 and with one thread of
BLAS. They take turns in one process. Each draws its own starting weights and order of the samples, from five seeds.
Without NUMNET_DATA there is no row for MNIST.
"""

from __future__ import annotations

import os
import statistics
import time
import warnings
from typing import Any

import machine

machine.start_without_overrides()

import numpy as np  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

import numnet as nn  # noqa: E402
from numnet.sklearn import NetClassifier  # noqa: E402

SEEDS = range(5)


def main() -> None:
    """Print what was measured, and a table."""
    print(machine.describe(["scikit-learn"]))
    cases: dict[str, tuple[Any, tuple[int, ...], int]] = {"digits 64-100-10": (nn.datasets.digits(), (100,), 30)}
    if os.environ.get("NUMNET_DATA"):
        cases["MNIST 784-128-10"] = (nn.datasets.mnist(download=False), (128,), 5)
    for name, ((train, test), hidden, epochs) in cases.items():
        compare(name, images(train), images(test), hidden, epochs)


def images(data: nn.datasets.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of numbers from 0 to 1, and labels."""
    return data.images.reshape(len(data), -1).astype(np.float32) / 255, data.labels


def compare(name: str, train: Any, test: Any, hidden: tuple[int, ...], epochs: int) -> None:
    """Train both from each seed, and print medians."""
    same = {"hidden_layer_sizes": hidden, "activation": "relu", "momentum": 0.9, "batch_size": 64, "max_iter": epochs}
    never = {"tol": 0.0, "n_iter_no_change": np.inf}
    ours: dict[str, list[float]] = {"seconds": [], "accuracy": [], "prediction": []}
    theirs: dict[str, list[float]] = {"seconds": [], "accuracy": [], "prediction": []}
    for seed in SEEDS:
        pair = [
            (ours, NetClassifier(lr=0.05, nesterov=True, clip_norm=None, random_state=seed, **same, **never)),
            (
                theirs,
                MLPClassifier(solver="sgd", learning_rate_init=0.05, alpha=0, random_state=seed, **same, **never),
            ),
        ]
        for results, model in pair if seed % 2 else reversed(pair):
            started = time.perf_counter()
            model.fit(*train)
            results["seconds"].append(time.perf_counter() - started)
            started = time.perf_counter()
            results["accuracy"].append(model.score(*test))
            results["prediction"].append(time.perf_counter() - started)
    print(f"\n{name}, {len(train[1]):,} samples, {epochs} epochs: medians of {len(SEEDS)} seeds (lowest to highest)")
    for who, results in (("numnet", ours), ("scikit-learn", theirs)):
        print(f"{who:13}", *(f"{kind} {spread(values)}" for kind, values in results.items()), sep="  ")
    ratios = {
        kind: spread([b / a for a, b in zip(ours[kind], theirs[kind], strict=True)])
        for kind in ("seconds", "prediction")
    }
    print("scikit-learn's time over numnet's:", *(f"{kind} {ratio}" for kind, ratio in ratios.items()), sep="  ")


def spread(values: list[float]) -> str:
    """Return the median, and the lowest and highest value."""
    return f"{statistics.median(values):.4f} ({min(values):.4f} to {max(values):.4f})"


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs were asked for
    with threadpool_limits(1):
        main()
