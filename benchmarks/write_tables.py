"""Write the measured tables into README.md and pages of docs/, from the JSON files in benchmarks/results.

python benchmarks/write_tables.py            # after measuring anew
python benchmarks/write_tables.py --check    # exit 1 where a table is not what the JSON files give
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gpu import NETWORKS
from parallel import BATCH_SIZES, DRAWN, EVERY, LR_BATCH, NETS, RATES, median_accuracy
from versus import FRAMEWORKS, PEERS, goals

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
FILES = [
    *("docs/performance.md", "docs/development/speed.md", "docs/gpu.md", "docs/parallel.md", "docs/zh/parallel.md"),
    "README.md",
]
RANKS = ["1", "2", "8", "64", "512"]  # that the table of many ranks shows


def main() -> int:
    """Write, or check, every table and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a table is not up to date")
    check = parser.parse_args().check
    stale = []
    for name in FILES:
        path = ROOT / name
        old = path.read_text(encoding="utf-8")
        new = re.sub(r"(<!-- (\w+) -->\n).*?(\n<!-- end -->)", table, old, flags=re.DOTALL)
        if new != old and check:
            stale.append(name)
        elif new != old:
            path.write_text(new, encoding="utf-8")
    if stale:
        print(f"{', '.join(stale)}: not what benchmarks/results holds; run python benchmarks/write_tables.py")
    return bool(stale)


def table(match: re.Match[str]) -> str:
    """Return the marked place with its table in it."""
    return f"{match[1]}{TABLES[match[2]]()}{match[3]}"


def read(name: str) -> Any:
    """Return a file of results."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table, the first column left and all others right."""
    head = list(head)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """Return what the comparison was measured on."""
    return measured(read("versus")["machine"])


def measured(m: dict[str, Any]) -> str:
    """Return when and on what machine something was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items() if name != "numnet")
    removed = ", ".join(f"{name}={value}" for name, value in m["removed settings"].items())
    note = f" Removed from the environment: {removed}." if removed else ""
    return (
        f"Measured on {m['date']}: {m['processor']}, {m['cores']} cores, {m['system']}; "
        f"Python {m['python']}, {versions}; BLAS {m['blas']}.{note}"
    )


def speed() -> str:
    """Return the seconds that each program takes for an epoch, and how many times numnet's time that is."""
    networks = read("versus")["networks"]
    head = ["s an epoch (times numnet's)", *(f"{n}: {'-'.join(map(str, networks[n]['sizes']))}" for n in networks)]

    def cell(network: str, name: str) -> str:
        result = networks[network]["programs"].get(name)
        return f"{result['median seconds']:.3f} ({result['median ratio']:.2f})" if result else ""

    names = ["numnet", "numpy_inlined", *(name for name in FRAMEWORKS if PEERS[name][2] == "ABC")]
    rows = [[PEERS[name][0] if name in PEERS else "**numnet**", *(cell(n, name) for n in networks)] for name in names]
    return markdown(head, rows)


def versus() -> str:
    """Return the figures of the comparison."""
    return comparison(read("versus"))


def versus_again() -> str:
    """Return when the comparison was made a second time, and its figures."""
    report = read("versus_later")
    return f"{measured(report['machine'])}\n\n{comparison(report)}"


def comparison(report: dict[str, Any]) -> str:
    """Return the figures of a run: seconds, ratios with their ranges, accuracies."""
    parts = []
    for network, run in report["networks"].items():
        rows: list[list[str]] = []
        programs = run["programs"]
        for name in sorted(programs, key=lambda name: programs[name]["median ratio"]):
            p = programs[name]
            ratio = "1.00" if name == "numnet" else spread(p["ratios"], ".2f")
            row = [PEERS[name][0] if name in PEERS else "**numnet**", f"{p['median seconds']:.4f}", ratio]
            accuracy = "" if p["accuracy"] is None else f"{p['accuracy']:.4f}"
            rows.append([*row, f"{p['first epoch with preparation']:.1f}", accuracy])
        sizes = "-".join(map(str, run["sizes"]))
        head = [f"{network}: {sizes}, {run['rounds']} rounds", "s an epoch", "times numnet's (range)"]
        parts.append(markdown([*head, "first epoch, s", "test accuracy"], rows))
    return "\n\n".join(parts)


def reached() -> str:
    """Return the goals and what was reached in each run."""
    rows = []
    runs = [read(name)["networks"] for name in ("versus", "versus_later")]
    for network in runs[0]:
        for a, b in zip(*(goals(network, run[network]["programs"]) for run in runs), strict=True):
            label = a[0] if a[0] == b[0] else f"{a[0]}; later {b[0]}"
            met = {True: "met", False: "**missed**"}
            rows.append([f"{network}, {label}", f"{a[2]:.3g}", *(f"{x[1]:.3g}, {met[x[1] >= x[2]]}" for x in (a, b))])
    return markdown(["takes, times numnet's time", "wanted", "reached", "reached later"], rows)


def whole() -> str:
    """Return the whole programs' times and memory."""
    report = read("whole_program")
    rows = []
    for name, runs in report["runs"].items():
        seconds = [run["seconds"] for run in runs]
        rows.append(
            [
                name,
                spread(seconds, ".2f"),
                f"{max(run['peak MB'] for run in runs):.0f}",
                runs[-1]["accuracy"],
            ]
        )
    text = markdown(["whole program, 10 epochs", "s, median (range)", "peak MB", "test accuracy"], rows)
    return f"{text}\n\nThe ratio, run by run, has the median {report['median ratio']:.1f}."


def step() -> str:
    """Return the parts of a training step."""
    networks = read("step")["networks"]
    parts = []
    for network, times in networks.items():
        rows = [[name, f"{microseconds:.1f}"] for name, microseconds in times.items()]
        parts.append(markdown([f"{network}, batch 64", "us"], rows))
    return "\n\n".join(parts)


def scaling() -> str:
    """Return the curves, and the training from large files."""
    report = read("scaling")
    parts = []
    for name, curve in report["curves"].items():
        cells = [f"{seconds * 1e6:.2f}" for seconds in curve["seconds a sample"]]
        parts.append(markdown([name, *(f"{point:,}" for point in curve["points"])], [["us a sample", *cells]]))
    rows = []
    for run in report["large"]:
        mapped, memory = (statistics.median(run[key]) * 1e6 for key in ("mapped", "in memory"))
        rows.append([f"{run['bytes'] / 1e9:.2f}", f"{run['samples']:,}", f"{mapped:.3f}", f"{memory:.3f}"])
        rows[-1].append(f"{run['peak'] / 2**20:.0f}")
    head = ["mapped file, GB", "samples", "us a sample", "60,000 samples in memory, us a sample", "peak own memory, MB"]
    return "\n\n".join([*parts, markdown(head, rows)])


def small() -> str:
    """Return the times of outputs and of steps in batches of one, on one thread."""
    if not (RESULTS / "small.json").exists():
        return "Not measured yet."
    report = read("small")
    parts = [f"{measured(report['machine'])} One thread."]
    for what, unit in (("inference", "outputs, us a call"), ("training", "training in batches of one, us a step")):
        names = list(dict.fromkeys(name for programs in report[what].values() for name in programs))
        rows = []
        for label, programs in report[what].items():
            cells = [f"{programs[name]['median microseconds']:.1f}" for name in names]
            peers = [f"{cell} ({programs[n]['median ratio']:.2f})" for n, cell in zip(names, cells, strict=True)][1:]
            rows.append([label, cells[0], *peers])
        parts.append(markdown([unit, names[0], *(f"{name} (times numnet's)" for name in names[1:])], rows))
    return "\n\n".join(parts)


def checkouts() -> str:
    """Return an epoch's seconds with the version before, with this one and with the loop, and their ratios."""
    if not (RESULTS / "checkouts.json").exists():
        return "Not measured yet."
    report = read("checkouts")
    rows = []
    for network, run in report["networks"].items():
        cells = [f"{run['median seconds'][name]:.4f}" for name in ("old", "new", "inlined")]
        for name in ("new/old", "new/inlined"):
            low, median, high = statistics.quantiles(run["ratios"][name], n=4, method="inclusive")
            cells.append(f"{median:.3f} ({low:.3f} to {high:.3f})")
        sizes = "-".join(map(str, run["sizes"]))
        rows.append([f"{network}: {sizes}, {run['samples']:,} samples, {run['rounds']} rounds", *cells])
    head = ["s an epoch", f"before ({report['old']})", f"now ({report['new']})", PEERS["numpy_inlined"][0]]
    text = markdown([*head, "now / before (quartiles)", "now / the loop (quartiles)"], rows)
    return f"{measured(report['machine'])} Data: {report['data']}.\n\n{text}"


def gpu() -> str:
    """Return milliseconds an epoch on a GPU, and how many times numnet's unrecorded time that is."""
    names = {"numnet": "numnet", "recorded": "recorded", "eager": "PyTorch eager", "graph": "PyTorch CUDA graph"}
    both = {**read("gpu_large")["epochs"], **read("gpu")["epochs"]}  # the second file has more rounds
    rows = []
    for key in sorted(both, key=lambda key: (key[0], int(key[2:]))):
        medians, network = both[key]["medians"], "-".join(map(str, NETWORKS[key[0]]))
        cells = [f"{1000 * medians[n]:.1f} ({medians[n] / medians['numnet']:.2f})" for n in names]
        rows.append([f"{network}, batches of {key[2:]}", *cells])
    return markdown(["ms an epoch (times numnet's)", *names.values()], rows)


def parallel() -> str:
    """Return epochs on two ranks, the sums alone, the prediction for many ranks, and how well large batches train."""
    report = read("parallel")
    parts = (two_ranks, sums, many_ranks, large_batches, averages)
    return "\n\n".join([measured(report["machine"]), *(part(report) for part in parts)])


def two_ranks(report: Any) -> str:
    """Return seconds an epoch on one process, on one rank and on two."""
    rows = []
    for name, batch in itertools.product(report["networks"], map(str, BATCH_SIZES)):
        run = report["networks"][name]
        seconds = [f"{statistics.median(times[batch]):.4f}" for times in run["seconds"].values()]
        predicted = f"{report['model']['predicted']['here'][name][batch]['2']:.4f}"
        speedups = [spread(ratios[batch], ".2f") for ratios in run["speedups"].values()]
        rows.append([*label(report, name, batch), *seconds, predicted, *speedups])
    sides = list(report["networks"]["A"]["seconds"])
    faster = [f"{side}, times as fast as one process (range)" for side in sides[1:]]
    head = ["s an epoch", "batch", f"{sides[0]}, all threads", *sides[1:], "2 ranks, by the model", *faster]
    return f":::{{container}} first-unbroken\n{markdown(head, rows)}\n:::"  # the name of a network stays in one line


def sums(report: Any) -> str:
    """Return the microseconds of an Allreduce, and the line that is fitted to them."""
    alpha, beta = (report["model"][key] for key in ("alpha", "beta"))
    rows = [
        [f"{int(size):,}", spread([1e6 * t for t in times], ".1f"), f"{1e6 * (alpha + beta * int(size)):.1f}"]
        for size, times in report["allreduce"].items()
    ]
    text = markdown(["Allreduce on 2 ranks, bytes", "us, median (range)", "alpha + beta bytes, us"], rows)
    return f"{text}\n\nFitted: alpha = {1e6 * alpha:.1f} us, beta = {1e9 * beta:.3f} ns a byte."


def many_ranks(report: Any) -> str:
    """Return the seconds an epoch that are predicted for many ranks."""
    rows = []
    for name, batch, net in itertools.product(report["networks"], map(str, DRAWN), NETS):
        times = report["model"]["predicted"][net][name][batch]
        cells = [f"{times[p]:.4f} ({times['1'] / times[p]:.2f})" if p in times else "" for p in RANKS]
        rows.append([*label(report, name, batch), net, *cells])
    head = ["predicted s an epoch (times as fast as 1 rank)", "batch", "network", "1 rank"]
    return markdown([*head, *(f"{p} ranks" for p in RANKS[1:])], rows)


def large_batches(report: Any) -> str:
    """Return the test accuracies of batches and learning rates."""
    rows = []
    for name, batch in itertools.product(report["batches"], BATCH_SIZES):
        cells = [median_accuracy(report["batches"][name][how].get(str(batch), [])) for how in RATES]
        rows.append([*label(report, name, batch), *cells])
    return markdown([accuracy_after(report), "batch", *(f"learning rate {how}" for how in RATES)], rows)


def averages(report: Any) -> str:
    """Return the test accuracy and the seconds an epoch of local SGD on two ranks."""
    rows = []
    for name, every in itertools.product(report["local"], map(str, EVERY)):
        runs = report["local"][name][every]
        seconds = statistics.median(run["seconds"] for run in runs)
        accuracy = median_accuracy([run["accuracy"] for run in runs])
        k = "none, gradients are summed up" if every == "None" else f"{int(every):,}"
        rows.append([label(report, name, 0)[0], k, accuracy, f"{seconds:.4f}"])
    head = [f"2 ranks, batches of {LR_BATCH}", "average_every", accuracy_after(report), "s an epoch"]
    return markdown(head, rows)


def label(report: Any, network: str, batch: int | str) -> list[str]:
    """Return the name and the sizes of a network, and a batch."""
    return [f"{network}: {'-'.join(map(str, report['networks'][network]['sizes']))}", f"{int(batch):,}"]


def accuracy_after(report: Any) -> str:
    """Return what the accuracies are."""
    return f"test accuracy after {report['epochs']} epochs, median of {report['seeds']} seeds (range)"


def spread(values: list[float], form: str) -> str:
    """Return the median and the range of some values."""
    low, median, high = (format(f(values), form) for f in (min, statistics.median, max))
    return f"{median} ({low} to {high})"


def parallel_large() -> str:
    """Return the training of two ranks on a mapped file."""
    report = read("parallel_large")
    mapped, memory = (f"{1e6 * statistics.median(report['seconds a sample'][k]):.3f}" for k in ("mapped", "in memory"))
    peaks = ", ".join(f"{peak / 2**20:.0f}" for peak in report["peaks"])
    size, samples = f"{report['bytes'] / 1e9:.2f}", f"{report['samples']:,}"
    head = ["mapped file, GB", "samples", "us a sample", "60,000 samples in memory, us a sample"]
    head += ["of the speed in memory", "limit of each rank, MB", "peak own memory of each rank, MB"]
    row = [size, samples, mapped, memory, f"{report['median ratio']:.2f}", f"{report['limit'] >> 20}", peaks]
    return f"{measured(report['machine'])} 784-10, batches of {report['batch']}.\n\n{markdown(head, [row])}"


TABLES: dict[str, Callable[[], str]] = {
    function.__name__: function
    for function in (
        *(machine, speed, versus, versus_again, reached, whole, step, scaling, small, checkouts, gpu),
        *(parallel, parallel_large),
    )
}

if __name__ == "__main__":
    sys.exit(main())
