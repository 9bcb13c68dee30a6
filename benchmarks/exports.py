"""What leaves numnet, beside net(x): the largest differences, the sizes, and microseconds a call for one image.

python benchmarks/exports.py

A trained 784-10 network goes to ONNX Runtime, to a C function that cc compiles, and to PyTorch. The differences are
over all test images. The calls take turns in this process, on one thread; the table has the median of the rounds.
Python calls the C function through ctypes, which takes most of its time.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # read when NumPy is imported

import numpy as np
import onnxruntime
import torch
from machine import describe, print_machine, start_without_overrides

import numnet as nn

ROUNDS, CALLS = 31, 200


def main() -> None:
    """Train, export, compare, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dataset", choices=["mnist", "digits"], default="mnist", help="what to train on (mnist)")
    parser.add_argument("--quick", action="store_true", help="3 rounds: does it work?")
    options = parser.parse_args()
    start_without_overrides()
    torch.set_num_threads(1)
    print_machine(describe(["torch", "onnxruntime"]))
    train, test = getattr(nn.datasets, options.dataset)()
    with tempfile.TemporaryDirectory() as folder:
        for dtype in "float32", "float64":
            net = nn.Sequential(nn.Linear(train.images[0].size, 10), nn.Softmax(), seed=0, dtype=dtype)
            nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0).fit(train, 1, 64, progress=False)
            x = (test.images.reshape(len(test), -1) / 255).astype(dtype)
            compare(net, x, Path(folder), 3 if options.quick else ROUNDS)


def compare(net: nn.Sequential, x: np.ndarray[Any, Any], folder: Path, rounds: int) -> None:
    """Print a line for each program that has the network."""
    programs, sizes = in_onnx(net, folder), {}
    programs |= in_c(net, folder) | in_torch(net)
    sizes["ONNX Runtime"] = f"{(folder / 'net.onnx').stat().st_size / 1000:.1f} kB .onnx"
    sizes["C"] = f"{(folder / 'net.o').stat().st_size / 1000:.1f} kB object"
    expected, took = net(x), {name: [] for name in ("net(x)", *programs)}
    for turn in range(rounds):
        for name in list(took)[:: 1 if turn % 2 else -1]:
            took[name].append(microseconds(programs.get(name, net), x[:1]))
    print(f"\n{'-'.join(map(str, (net.inputs, net.outputs)))}, {net.dtype}, {len(x):,} test images")
    print(f"{'':14}{'largest difference':>20}{'us a call':>12}")
    for name, times in took.items():
        difference = f"{abs(programs[name](x) - expected).max():.1e}" if name in programs else ""
        print(f"{name:14}{difference:>20}{statistics.median(times):>12.1f}  {sizes.get(name, '')}")


def microseconds(call: Callable[[Any], Any], x: np.ndarray[Any, Any]) -> float:
    """Return how long a call takes, in microseconds."""
    started = time.perf_counter()
    for _ in range(CALLS):
        call(x)
    return (time.perf_counter() - started) / CALLS * 1e6


def in_onnx(net: nn.Sequential, folder: Path) -> dict[str, Callable[[Any], Any]]:
    """Return the network in ONNX Runtime."""
    path = folder / "net.onnx"
    nn.export_onnx(net, path, input=str(net.dtype))
    choices = onnxruntime.SessionOptions()
    choices.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, choices, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return {"ONNX Runtime": lambda x: session.run(None, {given.name: x})[0]}


def in_c(net: nn.Sequential, folder: Path) -> dict[str, Callable[[Any], Any]]:
    """Return the network as a function in C, called for each row."""
    nn.export_c(net, folder / "net.c")
    cc = shutil.which("cc") or sys.exit("there is no C compiler: cc")
    library = folder / f"net-{net.dtype}.so"  # a library is loaded once under one name
    subprocess.run([cc, "-Os", "-c", "net.c"], cwd=folder, check=True)
    subprocess.run([cc, "-O2", "-shared", "-fPIC", "net.c", "-lm", "-o", library.name], cwd=folder, check=True)
    function = ctypes.CDLL(os.fspath(library)).net_forward

    def call(x: np.ndarray[Any, Any]) -> Any:
        rows = np.empty((len(x), net.outputs), x.dtype)
        step, size = x.strides[0], rows.strides[0]
        for i in range(len(x)):
            function(ctypes.c_void_p(x.ctypes.data + i * step), ctypes.c_void_p(rows.ctypes.data + i * size))
        return rows

    return {"C": call}


def in_torch(net: nn.Sequential) -> dict[str, Callable[[Any], Any]]:
    """Return the network in PyTorch."""
    module = nn.to_torch(net).eval()

    def call(x: np.ndarray[Any, Any]) -> Any:
        with torch.no_grad():
            return module(torch.from_numpy(x)).numpy()

    return {"PyTorch": call}


if __name__ == "__main__":
    main()
