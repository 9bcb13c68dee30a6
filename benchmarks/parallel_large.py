"""Two ranks of MPI train on one mapped IDX file that is larger than the memory that they may take.

python benchmarks/parallel_large.py --json parallel_large.json

Both map the same file, and each may take 1 GB of memory of its own. The pages of a mapped file are not that memory: the
system holds them once for both ranks, and takes them back when it needs to. In each round the ranks train on the file,
and right before it on 60,000 of its samples in memory. The exit status is 1 if the file takes more than twice as long.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe, print_machine, start_without_overrides
from parallel import make_trainer, start_ranks
from scaling import LIMIT, watch_memory, write_large
from versus import NETWORKS

import numnet as nn
from numnet.threads import BLAS

BATCH_SIZE = 256
ROUNDS, EPOCHS_IN_MEMORY = 3, 20
FEW = 60_000  # samples in memory
LEAST = 0.5  # of the speed in memory


def main() -> int:
    """Write the file and start the ranks; on each of them measure, and on rank 0 print and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder with MNIST's four .gz files")
    parser.add_argument("--large", type=float, default=6.0, metavar="GB", help="size of the file (6)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to put the file until the end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures")
    parser.add_argument("--train", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        return measure(*options.train, options.json)
    start_without_overrides()
    train, _ = nn.datasets.mnist(options.data_dir)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        started = time.perf_counter()
        images, labels, _ = write_large(train, options.large, Path(folder))
        print(f"{images.stat().st_size / 1e9:.2f} GB written in {time.perf_counter() - started:.0f} s", flush=True)
        return start_ranks([__file__, *sys.argv[1:], "--train", str(images), str(labels)])


def measure(images: Path, labels: Path, file: Path | None) -> int:
    """Train on the mapped file and in memory on each rank; return the exit status."""
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    from mpi4py import MPI

    world, peak = MPI.COMM_WORLD, watch_memory()
    data = nn.datasets.Dataset(*(nn.datasets.read_idx(path, mmap_mode="r") for path in (images, labels)))
    few = nn.datasets.Dataset(np.array(data.images[:FEW]), np.array(data.labels[:FEW]))
    seconds: dict[str, list[float]] = {"in memory": [], "mapped": []}
    with BLAS.limit(limits=1):
        trainers = {name: make_trainer(NETWORKS["A"], lr=0.01, comm=world) for name in seconds}
        for _ in range(ROUNDS):
            for name, samples, epochs in (("in memory", few, EPOCHS_IN_MEMORY), ("mapped", data, 1)):
                history = trainers[name].fit(samples, epochs, BATCH_SIZE, progress=False)
                seconds[name].append(sum(history.seconds[-epochs:]) / (epochs * len(samples)))
    peaks = world.gather(peak[0])
    if world.rank:
        return 0
    mapped, memory = (statistics.median(seconds[name]) for name in ("mapped", "in memory"))
    ratio = statistics.median(a / b for a, b in zip(seconds["in memory"], seconds["mapped"], strict=True))
    machine = describe(["mpi4py", "mpich"])
    print_machine(machine)
    print(
        f"{world.size} ranks, {len(data):,} samples mapped, {BATCH_SIZE} a batch, each rank under RLIMIT_DATA of "
        f"{LIMIT >> 20} MB:\n"
        f"  {mapped * 1e6:.3f} us a sample, {len(few):,} in memory {memory * 1e6:.3f}, {ratio:.2f} of the speed\n"
        f"  goal {'met' if ratio >= LEAST else 'NOT met'}: at least {LEAST}\n"
        f"  peak of each rank's own memory {', '.join(f'{bytes_ / 2**20:.0f} MB' for bytes_ in peaks)}",
        flush=True,
    )
    report: dict[str, Any] = {
        "machine": machine,
        "bytes": images.stat().st_size,
        "samples": len(data),
        "batch": BATCH_SIZE,
        "limit": LIMIT,
        "seconds a sample": seconds,
        "median ratio": ratio,
        "peaks": peaks,
    }
    if file:
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return int(ratio < LEAST)


if __name__ == "__main__":
    sys.exit(main())
