"""Stanford's UFLDL tutorial, the exercise on softmax regression: 784-10 on MNIST by L-BFGS, here SciPy's.

    python examples/literature/ufldl.py

Source: http://ufldl.stanford.edu/wiki/index.php/Exercise:Softmax_Regression. 100 iterations of L-BFGS on the cost of
all 60,000 training images at once, with the penalty lambda/2 sum theta^2, lambda = 1e-4, and without biases. The start
is a Gaussian of deviation 0.005. The exercise reports a test accuracy of 92.6 %. It needs SciPy: pip install scipy.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from table import Result, load, main

import numnet as nn

Array = nn.backend.Array


def results(options: argparse.Namespace) -> Iterator[Result]:
    """Yield the lines of the table."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    train, test = load(options)
    net = nn.Sequential(nn.Linear(train.images[0].size, 10, bias=False), nn.Softmax(), dtype="float64")
    objective = penalized(net, nn.CrossEntropy(), train.images, train.labels, penalty=1e-4)
    found = []
    started = time.process_time()
    for seed in range(options.seeds):
        start = np.random.default_rng(seed).normal(scale=0.005, size=net.parameters.size)
        steps = {"maxiter": 10 if options.quick else 100}
        net.parameters = minimize(objective, start, jac=True, method="L-BFGS-B", options=steps).x
        found.append(net.accuracy(test.images, test.labels))
    yield Result("784-10, test accuracy", "0.926", found, (time.process_time() - started) / options.seeds)


def penalized(
    net: nn.Sequential, cost: nn.Cost, x: Array, t: Array, penalty: float
) -> Callable[[Array], tuple[float, Array]]:
    """Return a function from all parameters to the cost, penalty/2 sum w^2 included, and its gradient."""

    def objective(parameters: Array) -> tuple[float, Array]:
        value, gradient = nn.cost_and_gradient(net, cost, x, t, parameters)
        weights = net.decay_mask * parameters
        return value + penalty / 2 * (weights @ weights), gradient + penalty * weights

    return objective


if __name__ == "__main__":
    sys.exit(main(__doc__, 3, results))
