"""Train a softmax network by L-BFGS, an optimizer of SciPy, in place of stochastic gradient descent.

python examples/lbfgs.py
python examples/lbfgs.py --dataset mnist --iterations 50

The program needs SciPy: pip install scipy.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
from mnist_softmax import count, load, run
from scipy.optimize import minimize  # type: ignore[import-untyped]

import numnet as nn


def main() -> int:
    """Train, and print the cost and the accuracies before and after."""
    options = parse_arguments()
    train, test = load(options)
    net = nn.Sequential(nn.Linear(train.images[0].size, 10), nn.Softmax(), seed=options.seed, dtype="float64")

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        return nn.cost_and_gradient(net, nn.CrossEntropy(), train.images, train.labels, parameters)

    show("before", objective(net.parameters)[0], net, train, test)
    started, limit = time.perf_counter(), {"maxiter": options.iterations}
    result: Any = minimize(objective, net.parameters, jac=True, method="L-BFGS-B", options=limit)
    net.parameters = result.x
    show("after", result.fun, net, train, test)
    seconds = time.perf_counter() - started
    print(f"{result.nit} iterations, {result.nfev} gradients of {len(train)} samples, {seconds:.1f} s")
    print(f"SciPy says: {result.message}")
    return 0


def show(when: str, cost: float, net: nn.Sequential, train: nn.datasets.Dataset, test: nn.datasets.Dataset) -> None:
    """Print a line for the network as it is now."""
    accuracies = [net.accuracy(data.images, data.labels) for data in (train, test)]
    print(f"{when:6}  cost {cost:.4g}  training accuracy {accuracies[0]:.4f}  test accuracy {accuracies[1]:.4f}")


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dataset", choices=["digits", "mnist"], default="digits", help="what to train on (digits)")
    parser.add_argument("--data-dir", metavar="DIR", help="folder with MNIST's four .gz files")
    parser.add_argument("--iterations", type=count, default=100, help="at most so many steps of L-BFGS (100)")
    parser.add_argument("--seed", type=int, default=0, help="of the starting weights (0)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run(main))
