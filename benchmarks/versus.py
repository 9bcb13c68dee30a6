"""Train the same networks with numnet and with its peers, turn by turn, and compare the seconds for an epoch.

python benchmarks/versus.py --json versus.json --plot versus.png
python benchmarks/versus.py --redraw versus.json --plot versus.png    # what was measured before

Each program runs in a process of its own that waits while the others work. In every round each peer's epoch is timed
right after an epoch of numnet's, or in the next round before it, and their ratio taken; the medians are what counts.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
import sys
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import peers
from machine import describe, print_machine, start_without_overrides

import numnet as nn

NETWORKS = {"A": (784, 10), "B": (784, 128, 10), "C": (784, 512, 512, 10)}
ROUNDS = {"A": 15, "B": 11, "C": 7}
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
    "blas": ("only the loop's matrix products", "numpy", "ABC"),
}
FRAMEWORKS = [name for name in PEERS if name not in ("numpy_inlined", "blas")]
# How many times the epoch of each peer must be numnet's at least.
GOALS = {
    "A": {"torch_dataloader": 60.0, "torch_eager": 3.5, "thinc": 2.0, "fastest": 1.25, "numpy_inlined": 1 / 1.05},
    "B": {"fastest": 1.1, "numpy_inlined": 1 / 1.05},
    "C": {"fastest": 1.0, "numpy_inlined": 1 / 1.05},
}
WIDEST = 5.5  # times numnet's time that the figure has room for: longer bars end in an arrow
PAUSE = 0.1  # seconds before an epoch, so that no idle thread pool of the last process still spins
# How far the first epoch's cost may be from numnet's, relatively: programs differ by rounding, some 1e-5. That of
# scikit-learn takes no probability for less than 1e-7. Leaving out one batch of an epoch changes it by 4e-4.
COST_NOISE = dict.fromkeys(PEERS, 1e-4) | {"scikit_learn": 5e-3}
ACCURACY_NOISE = 0.005


def main() -> int:
    """Run the comparison and return its exit status."""
    options = parse_arguments()
    if options.redraw:
        plot(json.loads(options.redraw.read_text(encoding="utf-8")), options.plot)
        return 0
    if not options.keep_environment:
        start_without_overrides()
    machine = describe(package for _, package, _ in PEERS.values())
    print_machine(machine)
    report: dict[str, Any] = {"machine": machine, "networks": {}}
    wrong = False
    for network in options.networks:
        names = [name for name in PEERS if name in (options.only or PEERS) and network in PEERS[name][2]]
        result = compare(names, NETWORKS[network], options.rounds or ROUNDS[network], options)
        report["networks"][network] = result
        print_table(network, result)
        wrong |= bool(result["failed"]) or not programs_agree(result["programs"])
        if not options.quick:
            print_goals(network, result["programs"])
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        plot(report, options.plot)
    return int(wrong)


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, help=f"timed epochs of each peer ({ROUNDS})")
    parser.add_argument("--networks", default="ABC", metavar="ABC", help="which networks (ABC)")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="PEER,PEER", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--quick", action="store_true", help="2 rounds on the digits in the package: does it work?")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder with MNIST's four .gz files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="save a figure of the ratios")
    parser.add_argument("--redraw", type=Path, metavar="FILE", help="measure nothing: --plot what --json has saved")
    parser.add_argument("--keep-environment", action="store_true", help="keep what overrides OpenBLAS's own choices")
    options = parser.parse_args()
    for unknown in set(options.only or []) - set(PEERS):
        parser.error(f"--only: {unknown!r} is none of {', '.join(PEERS)}")
    if not options.networks or set(options.networks) - set(NETWORKS):
        parser.error(f"--networks must be some of the letters ABC, got {options.networks!r}")
    options.networks = sorted(set(options.networks))
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    if options.redraw and not options.plot:
        parser.error("--redraw needs --plot FILE, where to save the figure")
    for file in filter(None, (options.json, options.plot)):
        if not file.absolute().parent.is_dir():
            parser.error(f"{file} cannot be written: there is no such folder")
    if options.quick:
        options.rounds = 2
    return options


class FailedError(Exception):
    """A program did not start or ended before it had answered; the message says why."""


class Worker:
    """A program that trains, in a process of its own."""

    def __init__(self, name: str, sizes: tuple[int, ...], options: argparse.Namespace) -> None:
        self.connection, there = multiprocessing.Pipe()
        arguments = (there, name, sizes, options.quick, options.data_dir)
        self.process = multiprocessing.get_context("spawn").Process(target=work, args=arguments, daemon=True)
        self.process.start()
        there.close()
        self.first_epoch, self.first_cost = self.answer()

    def ask(self, what: str) -> Any:
        """Have it do something, and return the answer."""
        self.connection.send(what)
        return self.answer()

    def answer(self) -> Any:
        """Return its next answer; FailedError if it has none."""
        try:
            answer = self.connection.recv()
        except EOFError:
            self.process.join()
            raise FailedError(f"its process ended with exit code {self.process.exitcode}") from None
        if isinstance(answer, str):
            raise FailedError(answer)
        return answer

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
        connection.send((time.perf_counter() - started, cost))
        while True:
            if connection.recv() == "accuracy":
                connection.send(accuracy())
                continue
            time.sleep(PAUSE)
            started = time.perf_counter()
            epoch()
            connection.send(time.perf_counter() - started)
    except (EOFError, KeyboardInterrupt):
        pass
    except ImportError as error:
        connection.send(f"not installed: {error}")
    except ValueError as error:
        connection.send(str(error))
    except Exception:
        connection.send(traceback.format_exc())


def make_problem(sizes: tuple[int, ...], quick: bool, data_dir: Path | None) -> peers.Problem:
    """Return MNIST; to see whether all works, the small digits in the package do."""
    train, test = nn.datasets.digits() if quick else nn.datasets.mnist(data_dir)
    sizes = (math.prod(train.images.shape[1:]), *sizes[1:])
    lr = 0.1 if quick else 0.5
    return peers.Problem(sizes, train.images, train.labels, test.images, test.labels, lr=lr)


def compare(names: list[str], sizes: tuple[int, ...], rounds: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time numnet and the peers in turn."""
    try:
        numnet = Worker("numnet", sizes, options)
    except FailedError as failure:
        raise SystemExit(f"numnet failed: {failure}") from None
    workers: dict[str, Worker] = {}
    skipped, failed = {}, {}
    for name in names:
        try:
            workers[name] = Worker(name, sizes, options)  # one after the other, since a first epoch is timed as well
        except FailedError as failure:
            (skipped if str(failure).startswith("not installed") else failed)[name] = str(failure)
    seconds: dict[str, list[float]] = {name: [] for name in ["numnet", *workers]}
    ratios: dict[str, list[float]] = {name: [] for name in workers}
    accuracies: dict[str, float] = {}
    for number in range(rounds):
        for name, peer in list(workers.items()):
            try:
                took = {worker: worker.ask("epoch") for worker in ([numnet, peer] if number % 2 else [peer, numnet])}
                if number + 1 == rounds:
                    accuracies[name] = peer.ask("accuracy")
            except FailedError as failure:
                failed[name] = str(failure)
                del workers[name]
                continue
            seconds["numnet"].append(took[numnet])
            seconds[name].append(took[peer])
            ratios[name].append(took[peer] / took[numnet])
            if len(seconds["numnet"]) == rounds:
                accuracies["numnet"] = numnet.ask("accuracy")  # after as many epochs as the peers will have had
    programs = {
        name: {
            "first epoch with preparation": worker.first_epoch,
            "first cost": worker.first_cost,
            "accuracy": accuracies[name],
            "seconds": seconds[name],
            "median seconds": statistics.median(seconds[name]),
            "ratios": ratios.get(name, [1.0]),
            "median ratio": statistics.median(ratios.get(name, [1.0])),
        }
        for name, worker in ({"numnet": numnet} | workers if workers else {}).items()
    }
    for worker in [numnet, *workers.values()]:
        worker.stop()
    return {"sizes": sizes, "rounds": rounds, "programs": programs, "skipped": skipped, "failed": failed}


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


def programs_agree(programs: dict[str, Any]) -> bool:
    """Return whether all reached numnet's first cost and last accuracy, and print which did not."""
    agree = True
    for name in programs.keys() - {"numnet", "blas"}:
        cost, accuracy = (programs[name][key] - programs["numnet"][key] for key in ("first cost", "accuracy"))
        if not (abs(cost) <= COST_NOISE[name] * programs["numnet"]["first cost"] and abs(accuracy) <= ACCURACY_NOISE):
            print(f"WRONG: {name} differs from numnet by {cost:.2g} in its first cost, by {accuracy:.4f} in accuracy")
            agree = False
    return agree


def print_table(network: str, result: dict[str, Any]) -> None:
    """Print a line for each program."""
    print(f"\n{network}: {'-'.join(map(str, result['sizes']))}, {result['rounds']} rounds")
    print(f"{'':31} seconds an epoch   times numnet's        first epoch,   test")
    print(f"{'':31} (median)           (median, range)       compiled (s)   accuracy")
    for name, program in sorted(result["programs"].items(), key=lambda item: item[1]["median ratio"]):
        label = PEERS[name][0] if name in PEERS else name
        ratios = program["ratios"]
        spread = f"({min(ratios):.2f} to {max(ratios):.2f})" if name != "numnet" else ""
        accuracy = "" if program["accuracy"] is None else f"{program['accuracy']:.4f}"
        print(
            f"{label:31} {program['median seconds']:16.4f}   {program['median ratio']:6.2f} {spread:16} "
            f"{program['first epoch with preparation']:9.2f}   {accuracy:>10}"
        )
    for what in ("skipped", "failed"):
        for name, why in result[what].items():
            print(f"{PEERS[name][0]:31} {what}: {why}")
    sys.stdout.flush()


def print_goals(network: str, programs: dict[str, Any]) -> None:
    """Print for each goal whether it was met."""
    for label, ratio, wanted in goals(network, programs):
        verdict = "met" if ratio >= wanted else "NOT met"
        print(f"goal {verdict}: {label} takes {ratio:.3f} times numnet's time, wanted: {wanted:.3f}", flush=True)


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw how many times numnet's time each program takes: below one another and on one scale, wide as a page."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    networks = {
        network: sorted((p["median ratio"], name) for name, p in result["programs"].items())
        for network, result in report["networks"].items()
    }
    heights = [len(rows) + 2 for rows in networks.values()]
    figure, axes = plt.subplots(
        len(networks),
        figsize=(7.36, 0.27 * sum(heights) + 0.4),
        height_ratios=heights,
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, (network, rows) in zip(axes[:, 0], networks.items(), strict=True):
        for y, (ratio, name) in enumerate(rows):
            color = "black" if name == "numnet" else "#56B4E9" if name in FRAMEWORKS else "0.75"
            ax.barh(y, min(ratio, WIDEST), color=color)
            beyond = f"→ {ratio:.1f}" if ratio > WIDEST else f"{ratio:.2f}"
            look = {"va": "center", "bbox": {"fc": "white", "ec": "none", "pad": 1}}
            ax.text(min(ratio, WIDEST) + 0.07, y, beyond, weight="bold" if name == "numnet" else None, **look)
        ax.set_yticks(range(len(rows)), [PEERS[name][0] if name in PEERS else name for _, name in rows])
        ax.get_yticklabels()[[name for _, name in rows].index("numnet")].set_weight("bold")
        ax.axvline(1, color="0.5", linewidth=1, linestyle=":", zorder=0)
        ax.set_title(f"{network}: {'-'.join(map(str, report['networks'][network]['sizes']))}", loc="left")
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.invert_yaxis()
    ax.set(xlabel="time of an epoch / time of numnet's (grey: NumPy without a library)", xlim=(0, WIDEST + 0.6))
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
