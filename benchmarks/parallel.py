"""Training on two ranks of MPI and on one process, the sums over the ranks alone, and how well large batches train.

python benchmarks/parallel.py --data-dir DIR --json parallel.json --plot parallel.png
python benchmarks/parallel.py --redraw parallel.json --plot parallel.png    # what was measured before

The program starts itself on two ranks, with mpiexec. Epochs of all programs are timed in turn, round after round, and
the medians quoted. While rank 0 trains as one process with all threads of BLAS, rank 1 sleeps.

What many ranks would take is predicted. One Allreduce of m bytes on p ranks takes the shorter of

    log2(p) (alpha + beta m)                               recursive doubling, for short messages
    2 log2(p) alpha + 2 (p - 1)/p beta m                   reduce-scatter and allgather (Rabenseifner), for long ones

R. Thakur, R. Rabenseifner and W. Gropp derive both in "Optimization of Collective Communication Operations in MPICH",
Int. J. of High Performance Computing Applications 19 (2005), 49-66. (A ring sends as many bytes as the second, but
takes 2 (p - 1) alpha.) For two ranks the shorter is alpha + beta m. This line is fitted to what was measured here. Its
alpha and beta stand for what the ranks themselves do: calls, copies and sums. The times of a network are added to them.

The rest of a step is what one rank was measured to take for its part of the batch. The order of the samples and the few
numbers that ranks tell one another are counted, too. Waiting for the slowest rank is not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import statistics
import subprocess
import sys
import time
import timeit
import warnings
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe, print_machine, start_without_overrides
from versus import NETWORKS

import numnet as nn
from numnet.data import Samples
from numnet.threads import BLAS

BATCH_SIZES = [64, 256, 1024, 4096, 16384]
SMALL_BATCHES, SMALL_STEPS = [1, 4, 16], 256  # what a rank of many has to do; the first steps of an epoch only
ROUNDS = {"A": 11, "B": 9, "C": 5}
MESSAGES = [8**k for k in range(1, 9)]  # bytes
MESSAGE_ROUNDS = 31
PAUSE = 0.1  # seconds before an epoch, so that the threads of BLAS no longer wait actively
POLL = 0.005  # seconds between looks at whether rank 0 is done
# What is assumed of a network of computers with one rank each: seconds that a message is on its way, and bits a second.
NETS = {"10 Gb/s": (20e-6, 10e9), "100 Gb/s": (2e-6, 100e9)}
RANKS = [2**k for k in range(10)]
DRAWN = [64, 1024, 16384]  # batches
EPOCHS, SEEDS = 10, 3  # of each training whose test accuracy counts
LR, LR_BATCH = 0.5, 64  # the learning rate that suits batches of this size
WARM_UP = 5  # epochs, as many as in Goyal et al.
RATES = ["the same", "scaled", "scaled, with warm-up"]
EVERY = [None, 1, 10, 100, 1000]  # batches between two averages; None sums up gradients


def main() -> int:
    """Start the ranks; on each of them measure, and on rank 0 print and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds on the digits in the package: does it work?")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder with MNIST's four .gz files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="save a figure of the sums and of the prediction")
    parser.add_argument("--redraw", type=Path, metavar="FILE", help="measure nothing: --plot what --json has saved")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.redraw:
        if not options.plot:
            parser.error("--redraw needs --plot FILE, where to save the figure")
        plot(json.loads(options.redraw.read_text(encoding="utf-8"), object_hook=with_numbers), options.plot)
        return 0
    if not options.rank:
        start_without_overrides()
        return start_ranks([__file__, *sys.argv[1:], "--rank"])
    from mpi4py import MPI

    world, report = MPI.COMM_WORLD, {}
    train, test = nn.datasets.digits() if options.quick else nn.datasets.mnist(options.data_dir)
    networks = {name: (math.prod(train.images.shape[1:]), *sizes[1:]) for name, sizes in NETWORKS.items()}
    report["machine"] = describe(["mpi4py", "mpich"])
    if world.rank == 0:
        print_machine(report["machine"])
        print(MPI.Get_library_version().partition("\n")[0].rstrip("\x00"), flush=True)
    with BLAS.limit(limits=1):
        report["allreduce"] = time_allreduce(world, networks, 3 if options.quick else MESSAGE_ROUNDS)
        report["networks"] = {
            name: time_epochs(world, MPI.COMM_SELF, name, sizes, 1 if options.quick else ROUNDS[name], train)
            for name, sizes in networks.items()
        }
        epochs, seeds = (1, 1) if options.quick else (EPOCHS, SEEDS)
        report["epochs"], report["seeds"] = epochs, seeds
        report["batches"] = train_batches(world, networks, train, test, epochs, seeds)
        report["local"] = train_locally(world, networks, train, test, epochs, seeds)
    if world.rank == 0:
        report["model"] = model(report, train)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        if options.plot:
            plot(report, options.plot)
    return 0


def start_ranks(program: list[str]) -> int:
    """Run a program on two ranks and return its exit status. If one of them fails, both end."""
    command = ["mpiexec", "-n", "2", sys.executable, "-m", "mpi4py", *program]
    try:
        return subprocess.run(command).returncode
    except FileNotFoundError:
        sys.exit("There is no mpiexec here: pip install mpi4py mpich")


def make_trainer(
    sizes: tuple[int, ...], lr: float | Callable[[int], float] = LR, seed: int = 0, **options: Any
) -> nn.Trainer:
    """Return a trainer of a network with sigmoid hidden layers."""
    layers: list[nn.Layer] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.Sigmoid()]
    net = nn.Sequential(*layers[:-1], nn.Softmax(), seed=seed)
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=lr), seed=seed, **options)


def number_of_parameters(sizes: tuple[int, ...]) -> int:
    """Return the number of parameters of a network."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))


# The sums alone


def time_allreduce(world: Any, networks: dict[str, tuple[int, ...]], rounds: int) -> dict[int, list[float]]:
    """Return, by the bytes of a vector, the seconds that one sum over the ranks takes, round by round."""
    from mpi4py import MPI

    sizes = sorted({*MESSAGES, *(4 * number_of_parameters(sizes) for sizes in networks.values())})
    times: dict[int, list[float]] = {size: [] for size in sizes}
    vectors = {size: np.zeros(size // 4, np.float32) for size in sizes}
    for _ in range(rounds):
        for size, vector in vectors.items():
            calls = max(1, min(200, 2**21 // size))
            world.Barrier()
            started = time.perf_counter()
            for _ in range(calls):
                world.Allreduce(MPI.IN_PLACE, vector)
            times[size].append((time.perf_counter() - started) / calls)
    if world.rank == 0:
        print(f"\n{'Allreduce, bytes':>18}   us (median, range)")
        for size, measured in times.items():
            low, median, high = (1e6 * f(measured) for f in (min, statistics.median, max))
            print(f"{size:18,}   {median:9.1f} ({low:.1f} to {high:.1f})", flush=True)
    return times


# Seconds an epoch


def alone(world: Any, work: Callable[[], Any]) -> Any:
    """Have rank 0 do some work. The others sleep meanwhile: to wait with MPI itself would keep their cores busy."""
    if world.rank == 0:
        result = work()
        for rank in range(1, world.size):
            world.send(result, rank)
        return result
    while not world.Iprobe(source=0):
        time.sleep(POLL)
    return world.recv(source=0)


def time_epochs(
    world: Any, one: Any, name: str, sizes: tuple[int, ...], rounds: int, train: nn.datasets.Dataset
) -> dict[str, Any]:
    """Time epochs on one process with all threads, on one rank and on two ranks, one thread each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    sides = {"one process": (None, cores), "1 rank": (one, 1), "2 ranks": (world, 1)}
    trainers = {
        side: make_trainer(sizes, comm=comm)
        for side, (comm, _) in sides.items()
        if comm is world or world.rank == 0  # the others are for rank 0 alone
    }
    points = [*product(BATCH_SIZES, sides), *product(SMALL_BATCHES, ["1 rank"])]
    seconds: dict[str, dict[int, list[float]]] = {side: {} for side in sides}

    def epoch(side: str, batch: int) -> float:
        data = nn.datasets.Dataset(*(part[: batch * SMALL_STEPS] for part in (train.images, train.labels)))
        time.sleep(PAUSE)
        with BLAS.limit(limits=sides[side][1]):
            history = trainers[side].fit(train if batch in BATCH_SIZES else data, 1, batch, progress=False)
        return history.seconds[-1]

    for number in range(rounds):
        for batch, side in reversed(points) if number % 2 else points:
            took = epoch(side, batch) if side == "2 ranks" else alone(world, lambda s=side, b=batch: epoch(s, b))
            seconds[side].setdefault(batch, []).append(took)
    speedups = {
        side: {
            batch: [a / b for a, b in zip(seconds["one process"][batch], seconds[side][batch], strict=True)]
            for batch in BATCH_SIZES
        }
        for side in ("1 rank", "2 ranks")
    }
    if world.rank == 0:
        print(f"\n{name}: {'-'.join(map(str, sizes))}, {rounds} rounds, seconds an epoch (median), times as fast as")
        print(f"{'batch':>8} {'one process':>12} {'1 rank':>10} {'2 ranks':>10}   one process: 1 rank, 2 ranks (range)")
        for batch in BATCH_SIZES:
            cells = [statistics.median(seconds[side][batch]) for side in sides]
            one_rank, two = (speedups[side][batch] for side in ("1 rank", "2 ranks"))
            spread = f"({min(two):.2f} to {max(two):.2f})"
            ratios = f"{statistics.median(one_rank):.2f}, {statistics.median(two):.2f} {spread}"
            print(f"{batch:8,} {cells[0]:12.4f} {cells[1]:10.4f} {cells[2]:10.4f}   {ratios}", flush=True)
    return {"sizes": sizes, "rounds": rounds, "seconds": seconds, "speedups": speedups}


# Many ranks


def model(report: dict[str, Any], train: nn.datasets.Dataset) -> dict[str, Any]:
    """Fit the model to the times of the sums; predict seconds an epoch on two ranks here and on many."""
    medians = {size: statistics.median(times) for size, times in report["allreduce"].items()}
    bytes_, times = np.array(list(medians)), np.array(list(medians.values()))
    alpha, beta = fit(bytes_, times)
    order, read = time_order(len(train)), time_read()
    fitted = {
        "alpha": alpha,
        "beta": beta,
        "errors": dict(zip(medians, ((alpha + beta * bytes_) / times - 1).tolist(), strict=True)),
        "seconds of the order": order,
        "seconds to read one message": read,
    }
    places = {"here": (alpha, beta)}
    places |= {net: (alpha + latency, beta + 8 / bits) for net, (latency, bits) in NETS.items()}
    predicted: dict[str, Any] = {place: {} for place in places}
    for name, network in report["networks"].items():
        trainer = make_trainer(network["sizes"])
        samples = Samples(trainer.net, trainer.pair, train, "train")
        step = time_of_a_step(network["seconds"]["1 rank"], len(train), order)
        size = 4 * number_of_parameters(network["sizes"])
        for batch, (place, (a, b)) in product(BATCH_SIZES, places.items()):
            steps, blocks = math.ceil(len(train) / batch), len(list(samples.blocks(trainer.rng, batch)))
            predicted[place].setdefault(name, {})[batch] = {
                ranks: order
                + steps * (step(len(train) / steps / ranks) + seconds_of_sum(ranks, size, a, b))
                # At the two ends of a block each rank tells all others a few numbers. That takes two messages.
                + 2 * blocks * (2 * math.log2(ranks) * a + (ranks - 1) * read)
                for ranks in ([1, 2] if place == "here" else RANKS)
                if ranks <= batch
            }
    print(f"\nfitted: alpha {1e6 * alpha:.1f} us, beta {1e9 * beta:.3f} ns a byte; predicted seconds for 2 ranks here")
    print("(measured), and how many times as fast as 1 rank the best number of ranks is:")
    for name, batch in product(report["networks"], BATCH_SIZES):
        two = statistics.median(report["networks"][name]["seconds"]["2 ranks"][batch])
        cells = [f"{name}, batches of {batch}: {predicted['here'][name][batch][2]:.4f} ({two:.4f})"]
        for net in NETS:
            times_ = predicted[net][name][batch]
            best = min(times_, key=times_.__getitem__)
            cells.append(f"{net}: {times_[1] / times_[best]:.1f} on {best}")
        print("; ".join(cells), flush=True)
    return {**fitted, "predicted": predicted}


def fit(bytes_: np.ndarray, times: np.ndarray) -> tuple[float, float]:
    """Return the alpha and beta of which alpha + beta m is nearest to the times, on a logarithmic scale.

    So a short message counts as much as a long one. Least squares, by the method of Gauss and Newton.
    """
    logs = np.log([times[0], times[-1] / bytes_[-1]])
    for _ in range(50):
        parts = np.exp(logs) * np.stack([np.ones(len(times)), bytes_], axis=1)
        line = parts.sum(axis=1)
        logs += np.linalg.lstsq(parts / line[:, None], np.log(times / line))[0]
    alpha, beta = np.exp(logs).tolist()
    return alpha, beta


def seconds_of_sum(ranks: int, size: int, alpha: float, beta: float) -> float:
    """Return what an Allreduce of so many bytes takes, as the docstring of this file says."""
    rounds, share = math.log2(ranks), 2 * (ranks - 1) / ranks
    return min(rounds * (alpha + beta * size), 2 * rounds * alpha + share * beta * size)


def time_of_a_step(epochs: dict[int, list[float]], samples: int, order: float) -> Callable[[float], float]:
    """Return the seconds of a step on one rank as a function of its samples.

    Between the batches that were measured, the logarithms are interpolated.
    """
    points = {}
    for batch, seconds in sorted(epochs.items()):
        trained = samples if batch in BATCH_SIZES else min(samples, batch * SMALL_STEPS)
        steps = math.ceil(trained / batch)
        points[math.log(trained / steps)] = math.log((statistics.median(seconds) - order * trained / samples) / steps)
    return lambda batch: math.exp(np.interp(math.log(max(1, batch)), list(points), list(points.values())))


def time_order(samples: int) -> float:
    """Return the least seconds in which a rank draws the order of an epoch. Each rank draws all of it."""
    rng = np.random.default_rng(0)
    return min(timeit.repeat(lambda: rng.permutation(samples), number=1, repeat=21))


def time_read() -> float:
    """Return the seconds in which a rank reads what one other rank tells at the end of a block."""
    told = pickle.dumps(("a block", (0.123, 45), 64, None))
    return min(timeit.repeat(lambda: pickle.loads(told), number=1000, repeat=21)) / 1000  # noqa: S301


# How well it trains


def rate(how: str, batch: int) -> float | Callable[[int], float]:
    """Return the learning rate for a batch, as a number or as a function of the epoch.

    A scaled rate is proportional to the batch. With warm-up it begins with the rate for small batches, and grows epoch
    by epoch. Both are from P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour" (2017),
    https://arxiv.org/abs/1706.02677.
    """
    scaled = LR * batch / LR_BATCH
    if how == "scaled, with warm-up":
        return lambda epoch: LR + (scaled - LR) * min(1.0, (epoch - 1) / WARM_UP)
    return scaled if how == "scaled" else LR


def train_batches(
    world: Any,
    networks: dict[str, tuple[int, ...]],
    train: nn.datasets.Dataset,
    test: nn.datasets.Dataset,
    epochs: int,
    seeds: int,
) -> dict[str, Any]:
    """Return test accuracies by network, rule for the learning rate and batch; None where the cost became infinite.

    Ranks do what one process does. So each rank trains some of the networks, as one process.
    """
    cases = [
        (name, how, batch, seed)
        for seed, name, batch, how in product(range(seeds), "AB", BATCH_SIZES, RATES)
        if batch > LR_BATCH or how == RATES[0]  # they are the same for the smallest
    ]
    mine = []
    for name, how, batch, seed in cases[world.rank :: world.size]:
        trainer = make_trainer(networks[name], rate(how, batch), seed)
        accuracy = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nn.DataWarning)  # a rate that is too large is one of the results
            try:
                trainer.fit(train, epochs, batch, progress=False)
                accuracy = trainer.net.accuracy(test.images, test.labels)
            except nn.DivergenceError:
                pass
        mine.append((name, how, batch, accuracy))
    found: dict[str, Any] = {name: {how: {} for how in RATES} for name in "AB"}
    for name, how, batch, accuracy in (case for cases_ in world.allgather(mine) for case in cases_):
        found[name][how].setdefault(batch, []).append(accuracy)
    if world.rank == 0:
        print(f"\ntest accuracy after {epochs} epochs, median of {seeds}; learning rate:  {',  '.join(RATES)}")
        for name, batch in product("AB", BATCH_SIZES):
            cells = [median_accuracy(found[name][how].get(batch, [])) for how in RATES]
            print(f"{name}, batches of {batch:6,}: {'  '.join(cells)}", flush=True)
    return found


def train_locally(
    world: Any,
    networks: dict[str, tuple[int, ...]],
    train: nn.datasets.Dataset,
    test: nn.datasets.Dataset,
    epochs: int,
    seeds: int,
) -> dict[str, Any]:
    """Return test accuracies and seconds an epoch on two ranks that average their parameters now and then."""
    found: dict[str, Any] = {name: {str(every): [] for every in EVERY} for name in "AB"}
    for seed, name, every in product(range(seeds), "AB", EVERY):
        trainer = make_trainer(networks[name], seed=seed, comm=world, average_every=every)
        history = trainer.fit(train, epochs, LR_BATCH, progress=False)
        accuracy = trainer.net.accuracy(test.images, test.labels)
        found[name][str(every)].append({"accuracy": accuracy, "seconds": statistics.median(history.seconds)})
    if world.rank == 0:
        print(f"\n2 ranks, batches of {LR_BATCH}; parameters averaged every so many: test accuracy, seconds an epoch")
        for name, every in product("AB", EVERY):
            runs = found[name][str(every)]
            seconds = statistics.median(run["seconds"] for run in runs)
            accuracy = median_accuracy([run["accuracy"] for run in runs])
            print(f"{name}, {every or 'gradients summed up':>20}: {accuracy}, {seconds:.4f}", flush=True)
    return found


def median_accuracy(accuracies: list[float | None]) -> str:
    """Return the median and the range as text."""
    if not accuracies:
        return ""
    if None in accuracies:
        return "diverged"
    low, median, high = (f"{f(accuracies):.4f}" for f in (min, statistics.median, max))
    return median if low == high else f"{median} ({low} to {high})"


def with_numbers(saved: dict[str, Any]) -> dict[Any, Any]:
    """Return a part of a JSON file with the keys that were whole numbers before it was written."""
    return {int(key) if key.isdecimal() else key: value for key, value in saved.items()}


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw the sums that were measured, and how much faster many ranks are."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fitted, predicted = report["model"], report["model"]["predicted"]
    figure, axes = plt.subplots(2, 2, figsize=(7.36, 7.4), layout="constrained")
    ax = axes[0, 0]
    sizes = np.array(list(report["allreduce"]))
    times = 1e6 * np.array(list(report["allreduce"].values()))
    ax.fill_between(sizes, times.min(axis=1), times.max(axis=1), color="0.85", label="range")
    ax.plot(sizes, np.median(times, axis=1), "ko", markersize=4, label="median")
    ax.plot(sizes, 1e6 * (fitted["alpha"] + fitted["beta"] * sizes), color="tab:orange", label="the fitted line")
    ax.set(xscale="log", yscale="log", title="Allreduce on 2 ranks here", xlabel="bytes", ylabel="microseconds")
    ax.legend()
    for ax, (name, network) in zip(axes.flat[1:], report["networks"].items(), strict=True):
        ax.plot(RANKS, RANKS, color="0.6", linewidth=0.8, label="p times as fast")
        for batch, color in zip(DRAWN, ("tab:green", "tab:blue", "tab:red"), strict=True):
            for net, style in zip(NETS, ("--", "-"), strict=True):
                seconds = predicted[net][name][batch]
                speedups = [seconds[1] / seconds[ranks] for ranks in seconds]
                ax.plot(list(seconds), speedups, style, color=color, label=f"batch {batch:,}, {net}")
            here = [statistics.median(network["seconds"][side][batch]) for side in ("1 rank", "2 ranks")]
            ax.plot(2, here[0] / here[1], "o", color=color, markersize=4)
        ax.set(xscale="log", yscale="log", title=f"{name}: {'-'.join(map(str, network['sizes']))}", xlabel="ranks")
        ax.set_ylabel("times as fast as 1 rank")
        ax.set_xticks(RANKS[::3], RANKS[::3])
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
    axes[0, 1].plot([], [], "ko", markersize=4, label="measured here")
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    for ax in axes.flat:
        ax.grid(alpha=0.3)
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    sys.exit(main())
