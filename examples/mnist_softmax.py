"""Train a softmax network on MNIST: from the IDX files to 92 % in about two seconds.

python examples/mnist_softmax.py
python examples/mnist_softmax.py --hidden 128 --epochs 20 --plot report.png
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path

import numnet as nn

COSTS = {"cross-entropy": nn.CrossEntropy, "quadratic": nn.Quadratic}
AUTO_TIMEOUT = 2.5  # seconds for each of MNIST's three mirrors, so that `auto` has decided within ten


def main() -> int:
    """Run the example and return its exit status."""
    started = time.perf_counter()
    options = parse_arguments()
    try:
        train, test = load(options)
        net = make_network(math.prod(train.images.shape[1:]), options.hidden, 10, options.seed, options.device)
        trainer = nn.Trainer(net, COSTS[options.cost](), nn.SGD(lr=options.lr), seed=options.seed)
        describe(train, test, net, options.batch_size)
        status = 0
        try:
            trainer.fit(train, options.epochs, options.batch_size, test, callbacks=[print_epoch], progress=False)
        except KeyboardInterrupt:
            print(f"interrupted in epoch {len(trainer.history) + 1}")
            status = 130
        try:
            save(trainer, test, options)
        finally:
            result = f"test accuracy {trainer.history[-1].test_accuracy:.4f}" if len(trainer.history) else "no result"
            print(f"{result} after {len(trainer.history)} epochs, {time.perf_counter() - started:.1f} s in all")
        return status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


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
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder with MNIST's four .gz files")
    parser.add_argument("--seed", type=int, default=0, help="of the starting weights and the shuffling (0)")
    parser.add_argument("--device", choices=nn.backend.DEVICES, default="cpu", help="where to train (cpu)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="save a figure of the run, as .png, .pdf or .svg")
    parser.add_argument("--save", type=Path, metavar="FILE", help="save the network, for numnet.load")
    options = parser.parse_args()
    check_files(parser, options.plot, options.save)
    return options


def check_files(parser: argparse.ArgumentParser, plot: Path | None, save: Path | None = None) -> None:
    """Refuse, before any work is done, files that could not be written after it."""
    for file in filter(None, (plot, save)):
        writable = os.access(file if file.exists() else file.parent, os.W_OK)
        if not writable or (file.exists() and not file.is_file()):
            parser.error(f"{file} cannot be written: check its folder and its name")
    if plot is not None and plot == save:
        parser.error(f"--plot and --save both name {plot}")
    if plot is not None and plot.suffix not in (".png", ".pdf", ".svg"):
        parser.error(f"--plot needs a name that ends in .png, .pdf or .svg, got {plot}")


def count(text: str) -> int:
    """Return a number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def sizes(text: str) -> list[int]:
    """Return the sizes in a text such as 128,64."""
    try:
        return [int(size) for size in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"sizes must look like 128 or 128,64, got {text!r}") from None


def load(options: argparse.Namespace) -> tuple[nn.datasets.Dataset, nn.datasets.Dataset]:
    """Return the training and the test set."""
    if options.dataset == "digits":
        return nn.datasets.digits()
    if options.dataset == "fashion-mnist":
        return nn.datasets.fashion_mnist(options.data_dir)
    if options.dataset == "mnist":
        return nn.datasets.mnist(options.data_dir)
    try:
        return nn.datasets.mnist(options.data_dir, timeout=AUTO_TIMEOUT)
    except nn.datasets.DownloadError as error:
        print(f"notice: training on the 1,797 digits in the package instead of MNIST. {error}", file=sys.stderr)
        return nn.datasets.digits()


def make_network(inputs: int, hidden: list[int], outputs: int, seed: int, device: str) -> nn.Sequential:
    """Return a network with sigmoid hidden layers and a softmax output."""
    layers: list[nn.Layer] = []
    for size in hidden:
        layers += [nn.Linear(inputs, size), nn.Sigmoid()]
        inputs = size
    return nn.Sequential(*layers, nn.Linear(inputs, outputs), nn.Softmax(), seed=seed, device=device)


def describe(train: nn.datasets.Dataset, test: nn.datasets.Dataset, net: nn.Sequential, batch_size: int) -> None:
    """Print what goes in: the data, the first batch, the network."""
    print(f"training set: {train}")
    print(f"test set:     {test}")
    x, t = train.images[:batch_size], train.labels[:batch_size]
    print(f"first batch:  images {x.shape} {x.dtype}, as inputs {net.check_inputs(x).shape}")
    print(f"              labels {t.shape}: {t[:10]} ...")
    print(f"batches:      {math.ceil(len(train) / batch_size)} an epoch")
    print(net)
    print("epoch       cost   training accuracy   test accuracy   seconds")


def print_epoch(trainer: nn.Trainer) -> None:
    """Print a line for the epoch that has just ended."""
    e = trainer.history[-1]
    print(
        f"{e.epoch:5}   {e.train_cost:8.4f}   {e.train_accuracy:17.4f}   {e.test_accuracy:13.4f}   {e.seconds:7.2f}",
        flush=True,
    )


def save(trainer: nn.Trainer, test: nn.datasets.Dataset, options: argparse.Namespace) -> None:
    """Save what was asked for."""
    if options.save:
        trainer.net.save(options.save)
        print(f"network saved to {options.save}")
    if options.plot and len(trainer.history):
        nn.plotting.report(trainer.net, trainer.history, test).savefig(options.plot)
        print(f"figure saved to {options.plot}")


if __name__ == "__main__":
    sys.exit(main())
