"""Where little is computed at a time: the outputs for one row and for 64, and training in batches of one.

python benchmarks/small.py --json small.json

All run in this process on one thread, turn by turn and in every other round in the reverse order. Ratios are of times
in the same round; the medians are what counts. PyTorch and ONNX Runtime take part where they are installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # read when NumPy is imported

import numpy as np
import peers
from checkouts import images
from machine import describe, print_machine, start_without_overrides
from versus import NETWORKS

import numnet as nn

try:
    import torch

    torch.set_num_threads(1)
except ImportError:
    torch = None
try:
    import onnx
    import onnxruntime
except ImportError:
    onnx = onnxruntime = None

ROWS = (1, 64)
TRAINED = [(784, 10), (784, 200, 10)]
SAMPLES = 2_000
LR = 0.01
ROUNDS, SECONDS = 31, 0.01  # of each program, and how long its calls take in each round


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds on few samples: does it work?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures")
    options = parser.parse_args()
    start_without_overrides()
    machine = describe(["torch", "onnxruntime"])
    print_machine(machine)
    rounds, samples = (3, 200) if options.quick else (ROUNDS, SAMPLES)
    pictures, labels, data = images()
    pictures, labels = pictures[:samples], labels[:samples]
    report: dict[str, Any] = {"machine": machine, "data": data, "samples": samples, "inference": {}, "training": {}}
    for network, sizes in NETWORKS.items():
        problem = peers.Problem(sizes, pictures, labels, pictures, labels)
        for rows in ROWS:
            label = f"{network} {'-'.join(map(str, sizes))}, {rows} {'row' if rows == 1 else 'rows'}"
            result = inference(problem, rows, rounds)
            report["inference"][label] = result
            print_table(f"outputs: {label}, microseconds a call", result)
    for sizes in TRAINED:
        problem = peers.Problem(sizes, pictures, labels, pictures, labels, batch_size=1, lr=LR)
        result = training(problem, rounds)
        report["training"]["-".join(map(str, sizes))] = result
        print_table(f"training: {'-'.join(map(str, sizes))}, batches of one, microseconds a step", result)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def inference(problem: peers.Problem, count: int, rounds: int) -> dict[str, Any]:
    """Time the outputs for some rows of float32."""
    rows = problem.floats(problem.images[:count])
    net = peers.numnet_network(problem)
    programs: dict[str, Callable[[], Any]] = {"numnet": lambda: net(rows)}
    if torch:
        module = torch.nn.Sequential(*peers.torch_network(problem), torch.nn.Softmax(dim=1))
        tensor = torch.from_numpy(rows)
        programs["PyTorch eager"] = lambda: module(tensor)
    if onnx:
        session = onnx_session(problem)
        programs["ONNX Runtime"] = lambda: session.run(None, {"x": rows})[0]
    with torch.no_grad() if torch else contextlib.nullcontext():
        for program in programs.values():
            np.testing.assert_allclose(np.asarray(program()), net(rows), rtol=1e-4, atol=1e-6)
        return turns(programs, rounds)


def onnx_session(problem: peers.Problem) -> Any:
    """Return ONNX Runtime with the same network."""
    helper, nodes, arrays, value = onnx.helper, [], [], "x"
    for i, (weight, bias) in enumerate(problem.weights()):
        arrays += [onnx.numpy_helper.from_array(weight, f"w{i}"), onnx.numpy_helper.from_array(bias, f"b{i}")]
        last = i + 2 == len(problem.sizes)
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"z{i}"]))
        nodes.append(helper.make_node("Softmax" if last else "Sigmoid", [f"z{i}"], [value := f"y{i}"]))
    shapes = zip(("x", value), (problem.sizes[0], problem.sizes[-1]), strict=True)
    ends = [[helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", width])] for name, width in shapes]
    graph = helper.make_graph(nodes, "network", *ends, arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def training(problem: peers.Problem, rounds: int) -> dict[str, Any]:
    """Time an epoch in batches of one, once all have shown that they train alike."""
    net = peers.numnet_network(problem)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=problem.lr), seed=problem.seed)
    train = nn.datasets.Dataset(problem.images, problem.labels)
    by_hand, parameters = single_rows(problem)
    programs: dict[str, Callable[[], Any]] = {
        "numnet": lambda: trainer.fit(train, 1, 1, progress=False).train_cost[-1],
        "NumPy loop without a library": by_hand,
    }
    if torch:
        programs["PyTorch eager"] = peers.torch_eager(problem)[0]
    costs = [epoch() for epoch in programs.values()]
    np.testing.assert_allclose(costs, costs[0], rtol=1e-4)
    np.testing.assert_allclose(parameters(), net.parameters, rtol=1e-4, atol=1e-5)
    return turns(programs, rounds, len(problem.labels))


def single_rows(problem: peers.Problem) -> tuple[Callable[[], float], Callable[[], peers.Array]]:
    """Plain NumPy for batches of one: an epoch, and a function that returns the parameters in numnet's order.

    Each call is the fastest that NumPy has for one row: weights lie as (outputs, inputs), vectors are 1-d, np.dot makes
    all products, also the outer one, for which np.multiply takes 1.5 times as long and np.matmul 5 to 10 times, numbers
    are 0-d arrays, and a layer's error is written to where its bias's gradient is.
    """
    sizes, starts = problem.sizes, problem.weights()
    images, labels = problem.images.reshape(len(problem.images), -1), problem.labels.astype(np.intp)
    parameters = np.concatenate([array.ravel() for weight, bias in starts for array in (weight.T, bias)])
    gradients, step = np.empty_like(parameters), np.empty_like(parameters)
    layers, place = [], 0
    for weight, bias in starts:
        middle, end = place + weight.size, place + weight.size + bias.size
        w, dw = (vector[place:middle].reshape(weight.T.shape) for vector in (parameters, gradients))
        layers.append((w, dw, parameters[middle:end], gradients[middle:end]))
        place = end
    hidden = [np.empty(size, np.float32) for size in sizes[1:-1]]
    below = [(h, h[None], layer[3]) for h, layer in zip(hidden, layers, strict=False)]
    forward = [(w, b, h) for (w, _, b, _), h in zip(layers, hidden, strict=False)]
    (last, _, last_bias, last_error), first = layers[-1], layers[0]
    backward = [
        (w, dw, error, error[:, None], *under) for (w, dw, _, error), under in zip(layers[1:], below, strict=True)
    ]
    backward.reverse()
    first_gradient, first_column = first[1], first[3][:, None]

    block = 64  # rows: their floats stay in the processor's cache
    raw, floats = np.empty((block, sizes[0]), np.uint8), np.empty((block, sizes[0]), np.float32)
    targets, inputs_of_softmax, outputs, logs = (np.empty((block, sizes[-1]), np.float32) for _ in range(4))
    classes, one_hot = np.empty(block, np.intp), np.eye(sizes[-1], dtype=np.float32)
    scale, lr, unit = (np.array(number, np.float32) for number in (1 / 255, problem.lr, 1))
    single, orders = np.empty(1, np.float32), problem.orders()

    def epoch() -> float:
        order, total, correct = next(orders), 0.0, 0
        for start in range(0, len(order), block):
            numbers = order[start : start + block]
            n = len(numbers)
            xs, ts, chosen, zs, ys = floats[:n], targets[:n], classes[:n], inputs_of_softmax[:n], outputs[:n]
            images.take(numbers, axis=0, out=raw[:n], mode="clip")
            np.multiply(raw[:n], scale, out=xs)
            labels.take(numbers, out=chosen, mode="clip")
            one_hot.take(chosen, axis=0, out=ts, mode="clip")
            for x, row, t, z, y in zip(xs, xs[:, None], ts, zs, ys, strict=True):
                value = x
                for weight, bias, h in forward:
                    np.dot(weight, value, out=h)
                    np.add(h, bias, out=h)
                    np.negative(h, out=h)
                    np.exp(h, out=h)
                    np.add(h, unit, out=h)
                    np.divide(unit, h, out=h)
                    value = h
                np.dot(last, value, out=z)
                np.add(z, last_bias, out=z)
                np.maximum.reduce(z, keepdims=True, out=single)
                np.subtract(z, single, out=y)
                np.exp(y, out=y)
                np.add.reduce(y, keepdims=True, out=single)
                np.divide(y, single, out=y)
                np.subtract(y, t, out=last_error)
                for weight, weight_gradient, error, column, h, h_row, h_error in backward:
                    np.dot(column, h_row, out=weight_gradient)
                    np.dot(error, weight, out=h_error)
                    np.multiply(h_error, h, out=h_error)
                    np.subtract(unit, h, out=h)
                    np.multiply(h_error, h, out=h_error)
                np.dot(first_column, row, out=first_gradient)
                np.multiply(gradients, lr, out=step)
                np.subtract(parameters, step, out=parameters)
            if np.minimum.reduce(ys, axis=None) > np.finfo(np.float32).tiny:
                np.log(ys, out=logs[:n])
            else:
                zs -= zs.max(axis=1, keepdims=True)
                np.subtract(zs, np.log(np.exp(zs).sum(axis=1, keepdims=True)), out=logs[:n])
            np.multiply(logs[:n], ts, out=logs[:n])
            cost = float(np.add.reduce(logs[:n], axis=None))
            if not math.isfinite(cost):
                raise ValueError("diverged")
            total -= cost
            correct += int(np.count_nonzero(np.argmax(ys, axis=1) == chosen))
        return total / len(order)

    return epoch, lambda: np.concatenate([array.ravel() for w, _, b, _ in layers for array in (w.T, b)])


def turns(programs: dict[str, Callable[[], Any]], rounds: int, steps: int = 1) -> dict[str, Any]:
    """Return the microseconds of each program, a call or a step of it, and how many times numnet's they are."""
    counts = {}
    for name, program in programs.items():
        program()
        started = time.perf_counter()
        program()
        counts[name] = math.ceil(SECONDS / (time.perf_counter() - started))
    times: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(rounds):
        for name in list(programs) if number % 2 else reversed(programs):
            program, count = programs[name], counts[name]
            started = time.perf_counter()
            for _ in range(count):
                program()
            times[name].append((time.perf_counter() - started) / (count * steps) * 1e6)
    result = {}
    for name, values in times.items():
        ratios = [value / numnet for value, numnet in zip(values, times["numnet"], strict=True)]
        result[name] = {
            "microseconds": values,
            "median microseconds": statistics.median(values),
            "ratios": ratios,
            "median ratio": statistics.median(ratios),
        }
    return result


def print_table(title: str, result: dict[str, Any]) -> None:
    """Print a line for each program."""
    print(f"\n{title} (median), times numnet's (median, quartiles)")
    for name, program in result.items():
        low, median, high = statistics.quantiles(program["ratios"], n=4, method="inclusive")
        spread = f"({low:.2f} and {high:.2f})" if name != "numnet" else ""
        print(f"{name:31} {program['median microseconds']:10.2f} {median:8.2f} {spread}", flush=True)


if __name__ == "__main__":
    main()
