"""Train a softmax network on MNIST: from the IDX files to 92 % in about two seconds.

python examples/mnist_softmax.py
python examples/mnist_softmax.py --hidden 128 --epochs 20 --plot report.png
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import zip_longest
from typing import IO, Any

import numpy as np
from tqdm import tqdm

import numnet as nn
from numnet.atomic import Kind, atomic, writable
from numnet.export import PAGE
from numnet.npz import NETWORK

COSTS = {"cross-entropy": nn.CrossEntropy, "quadratic": nn.Quadratic}
AUTO_TIMEOUT = 2.5  # seconds for each of MNIST's three mirrors, so that `auto` decides within ten seconds


def main() -> int:
    """Run the example and return its exit status."""
    started = time.perf_counter()
    options = parse_arguments()
    train, test = load(options)
    net = make_network(math.prod(train.images.shape[1:]), options.hidden, 10, options.seed, options.device)
    trainer = nn.Trainer(net, COSTS[options.cost](), nn.SGD(lr=options.lr), seed=options.seed)
    describe(train, test, net, options.batch_size)
    status = 0
    try:
        trainer.fit(train, options.epochs, options.batch_size, test, callbacks=[print_epoch])
    except KeyboardInterrupt:
        print(f"interrupted in epoch {len(trainer.history) + 1}")
        status = 130
    if len(trainer.history):
        show_worst(net, test)
    try:
        save(trainer, test, options)
    finally:
        result = f"test accuracy {trainer.history[-1].test_accuracy:.4f}" if len(trainer.history) else "no result"
        result = f"{result} after {len(trainer.history)} epochs, {time.perf_counter() - started:.1f} s in all"
        with suppress(BrokenPipeError):  # or an error of `save` would be lost
            print(styled(result, BOLD))
    return status


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--epochs", type=count, default=10, help="times through the training images (10)")
    parser.add_argument("--batch-size", type=count, default=64, help="images for each step (64)")
    parser.add_argument("--lr", type=float, default=0.5, help="learning rate (0.5)")
    parser.add_argument("--cost", choices=COSTS, default="cross-entropy", help="cost to minimise (cross-entropy)")
    parser.add_argument("--hidden", type=sizes, default=[], metavar="N,N", help="sizes of sigmoid hidden layers (none)")
    parser.add_argument(
        "--dataset",
        choices=["auto", "mnist", "fashion-mnist", "digits"],
        default="auto",
        help="auto: MNIST if it is here or can be downloaded, else the digits in the package (auto)",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="folder with MNIST's four .gz files")
    parser.add_argument("--seed", type=int, default=0, help="of the starting weights and the shuffling (0)")
    parser.add_argument("--device", choices=["cpu", "gpu", "auto"], default="cpu", help="where to train (cpu)")
    parser.add_argument("--plot", metavar="FILE", help="save a figure of the run, as .png, .pdf or .svg")
    parser.add_argument("--save", metavar="FILE", help="save the network, for numnet.load")
    parser.add_argument("--export-html", metavar="FILE", help="save a page to draw digits on")
    options = parser.parse_args()
    check_files(parser, options.plot, options.save, options.export_html)
    return options


def check_files(
    parser: argparse.ArgumentParser, plot: str | None, save: str | None = None, html: str | None = None
) -> None:
    """Refuse files that could not be written at the end, before any work is done."""
    named = [(file, kind) for file, kind in ((plot, FIGURE), (save, NETWORK), (html, PAGE)) if file is not None]
    try:
        files = [writable(file, kind) for file, kind in named]
    except OSError as error:
        parser.error(str(error).partition(", or give")[0])  # there is no option to overwrite other files
    if len(set(files)) < len(files):
        parser.error(f"several options name the file {files[0]}")
    if plot is not None and not plot.endswith((".png", ".pdf", ".svg")):
        parser.error(f"--plot needs a name that ends in .png, .pdf or .svg, got {plot!r}")


def count(text: str) -> int:
    """Return a number from 1 to a billion."""
    if not text.isdecimal() or not 1 <= int(text) <= 10**9:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {10**9}, got {text!r}")
    return int(text)


def sizes(text: str) -> list[int]:
    """Return the sizes in a text such as 128,64."""
    return [count(size) for size in text.split(",")]


def load(options: argparse.Namespace) -> tuple[nn.datasets.Dataset, nn.datasets.Dataset]:
    """Return the training and the test set."""
    if options.dataset == "digits":
        return nn.datasets.digits()
    if options.dataset == "fashion-mnist":
        return nn.datasets.fashion_mnist(options.data_dir or None)
    if options.dataset == "mnist" or options.data_dir:  # a user who names a folder wants its files
        return nn.datasets.mnist(options.data_dir or None)
    try:
        return nn.datasets.mnist(timeout=AUTO_TIMEOUT)
    except nn.datasets.DownloadError as error:
        print(f"notice: training on the 1,797 digits in the package instead of MNIST.\n{error}", file=sys.stderr)
        return nn.datasets.digits()


def make_network(inputs: int, hidden: list[int], outputs: int, seed: int, device: str) -> nn.Sequential:
    """Return a network with sigmoid hidden layers and a softmax output."""
    layers: list[nn.Layer] = []
    for size in hidden:
        layers += [nn.Linear(inputs, size), nn.Sigmoid()]
        inputs = size
    return nn.Sequential(*layers, nn.Linear(inputs, outputs), nn.Softmax(), seed=seed, device=device)


def describe(train: nn.datasets.Dataset, test: nn.datasets.Dataset, net: nn.Sequential, batch_size: int) -> None:
    """Print the data, the first batch and the network before training."""
    print(f"training set: {train}")
    print(f"test set:     {test}")
    x, t = train.images[:batch_size], train.labels[:batch_size]
    print(f"first batch:  images {x.shape} {x.dtype}, as inputs {x.reshape(len(x), -1).shape}")
    print(f"              labels {t.shape}: {t[:10]} ...")
    print(f"batches:      {math.ceil(len(train) / batch_size)} an epoch")
    print(f"{net}\n")


def print_epoch(trainer: nn.Trainer) -> None:
    """Print a line for the epoch that has just ended, with a bar for the images that are still wrong."""
    wrong = [1 - e.test_accuracy for e in trainer.history]
    full, before = scale(wrong), scale(wrong[:-1])
    # print would write into the progress bar. A Ctrl-C while tqdm takes its lock would be a RuntimeError.
    if full != before:  # at first, and if the bar of this epoch would be too long
        names = f"{'accuracy':>27}{'test images wrong':>33}"
        columns = f"epoch     cost  training    test  seconds         {axis(full, 28)}"
        tqdm.write(f"{styled(names, BOLD)}\n{styled(columns, BOLD)}", nolock=True)
    e = trainer.history[-1]
    line = f"{e.epoch:5}  {e.train_cost:7.4f}  {e.train_accuracy:8.4f}  {e.test_accuracy:6.4f}  {e.seconds:7.3f}"
    tqdm.write(f"{line}  {wrong[-1]:7.2%} {styled(bar(wrong[-1] / full, 28), ORANGE)}", nolock=True)
    sys.stdout.flush()


def scale(shares: list[float]) -> float:
    """Return the share that fills a bar, such that the bars of all these shares fit; 0 if there are none."""
    return next(full for full in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1) if max(shares) <= full) if shares else 0


def axis(full: float, width: int) -> str:
    """Return what stands above bars of a width, and begins a character before the bars: 0, the half and the whole."""
    half = f"{100 * full / 2:g}%|"
    return f"|{'0%':{width // 2 - len(half)}}{half}{f'{100 * full:g}%|':>{width - width // 2}}"


def show_worst(net: nn.Sequential, test: nn.datasets.Dataset) -> None:
    """Print the most confident mistake: the test image, and beside it the probability of each class."""
    y = net(test.images)
    wrong = y.argmax(axis=1) != test.labels
    if not wrong.any():
        print("\nno test image is wrong\n")
        return
    worst = int(np.argmax(np.where(wrong, y.max(axis=1), -1)))
    label, predicted = test.labels[worst], y[worst].argmax()
    names = test.classes or [f"a {digit}" for digit in range(10)]
    print("\n" + styled(f"The most confident mistake: {names[label]}, taken for {names[predicted]}", BOLD) + "\n")
    names = test.classes or list("0123456789")
    longest = max(map(len, names))
    beside = [f"{'':{longest + 8}}{axis(1, 24)}"]
    for i, p in enumerate(y[worst].tolist()):
        style = ORANGE if i == predicted else BLUE if i == label else ""
        beside.append(styled(f"{names[i]:{longest}}  {p:6.1%} {bar(p, 24)}".rstrip(), style))
    rows = picture(test.images[worst])
    width = len(rows[0])
    inked = [i for i, row in enumerate(rows) if row.strip()] or [0]
    rows = rows[inked[0] : inked[-1] + 1]
    above = (len(rows) - len(beside)) // 2
    for row, text in zip_longest([""] * -above + rows, [""] * above + beside, fillvalue=""):
        print(f"  {row:{width}}  {text}".rstrip())
    print()


def picture(image: np.ndarray) -> list[str]:
    """Return an image in characters, which are about twice as high as wide."""
    if len(image) > 16:
        image = image[: len(image) // 2 * 2].reshape(-1, 2, image.shape[1]).mean(axis=1)
    else:
        image = image.repeat(2, axis=1)
    levels = shades()
    return ["".join(levels[round(v / 255 * (len(levels) - 1))] for v in row.tolist()) for row in image]


def bar(share: float, width: int) -> str:
    """Return a bar for a share of a width in characters, to an eighth of a character if the output can show that."""
    eighths = round(8 * width * share)
    part = " ▏▎▍▌▋▊▉"[eighths % 8] if shades()[-1] == "█" else ""
    return f"{shades()[-1] * (eighths // 8)}{part}".rstrip()


def shades() -> str:
    """Return characters from light to dark, of those that the output can show."""
    return " ░▒▓█" if (sys.stdout.encoding or "").lower().startswith("utf") else " .:*#"


BOLD, ORANGE, BLUE = "1", "38;5;208", "38;5;39"  # by ECMA-48; the two colours are from the palette of 256 colours


def styled(text: str, style: str) -> str:
    """Return text in a style on a terminal, unless NO_COLOR is set (https://no-color.org); otherwise the plain text."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not style else f"\x1b[{style}m{text}\x1b[0m"


def save(trainer: nn.Trainer, test: nn.datasets.Dataset, options: argparse.Namespace) -> None:
    """Save the files that the options name."""
    if options.save:
        trainer.net.save(options.save)
        print(f"network saved to {options.save}")
    if options.export_html:
        nn.export_html(trainer.net, options.export_html)
        print(f"page to draw on saved to {options.export_html}")
    if options.plot and len(trainer.history):
        save_figure(nn.plotting.report(trainer.net, trainer.history, test), options.plot)
        print(f"figure saved to {options.plot}")


def save_figure(figure: Any, path: str, **options: Any) -> None:
    """Save a figure as numnet saves networks: whole or not at all, and not in the place of what is no figure."""
    with atomic(path, FIGURE) as file:
        figure.savefig(file, format=path[-3:], **options)


def is_figure(file: IO[bytes]) -> bool:
    """Return whether Matplotlib has written a file."""
    return file.read(5) in (b"\x89PNG\r", b"%PDF-", b"<?xml") and b"Matplotlib v" in file.read()


FIGURE = Kind("figure of Matplotlib", is_figure)


def run(program: Callable[[], int]) -> int:
    """Run a program and return its exit status. What goes wrong is one message on standard error.

    If nobody reads on, as with ``| head -1``, the program ends without a message. Its status is then that of a program
    which the signal SIGPIPE has ended.
    """
    sys.stdout = sys.stdout or io.StringIO()  # Python has None if a stream is closed
    sys.stderr = sys.stderr or io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # of names that the output cannot show
    try:
        try:
            status = program()
        except SystemExit:  # argparse has printed a help, say
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # a pipe that nobody reads, or a full disk, may be noticed only now
        return status
    except KeyboardInterrupt:
        message, status = "interrupted\n", 130
    except (ValueError, OSError, MemoryError, ImportError) as error:
        message, status = f"error: {str(error) or 'not enough memory'}\n", 1
        if isinstance(error, BrokenPipeError) and nobody_reads():
            message, status = "", 128 + 13  # 13 is SIGPIPE
    unwritable = [sys.stdout]
    try:
        sys.stderr.write(message)
    except BrokenPipeError:
        unwritable.append(sys.stderr)
    for stream in unwritable:
        with suppress(OSError):
            stream.close()  # otherwise Python would try to write the rest at its end, and complain
    return status


def nobody_reads() -> bool:
    """Return whether standard output is a pipe that nobody reads. If it is not, this prints an empty line."""
    try:
        print(flush=True)
    except BrokenPipeError:
        return True
    return False


if __name__ == "__main__":
    sys.exit(run(main))
