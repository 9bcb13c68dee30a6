"""How time and memory grow: with the samples, the batch, the width and the depth, and with a file larger than memory.

python benchmarks/scaling.py --data-dir DIR --json scaling.json --plot scaling.png
python benchmarks/scaling.py --redraw scaling.json --plot scaling.png    # what was measured before

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
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe, print_machine, start_without_overrides

import numnet as nn

SAMPLES = [6_000, 20_000, 60_000, 200_000, 600_000]
BATCH_SIZES = [1, 4, 16, 64, 256, 1024, 4096]
WIDTHS = [16, 64, 256, 1024, 4096]
DEPTHS = [1, 2, 3, 5, 9, 17]
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
    parser.add_argument("--redraw", type=Path, metavar="FILE", help="measure nothing: --plot what --json has saved")
    parser.add_argument("--train-mapped", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train_mapped:
        train_mapped(*map(Path, options.train_mapped))
        return
    if options.redraw:
        if not options.plot:
            parser.error("--redraw needs --plot FILE, where to save the figure")
        plot(json.loads(options.redraw.read_text(encoding="utf-8")), options.plot)
        return
    start_without_overrides()
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
        return fit([], data, 64, epochs=max(1, 60_000 // n))

    def batch_size(n: int) -> Callable[[], int]:
        data = nn.datasets.Dataset(train.images[: 1000 * n], train.labels[: 1000 * n])
        return fit([], data, n)

    def width(n: int) -> Callable[[], int]:
        data = nn.datasets.Dataset(train.images[:6400], train.labels[:6400])
        return fit([n], data, 64)

    def depth(n: int) -> Callable[[], int]:
        data = nn.datasets.Dataset(train.images[:12800], train.labels[:12800])
        return fit([WIDTH_OF_DEPTHS] * (n - 1), data, 64)

    return {
        "samples": (SAMPLES, samples),
        "batch size": (BATCH_SIZES, batch_size),
        "width of one hidden layer": (WIDTHS, width),
        f"linear layers, {WIDTH_OF_DEPTHS} wide": (DEPTHS, depth),
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


def fit(hidden: list[int], data: nn.datasets.Dataset, batch_size: int, epochs: int = 1) -> Callable[[], int]:
    """Return a function that trains for some epochs, and when it is first called makes the network."""
    trainers: list[nn.Trainer] = []

    def run() -> int:
        if not trainers:
            trainers.append(make_trainer(hidden))
        trainers[0].fit(data, epochs, batch_size, progress=False)
        return epochs * len(data)

    return run


def measure(name: str, points: list[int], epoch: Callable[[int], Callable[[], int]]) -> dict[str, Any]:
    """Take the memory of each point of a curve, then its time in turn with the others."""
    runs = [epoch(point) for point in points]
    memory = []
    for run in runs:
        tracemalloc.start()
        run()
        memory.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    times: list[list[float]] = [[] for _ in points]
    for _ in range(ROUNDS):
        for run, measured in zip(runs, times, strict=True):
            started = time.perf_counter()
            trained = run()
            measured.append((time.perf_counter() - started) / trained)
    medians = [statistics.median(measured) for measured in times]
    print(f"\n{name:>28}   us a sample (median, range)        MB beyond the data")
    for point, median, measured, taken in zip(points, medians, times, memory, strict=True):
        spread = f"({min(measured) * 1e6:.3f} to {max(measured) * 1e6:.3f})"
        print(f"{point:28,}   {median * 1e6:9.3f} {spread:24} {taken / 1e6:9.1f}", flush=True)
    return {"points": points, "seconds a sample": medians, "all": times, "bytes beyond the data": memory}


def large(train: nn.datasets.Dataset, size: float, folder: Path) -> dict[str, Any]:
    """Train for an epoch on an IDX file of so many GB, in a process that may take `LIMIT` bytes of memory."""
    images, labels, n = write_large(train, size, folder)
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
        f"  peak of the process's own memory {result['peak'] / 2**20:.0f} MB",
        flush=True,
    )
    return result


def write_large(train: nn.datasets.Dataset, size: float, folder: Path) -> tuple[Path, Path, int]:
    """Write MNIST again and again into IDX files of so many GB; return their paths, and how many samples they have."""
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
    return images, labels, n


def train_mapped(images: Path, labels: Path) -> None:
    """Train on a mapped file and on as many of its samples as MNIST has, in memory; print what that took, as JSON."""
    peak = watch_memory()
    data = nn.datasets.Dataset(nn.datasets.read_idx(images, mmap_mode="r"), nn.datasets.read_idx(labels, mmap_mode="r"))
    few = nn.datasets.Dataset(np.array(data.images[:60_000]), np.array(data.labels[:60_000]))
    mapped: list[float] = []
    memory: list[float] = []
    runs = ((memory, fit([], few, 64, epochs=10)), (mapped, fit([], data, 64)))
    for _ in range(3):
        for times, run in runs:
            started = time.perf_counter()
            trained = run()
            times.append((time.perf_counter() - started) / trained)
    print(json.dumps({"mapped": mapped, "in memory": memory, "peak": peak[0]}))


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
    """Draw the curves, a row for each: time at the left, memory at the right, together as wide as a page."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(4, 2, figsize=(7.36, 10), layout="constrained", sharex="row", sharey="col")
    for row, (name, curve) in zip(axes, report["curves"].items(), strict=True):
        time, memory = row
        points, times = curve["points"], np.array(curve["all"]) * 1e6
        time.fill_between(points, times.min(axis=1), times.max(axis=1), color="0.8", label="fastest to slowest")
        time.plot(points, np.median(times, axis=1), "o-", markersize=4, color="#0072B2", label="median")
        memory.plot(points, np.array(curve["bytes beyond the data"]) / 1e6, "s-", markersize=4, color="#D55E00")
        ticks = points if points[-1] < 100 else points[::2]
        for ax in row:
            ax.set(xscale="log", yscale="log", xlabel=name)
            ax.yaxis.set_major_formatter("{x:g}")
            ax.grid(alpha=0.3)
            ax.set_xticks(ticks, [f"{point:,}" for point in ticks])
            ax.minorticks_off()
    axes[0, 0].set_title("microseconds a sample")
    axes[0, 1].set_title("MB beyond the data")
    axes[0, 0].legend()
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    main()
