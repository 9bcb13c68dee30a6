"""How time and memory grow: with the samples, the batch, the width and the depth, and with a file larger than memory.

python benchmarks/scaling.py --data-dir DIR --json scaling.json --plot scaling.png

All points of a curve are timed in turn, round after round, and the medians quoted. Sample counts other than MNIST's are
its images again and again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe, print_machine

import numnet as nn

SAMPLES = [6_000, 20_000, 60_000, 200_000, 600_000]
BATCH_SIZES = [1, 4, 16, 64, 256, 1024, 4096]
WIDTHS = [16, 64, 256, 1024, 4096]
DEPTHS = [0, 1, 2, 4, 8, 16]
WIDTH_OF_DEPTHS = 128
LIMIT = 1 << 30  # bytes that the process with the large file may take
ROUNDS = 7


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder with MNIST's four .gz files")
    parser.add_argument("--large", type=float, default=6.0, metavar="GB", help="size of the large file (6); 0 for none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="save the curves")
    parser.add_argument("--train-mapped", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train_mapped:
        train_mapped(*map(Path, options.train_mapped))
        return
    if os.environ.pop("OPENBLAS_CORETYPE", None):
        os.execv(sys.executable, [sys.executable, *sys.argv])  # NumPy has chosen its kernels already: start again
    machine = describe([])
    print_machine(machine)
    train, _ = nn.datasets.mnist(options.data_dir)
    report: dict[str, Any] = {"machine": machine, "curves": {}}
    for name, (points, epoch) in curves(train).items():
        report["curves"][name] = measure(name, points, epoch)
    with tempfile.TemporaryDirectory() as folder:
        report["large"] = [
            large(train, size, Path(folder)) for size in (options.large / 10, options.large) if options.large
        ]
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        plot(report, options.plot)


def curves(train: nn.datasets.Dataset) -> dict[str, tuple[list[int], Callable[[int], Callable[[], int]]]]:
    """Return for each curve its points, and what to time at one: a function that returns the samples trained on."""

    def samples(n: int) -> Callable[[], int]:
        repeats = math.ceil(n / len(train))
        data = nn.datasets.Dataset(np.tile(train.images, (repeats, 1, 1))[:n], np.tile(train.labels, repeats)[:n])
        return fit(make_trainer([]), data, 64, epochs=max(1, 60_000 // n))

    def batch_size(n: int) -> Callable[[], int]:
        data = nn.datasets.Dataset(train.images[: min(60_000, 1000 * n)], train.labels[: min(60_000, 1000 * n)])
        return fit(make_trainer([]), data, n)

    def width(n: int) -> Callable[[], int]:
        data = nn.datasets.Dataset(train.images[:6400], train.labels[:6400])
        return fit(make_trainer([n]), data, 64)

    def depth(n: int) -> Callable[[], int]:
        data = nn.datasets.Dataset(train.images[:12800], train.labels[:12800])
        return fit(make_trainer([WIDTH_OF_DEPTHS] * n), data, 64)

    return {
        "samples": (SAMPLES, samples),
        "batch size": (BATCH_SIZES, batch_size),
        "width of one hidden layer": (WIDTHS, width),
        f"hidden layers of {WIDTH_OF_DEPTHS}": (DEPTHS, depth),
    }


def make_trainer(hidden: list[int]) -> nn.Trainer:
    """Return a trainer of a network with sigmoid hidden layers, its learning rate small enough for any of them."""
    layers: list[nn.Layer] = []
    inputs = 784
    for size in hidden:
        layers += [nn.Linear(inputs, size), nn.Sigmoid()]
        inputs = size
    net = nn.Sequential(*layers, nn.Linear(inputs, 10), nn.Softmax(), seed=0)
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.01), seed=0)


def fit(trainer: nn.Trainer, data: nn.datasets.Dataset, batch_size: int, epochs: int = 1) -> Callable[[], int]:
    """Return a function that trains for some epochs."""

    def run() -> int:
        trainer.fit(data, epochs, batch_size, progress=False)
        return epochs * len(data)

    return run


def measure(name: str, points: list[int], epoch: Callable[[int], Callable[[], int]]) -> dict[str, Any]:
    """Time the points of a curve in turn."""
    runs = [epoch(point) for point in points]
    for run in runs:
        run()
    times: list[list[float]] = [[] for _ in points]
    for _ in range(ROUNDS):
        for run, measured in zip(runs, times, strict=True):
            started = time.perf_counter()
            trained = run()
            measured.append((time.perf_counter() - started) / trained)
    medians = [statistics.median(measured) for measured in times]
    print(f"\n{name:>28}   us a sample (median, range)")
    for point, median, measured in zip(points, medians, times, strict=True):
        spread = f"({min(measured) * 1e6:.3f} to {max(measured) * 1e6:.3f})"
        print(f"{point:28,}   {median * 1e6:9.3f} {spread}", flush=True)
    return {"points": points, "seconds a sample": medians, "all": times}


def large(train: nn.datasets.Dataset, size: float, folder: Path) -> dict[str, Any]:
    """Train for an epoch on an IDX file of so many GB, in a process that may take `LIMIT` bytes of memory."""
    repeats = max(2, round(size * 1e9 / train.images.nbytes))
    n = repeats * len(train)
    images, labels = folder / "images", folder / "labels"
    for path, array in ((images, train.images), (labels, train.labels)):
        with open(path, "wb") as file:
            nn.datasets.write_idx(file, array[:0])  # the header, but for the number of samples
            file.seek(4)
            file.write(n.to_bytes(4, "big"))
            file.seek(0, os.SEEK_END)
            for _ in range(repeats):
                file.write(array.data)
    group = MemoryGroup(LIMIT)
    command = [sys.executable, __file__, "--train-mapped", str(images), str(labels)]
    try:
        answer = subprocess.run(command, preexec_fn=group.enter, stdout=subprocess.PIPE, check=True, text=True).stdout
    finally:
        group.remove()
    result: dict[str, Any] = {"bytes": images.stat().st_size, "samples": n, "limit": group.kind, **json.loads(answer)}
    mapped, memory = (statistics.median(result[key]) for key in ("mapped", "in memory"))
    print(
        f"\n{result['bytes'] / 1e9:.2f} GB, {n:,} samples, mapped, under {group.kind} of {LIMIT >> 20} MB:\n"
        f"  an epoch at {mapped * 1e6:.3f} us a sample, 60,000 of them in memory at {memory * 1e6:.3f}: "
        f"{memory / mapped:.2f} of the speed\n"
        f"  peak of the process's own memory {result['peak'] / 2**20:.0f} MB, training cost {result['cost']:.4f}",
        flush=True,
    )
    return result


def train_mapped(images: Path, labels: Path) -> None:
    """Train on a mapped file and on as many of its samples as MNIST has, in memory; print what that took, as JSON."""
    peak = watch_memory()
    data = nn.datasets.Dataset(nn.datasets.read_idx(images, mmap_mode="r"), nn.datasets.read_idx(labels, mmap_mode="r"))
    few = nn.datasets.Dataset(np.array(data.images[:60_000]), np.array(data.labels[:60_000]))
    trainer, other = make_trainer([]), make_trainer([])
    mapped, memory = [], []
    for _ in range(3):
        for times, run in ((memory, fit(other, few, 64, epochs=10)), (mapped, fit(trainer, data, 64))):
            started = time.perf_counter()
            trained = run()
            times.append((time.perf_counter() - started) / trained)
    print(json.dumps({"mapped": mapped, "in memory": memory, "peak": peak[0], "cost": trainer.history[-1].train_cost}))


def watch_memory() -> list[int]:
    """Return the most memory of this process so far, in bytes, without the pages of files: those are the system's."""
    peak = [0]

    def watch() -> None:
        while True:
            lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
            peak[0] = max(peak[0], *(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon")))
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    return peak


class MemoryGroup:
    """A limit for the memory of a child process: a control group, or for users who may make none, RLIMIT_DATA."""

    def __init__(self, limit: int) -> None:
        self.limit, self.folder = limit, None
        for parent, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            folder = Path(parent) / f"numnet-{os.getpid()}"
            try:
                folder.mkdir()
                (folder / name).write_text(str(limit), encoding="ascii")
                self.folder = folder
                break
            except OSError:
                if folder.is_dir():
                    folder.rmdir()
        self.kind = "a control group" if self.folder else "RLIMIT_DATA"

    def enter(self) -> None:
        """Put this process under the limit."""
        if self.folder:
            (self.folder / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        else:
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (self.limit, self.limit))

    def remove(self) -> None:
        """Remove the group, once its process has ended."""
        if self.folder:
            self.folder.rmdir()


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw the curves."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
    for ax, (name, curve) in zip(axes, report["curves"].items(), strict=True):
        times = np.array(curve["all"]) * 1e6
        points = curve["points"]
        ax.fill_between(points, times.min(axis=1), times.max(axis=1), color="0.85")
        ax.plot(points, np.median(times, axis=1), "o-", color="tab:blue", markersize=4)
        ax.set(yscale="log", xlabel=name)
        ax.set_xscale("symlog" if 0 in points else "log", **({"linthresh": 1} if 0 in points else {}))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("microseconds a sample (median, range)")
    middle = np.median(np.array(report["curves"]["samples"]["all"]) * 1e6)
    axes[0].set_ylim(middle / 4, middle * 4)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
