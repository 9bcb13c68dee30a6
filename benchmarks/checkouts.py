"""Train with two checkouts of numnet and with a loop in plain NumPy, turn by turn, and compare their seconds.

python benchmarks/checkouts.py OLD_FOLDER [NEW_FOLDER] --json checkouts.json

Each checkout trains in a process of its own that waits while the others work; in every other round the order is the
reverse. Ratios are of epochs in the same round; the medians are what counts. The images are MNIST's where its files are
at hand, in the folder that NUMNET_DATA names say, and random bytes elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import peers
from machine import describe, print_machine, start_without_overrides
from versus import NETWORKS, PAUSE

import numnet as nn

ROUNDS = 15
SAMPLES = {"A": 60_000, "B": 60_000, "C": 12_800}  # C: so that 15 rounds take minutes; its steps are all alike
QUICK_SAMPLES = 3_200
COST_NOISE = 1e-4  # how far the first epoch's costs may be apart, relatively
RATIOS = [("new", "old"), ("new", "inlined"), ("old", "inlined")]


def main() -> int:
    """Run the comparison and return its exit status."""
    options = parse_arguments()
    if options.work:
        work(*options.work, options.old)
        return 0
    start_without_overrides()
    machine = describe([])
    print_machine(machine)
    report: dict[str, Any] = {"machine": machine, "data": images()[2]}
    for name in ("old", "new"):
        report[name] = commit(getattr(options, name))
        print(f"{name}: {report[name]}")
    report["networks"] = {}
    wrong = False
    for network in options.networks:
        samples = QUICK_SAMPLES if options.quick else SAMPLES[network]
        result = compare(network, samples, options)
        report["networks"][network] = result
        print_table(network, result, report["data"])
        costs = result["first costs"]
        if not all(abs(cost - costs["inlined"]) <= COST_NOISE * costs["inlined"] for cost in costs.values()):
            print(f"WRONG: the first epoch's costs differ, {costs}")
            wrong = True
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return int(wrong)


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("old", type=Path, metavar="OLD_FOLDER", help="the checkout to compare with")
    parser.add_argument("new", type=Path, metavar="NEW_FOLDER", nargs="?", default=here, help="by default this one")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"timed epochs of each ({ROUNDS})")
    parser.add_argument("--networks", default="ABC", metavar="ABC", help="which networks (ABC)")
    parser.add_argument("--quick", action="store_true", help="2 rounds on few samples: does it work?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for folder in (options.old, options.new):
        if not (folder / "numnet" / "__init__.py").is_file():
            parser.error(f"{folder} is no checkout of numnet: it has no numnet/__init__.py")
    if not options.networks or set(options.networks) - set(NETWORKS):
        parser.error(f"--networks must be some of the letters ABC, got {options.networks!r}")
    if options.rounds < 2:
        parser.error(f"--rounds must be at least 2, got {options.rounds}")
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"{options.json} cannot be written: there is no such folder")
    options.networks = sorted(set(options.networks))
    if options.quick:
        options.rounds = 2
    return options


def images() -> tuple[Any, Any, str]:
    """Return MNIST's training images and labels, or where they are not at hand random ones, and what they are."""
    try:
        train, _ = nn.datasets.mnist(download=False)
        return train.images, train.labels, "MNIST"
    except nn.datasets.DownloadError:
        rng = np.random.default_rng(0)
    return rng.integers(256, size=(60_000, 28, 28), dtype=np.uint8), rng.integers(10, size=60_000), "random bytes"


def commit(folder: Path) -> str:
    """Return the commit of a checkout, with "-dirty" where it has changes."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def work(peer: str, network: str, samples: str, folder: Path) -> None:
    """Be a worker: train for an epoch whenever a line comes, and answer with its seconds and cost."""
    if not Path(nn.__file__).resolve().is_relative_to(folder.resolve()):
        raise SystemExit(f"numnet was imported from {nn.__file__}, not from {folder}")
    train, labels = (array[: int(samples)] for array in images()[:2])
    problem = peers.Problem(NETWORKS[network], train, labels, train[:0], labels[:0])
    epoch, _ = getattr(peers, peer)(problem)
    for _ in sys.stdin:
        time.sleep(PAUSE)
        started = time.perf_counter()
        cost = epoch()
        print(json.dumps([time.perf_counter() - started, cost]), flush=True)


class Worker:
    """A program that trains, in a process of its own that takes numnet from a folder."""

    def __init__(self, peer: str, folder: Path, network: str, samples: int) -> None:
        folder = folder.resolve()
        command = [sys.executable, __file__, str(folder), "--work", peer, network, str(samples)]
        paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        pipe = subprocess.PIPE
        self.process: Any = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def epoch(self) -> tuple[float, float]:
        """Have it train for an epoch, and return the seconds that it took and its mean cost."""
        try:
            print(file=self.process.stdin, flush=True)
            seconds, cost = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, ValueError):
            raise SystemExit(f"a process ended with exit code {self.process.wait()}") from None
        return seconds, cost

    def stop(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def compare(network: str, samples: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time the three in turn, after an epoch of each that is not counted."""
    programs = {
        "old": ("numnet", options.old),
        "new": ("numnet", options.new),
        "inlined": ("numpy_inlined", options.new),
    }
    workers = {name: Worker(peer, folder, network, samples) for name, (peer, folder) in programs.items()}
    costs = {name: worker.epoch()[1] for name, worker in workers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for number in range(options.rounds):
        for name in list(workers) if number % 2 else reversed(workers):
            seconds[name].append(workers[name].epoch()[0])
    for worker in workers.values():
        worker.stop()
    ratios = {f"{a}/{b}": [x / y for x, y in zip(seconds[a], seconds[b], strict=True)] for a, b in RATIOS}
    return {
        "sizes": NETWORKS[network],
        "samples": samples,
        "rounds": options.rounds,
        "first costs": costs,
        "seconds": seconds,
        "median seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "ratios": ratios,
        "median ratios": {name: statistics.median(values) for name, values in ratios.items()},
    }


def print_table(network: str, result: dict[str, Any], data: str) -> None:
    """Print the medians."""
    title = f"{network}: {'-'.join(map(str, result['sizes']))}, {result['samples']:,} samples of {data}"
    print(f"\n{title}, {result['rounds']} rounds")
    for name, seconds in result["median seconds"].items():
        print(f"{name:12} {seconds:8.4f} s an epoch (median)")
    for name, values in result["ratios"].items():
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        print(f"{name:12} {median:8.3f} (median; quartiles {low:.3f} and {high:.3f})", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
