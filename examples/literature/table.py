"""What the scripts in this folder share: their options, their data, and a table of published and own numbers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import numnet as nn

sys.path.append(str(Path(__file__).parents[1]))
from mnist_softmax import count, run


class Result(NamedTuple):
    """A line of the table."""

    what: str
    published: str  # as it was printed; empty if nothing was
    found: list[float]  # a number for each seed
    seconds: float  # of the processor, for each seed; 0 if an earlier line has them
    form: str = ".4f"


def main(doc: str | None, seeds: int, results: Callable[[argparse.Namespace], Iterator[Result]]) -> int:
    """Print the results that a script finds, and return the exit status."""
    return run(lambda: show(doc, seeds, results))


def show(doc: str | None, seeds: int, results: Callable[[argparse.Namespace], Iterator[Result]]) -> int:
    """Print the results that a script finds: what each is on a line, and its numbers below."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--seeds", type=count, default=seeds, help=f"runs of each kind ({seeds})")
    parser.add_argument("--quick", action="store_true", help="see that it runs, in seconds: the numbers mean nothing")
    parser.add_argument("--data-dir", metavar="DIR", help="folder with MNIST's four .gz files")
    options = parser.parse_args()
    if options.quick:
        print("--quick: the training is too short, so numnet's numbers mean nothing")
    print(f"{'published':>25}{'numnet (lowest to highest)':>30}{'seeds':>7}{'CPU s':>8}", flush=True)
    for result in results(options):
        seconds = f"{result.seconds:8.1f}" if result.seconds else ""
        print(f"{result.what}\n{result.published:>25}{summary(result):>30}{len(result.found):7}{seconds}", flush=True)
    return 0


def summary(result: Result) -> str:
    """Return the mean of what was found, with the range; or the number itself if there is only one."""
    found, form = result.found, result.form
    if len(set(found)) == 1:
        return f"{found[0]:{form}}"
    return f"{np.mean(found):{form}} ({min(found):{form}} to {max(found):{form}})"


def load(options: argparse.Namespace) -> tuple[nn.datasets.Dataset, nn.datasets.Dataset]:
    """Return MNIST's training and test set; the small digits in the package for a quick run."""
    return nn.datasets.digits() if options.quick else nn.datasets.mnist(options.data_dir or None)
