"""Train the same networks with numnet and with its peers, turn by turn, and compare the seconds for an epoch.

python benchmarks/versus.py --json versus.json --plot versus.png

Each program runs in a process of its own that waits while the others work. In every round each peer's epoch is timed
right after an epoch of numnet's, or in the next round before it, and their ratio taken; the medians are what counts.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import statistics
import sys
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import peers
from machine import describe, print_machine

import numnet as nn

NETWORKS = {"A": (784, 10), "B": (784, 128, 10), "C": (784, 512, 512, 10)}
ROUNDS = {"A": 21, "B": 15, "C": 9}
# What each program is called in the tables, the package that it needs, and the networks that it is timed on.
PEERS = {
    "torch_dataloader": ("PyTorch, DataLoader and PIL", "torch", "A"),
    "torch_eager": ("PyTorch, eager", "torch", "ABC"),
    "torch_compile": ("PyTorch, torch.compile", "torch", "ABC"),
    "jax_step": ("JAX, jitted step", "jax", "ABC"),
    "jax_scan": ("JAX, jitted epoch (scan)", "jax", "ABC"),
    "thinc": ("Thinc", "thinc", "ABC"),
    "scikit_learn": ("scikit-learn MLPClassifier", "scikit-learn", "ABC"),
    "numpy_inlined": ("NumPy loop without a library", "numpy", "ABC"),
    "blas": ("its BLAS calls alone", "numpy", "ABC"),
}
FRAMEWORKS = [name for name in PEERS if name not in ("numpy_inlined", "blas")]
# How many times the epoch of each peer must be numnet's at least.
GOALS = {
    "A": {"torch_dataloader": 60.0, "torch_eager": 3.5, "thinc": 2.0, "fastest": 1.25, "numpy_inlined": 1 / 1.05},
    "B": {"fastest": 1.1, "numpy_inlined": 1 / 1.05},
    "C": {"fastest": 1.0, "numpy_inlined": 1 / 1.05},
}
PAUSE = 0.1  # seconds before an epoch, so that no idle thread pool of the last process still spins
# Rounding differs between the programs, and scikit-learn's cost takes no probability for less than 1e-7; a wrong
# derivative, or another order of the samples, is off by far more.
COST_NOISE, ACCURACY_NOISE = 0.005, 0.005


def main() -> int:
    """Run the comparison and return its exit status."""
    options = parse_arguments()
    forced = os.environ.pop("OPENBLAS_CORETYPE", None) if not options.keep_environment else None
    machine = describe(package for _, package, _ in PEERS.values())
    print_machine(machine)
    if forced:
        print(
            f"OPENBLAS_CORETYPE={forced} is set; it is removed here, so that NumPy chooses its kernels for this "
            "processor, as the others do (--keep-environment leaves it)"
        )
        machine["removed from the environment"] = {"OPENBLAS_CORETYPE": forced}
    report: dict[str, Any] = {"machine": machine, "networks": {}}
    wrong = False
    for network in options.networks:
        sizes = NETWORKS[network]
        names = [name for name in options.only or PEERS if network in PEERS[name][2]]
        result = compare(names, sizes, options.rounds or ROUNDS[network], options)
        result["sizes"] = sizes
        report["networks"][network] = result
        print_table(network, result)
        if not options.quick:
            print_goals(network, result["programs"])
        wrong |= not accuracies_agree(result)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        plot(report, options.plot)
    return int(wrong)


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, help=f"timed epochs of each peer ({ROUNDS})")
    parser.add_argument("--networks", type=list, default=list(NETWORKS), metavar="ABC", help="which networks (ABC)")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="PEER,PEER", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--quick", action="store_true", help="2 rounds on the digits in the package: does it work?")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder with MNIST's four .gz files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="save a figure of the ratios")
    parser.add_argument("--keep-environment", action="store_true", help="keep OPENBLAS_CORETYPE, if set")
    options = parser.parse_args()
    for unknown in set(options.only or []) - set(PEERS) or set(options.networks) - set(NETWORKS):
        parser.error(f"{unknown!r} is none of {', '.join(PEERS)} or {', '.join(NETWORKS)}")
    if options.quick:
        options.rounds = 2
    return options


class Worker:
    """A program that trains, in a process of its own."""

    def __init__(self, name: str, sizes: tuple[int, ...], options: argparse.Namespace) -> None:
        self.connection, there = multiprocessing.Pipe()
        arguments = (there, name, sizes, options.quick, options.data_dir)
        self.process = multiprocessing.get_context("spawn").Process(target=work, args=arguments, daemon=True)
        self.process.start()
        there.close()

    def ask(self, what: str) -> Any:
        """Return the answer of the process: what it did, or the exception that it met."""
        self.connection.send(what)
        return self.answer()

    def answer(self) -> Any:
        """Return the next answer."""
        try:
            return self.connection.recv()
        except EOFError:
            return RuntimeError("its process ended")

    def stop(self) -> None:
        """End the process."""
        self.connection.close()
        self.process.join()


def work(connection: Connection, name: str, sizes: tuple[int, ...], quick: bool, data_dir: Path | None) -> None:
    """Be a worker: train the first epoch, then do what is asked."""
    try:
        problem = make_problem(sizes, quick, data_dir)
        started = time.perf_counter()
        epoch, accuracy = getattr(peers, name)(problem)
        cost = epoch()
        connection.send({"first": time.perf_counter() - started, "cost": cost})
        while True:
            if connection.recv() == "accuracy":
                connection.send(accuracy())
                continue
            time.sleep(PAUSE)
            started = time.perf_counter()
            epoch()
            connection.send(time.perf_counter() - started)
    except EOFError:
        pass
    except ImportError as error:
        connection.send(error)
    except Exception:
        connection.send(RuntimeError(traceback.format_exc()))


def make_problem(sizes: tuple[int, ...], quick: bool, data_dir: Path | None) -> peers.Problem:
    """Return MNIST; to see whether all works, the small digits in the package do."""
    train, test = nn.datasets.digits() if quick else nn.datasets.mnist(data_dir)
    sizes = (math.prod(train.images.shape[1:]), *sizes[1:])
    lr = 0.1 if quick else 0.5
    return peers.Problem(sizes, train.images, train.labels, test.images, test.labels, lr=lr)


def compare(names: list[str], sizes: tuple[int, ...], rounds: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time numnet and the peers in turn."""
    workers, skipped = {}, {}
    for name in ["numnet", *names]:
        worker = Worker(name, sizes, options)
        first = worker.answer()  # one after the other: a first epoch compiles, and is measured too
        if isinstance(first, Exception):
            if not isinstance(first, ImportError):
                raise first
            skipped[name] = str(first)
        else:
            workers[name] = (worker, first)
    numnet, _ = workers["numnet"]
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    ratios: dict[str, list[float]] = {name: [] for name in workers if name != "numnet"}
    accuracies: dict[str, float] = {}
    for number in range(rounds):
        for name in ratios:
            peer, _ = workers[name]
            pair = [numnet, peer] if number % 2 else [peer, numnet]
            took = {worker: worker.ask("epoch") for worker in pair}
            for answer in took.values():
                if isinstance(answer, Exception):
                    raise answer
            seconds["numnet"].append(took[numnet])
            seconds[name].append(took[peer])
            ratios[name].append(took[peer] / took[numnet])
            if len(seconds["numnet"]) == rounds:
                accuracies["numnet"] = numnet.ask("accuracy")  # after as many epochs as the peers will have had
    for name in ratios:
        accuracies[name] = workers[name][0].ask("accuracy")
    for worker, _ in workers.values():
        worker.stop()
    return {
        "programs": {
            name: {
                "first epoch with preparation": workers[name][1]["first"],
                "first cost": workers[name][1]["cost"],
                "accuracy": accuracies[name],
                "seconds": seconds[name],
                "median seconds": statistics.median(seconds[name]),
                "ratios": ratios.get(name, [1.0]),
                "median ratio": statistics.median(ratios.get(name, [1.0])),
            }
            for name in workers
        },
        "skipped": skipped,
    }


def goals(network: str, programs: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Return for each goal its name, the ratio reached and the ratio wanted."""
    ratios = {name: program["median ratio"] for name, program in programs.items()}
    fastest = min((name for name in FRAMEWORKS if name in ratios), key=ratios.__getitem__, default=None)
    rows = []
    for name, wanted in GOALS[network].items():
        peer = fastest if name == "fastest" else name
        if peer in ratios:
            label = f"the fastest peer, {PEERS[peer][0]}" if name == "fastest" else PEERS[peer][0]
            rows.append((label, ratios[peer], wanted))
    return rows


def accuracies_agree(result: dict[str, Any]) -> bool:
    """Say which programs did not reach numnet's cost and accuracy, and whether all did."""
    programs = result["programs"]
    agree = True
    for name, program in programs.items():
        cost, accuracy = (program[key] - programs["numnet"][key] for key in ("first cost", "accuracy"))
        if abs(cost) > COST_NOISE * programs["numnet"]["first cost"] or abs(accuracy) > ACCURACY_NOISE:
            print(f"WRONG: {name} differs from numnet by {cost:.2g} in its first cost, by {accuracy:.4f} in accuracy")
            agree = False
    return agree


def print_table(network: str, result: dict[str, Any]) -> None:
    """Print a line for each program, then the goals."""
    programs = result["programs"]
    print(f"\n{network}: {'-'.join(map(str, result['sizes']))}")
    print(f"{'':31} seconds an epoch   times numnet's        first epoch,   test")
    print(f"{'':31} (median)           (median, range)       compiled (s)   accuracy")
    for name, program in sorted(programs.items(), key=lambda item: item[1]["median seconds"]):
        label = PEERS[name][0] if name in PEERS else name
        ratios = program["ratios"]
        spread = f"({min(ratios):.2f} to {max(ratios):.2f})" if name != "numnet" else ""
        accuracy = "" if math.isnan(program["accuracy"]) else f"{program['accuracy']:.4f}"
        print(
            f"{label:31} {program['median seconds']:16.4f}   {program['median ratio']:6.2f} {spread:16} "
            f"{program['first epoch with preparation']:9.2f}   {accuracy:>10}"
        )
    for name, why in result["skipped"].items():
        print(f"{PEERS[name][0]:31} skipped: {why}")
    sys.stdout.flush()


def print_goals(network: str, programs: dict[str, Any]) -> None:
    """Print for each goal whether it was met."""
    for label, ratio, wanted in goals(network, programs):
        verdict = "met" if ratio >= wanted else "NOT met"
        print(
            f"goal {verdict}: {label} takes {ratio:.2f} times numnet's time, wanted at least {wanted:.2f}", flush=True
        )


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw how many times numnet's time each peer takes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    networks = report["networks"]
    figure, axes = plt.subplots(1, len(networks), figsize=(4.2 * len(networks), 4), squeeze=False, layout="constrained")
    for ax, (network, result) in zip(axes[0], networks.items(), strict=True):
        programs = {name: p for name, p in result["programs"].items() if name in PEERS}
        rows = sorted(programs, key=lambda name: programs[name]["median ratio"])
        ratios = [programs[name]["median ratio"] for name in rows]
        shades = ["0.75" if name not in FRAMEWORKS else "tab:blue" for name in rows]
        ax.barh([PEERS[name][0] for name in rows], ratios, color=shades)
        for y, ratio in enumerate(ratios):
            ax.annotate(f"{ratio:.2f}", (ratio, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
        ax.axvline(1, color="black", linewidth=1)
        ax.set(
            xscale="log",
            xlabel="seconds an epoch, times numnet's",
            title=f"{network}: {'-'.join(map(str, result['sizes']))}",
        )
        ax.set_xlim(min([*ratios, 1]) / 1.6, max(ratios) * 2.2)
        ax.tick_params(labelsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    sys.exit(main())
