"""Where the time of a training step goes: each call of a step timed by itself, and the matrix products alone.

python benchmarks/step.py --json step.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe, print_machine, start_without_overrides
from versus import NETWORKS

import numnet as nn

BATCH_SIZE = 64


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures")
    options = parser.parse_args()
    start_without_overrides()
    machine = describe([])
    print_machine(machine)
    report: dict[str, Any] = {"machine": machine, "networks": {}}
    for name, sizes in NETWORKS.items():
        times = measure(calls(sizes))
        report["networks"][name] = times
        print(f"\n{name}: {'-'.join(map(str, sizes))}, batch {BATCH_SIZE}, microseconds (median)")
        for call, microseconds in times.items():
            print(f"{call:40} {microseconds:8.1f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def calls(sizes: tuple[int, ...]) -> dict[str, Callable[[], object]]:
    """Return the calls of a training step by name, on arrays as they are in training."""
    rng = np.random.default_rng(0)
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.Sigmoid())]
    net = nn.Sequential(*layers[:-1], nn.Softmax(), seed=0)
    pair, sgd = nn.CrossEntropy().pair(net.layers), nn.SGD(lr=0.5)
    sgd.start(net)
    x = rng.random((BATCH_SIZE, sizes[0]), dtype=np.float32)
    t = np.eye(sizes[-1], dtype=np.float32)[rng.integers(0, sizes[-1], BATCH_SIZE)]
    widths = [sizes[0], *(width for width in sizes[1:] for _ in range(2))]
    outputs = [net.empty(BATCH_SIZE, width) for width in widths[1:]]
    gradients = [net.empty(BATCH_SIZE, width) for width in widths]
    for array in gradients:
        array[...] = 1e-3
    inputs = [x, *outputs]
    for layer, array, out in zip(net.layers, inputs[:-1], outputs, strict=True):
        layer.forward(array, out)
    z, y = inputs[-2:]

    def whole() -> None:
        net.backpropagate(pair, *net.forward(x), t)
        sgd.update(net.parameters, net.gradients, 0.0)

    def products() -> None:
        for i, layer in enumerate(net.layers):
            if isinstance(layer, nn.Linear):
                np.matmul(inputs[i], layer.weight, out=outputs[i])
        for i, layer in reversed(list(enumerate(net.layers))):
            if isinstance(layer, nn.Linear):
                np.matmul(inputs[i].T, gradients[i + 1], out=layer.gradients["weight"])
                if i:
                    np.matmul(gradients[i + 1], layer.weight.T, out=gradients[i])

    result: dict[str, Callable[[], object]] = {"the whole step": whole, "its matrix products alone": products}
    for i, layer in enumerate(net.layers):
        result[f"{i} {layer} forward"] = lambda layer=layer, i=i: layer.forward(inputs[i], outputs[i])
    last = len(net.layers) - 1
    result[f"{last} {net.layers[last]} and cost, dE/dz"] = lambda: pair.error(z, y, t, gradients[last])
    for i in range(last - 1, 0, -1):
        result[f"{i} {net.layers[i]} backward"] = lambda i=i: net.layers[i].backward(gradients[i + 1], gradients[i])
    result[f"0 {net.layers[0]} backward"] = lambda: net.layers[0].backward_parameters(gradients[1])
    result["SGD update"] = lambda: sgd.update(net.parameters, net.gradients, 0.0)
    return result


def measure(timed: dict[str, Callable[[], object]], rounds: int = 15, seconds: float = 0.02) -> dict[str, float]:
    """Return the microseconds of each call: all are timed in turn, round after round, and the medians returned."""
    times: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, call in timed.items():
            count, started = 0, time.perf_counter()
            while (took := time.perf_counter() - started) < seconds:
                call()
                count += 1
            times[name].append(took / count * 1e6)
    return {name: statistics.median(measured) for name, measured in times.items()}


if __name__ == "__main__":
    main()
