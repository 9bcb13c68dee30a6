"""Compare the quadratic cost with cross-entropy, on one neuron and on MNIST.

On MNIST, both costs first have the same learning rate. Then each cost has its best learning rate, from the usual start
and from a saturated start.

    python examples/quadratic_vs_cross_entropy.py --plot costs.png

Each sentence that begins with "Found" is computed from the runs that the program has just made. No result is written in
this file.
"""

from __future__ import annotations

import argparse
import math
import os.path
import sys
import textwrap
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from mnist_softmax import check_files, count, load, run, save_figure

import numnet as nn

Array = npt.NDArray[Any]

STEPS = [0, 50, 100, 150, 200, 300]
NEURONS = [  # label, cost, learning rate, starting weight and bias
    ("quadratic", nn.Quadratic(), 0.15, 0.6, 0.9),
    ("quadratic", nn.Quadratic(), 0.15, 2.0, 2.0),
    ("cross-entropy", nn.CrossEntropy(), 0.15, 0.6, 0.9),
    ("cross-entropy", nn.CrossEntropy(), 0.15, 2.0, 2.0),
    ("cross-entropy", nn.CrossEntropy(), 0.005, 0.6, 0.9),
    ("cross-entropy", nn.CrossEntropy(), 0.005, 2.0, 2.0),
]
CLASSES = 10
EQUAL_LR = 0.5
LRS = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
SATURATED = 100  # times the usual starting weights: most first outputs are confident mistakes

Curves = dict[str, list[list[float]]]  # by label, the test accuracies after each epoch of each seed


class SoftmaxTwice(nn.Cost):
    """Cross-entropy from logits, given probabilities: E = -1/n sum t ln p with p = softmax(y), y = softmax(z).

    A network that ends in a softmax gets this cost if the cost applies a softmax, too. By the chain rule
    dE/dy = (p - t) / n and dE/dz_i = y_i (g_i - sum_j g_j y_j) with g = dE/dy. With a single softmax,
    dE/dz = (y - t) / n.
    """

    def value(self, y: Array, t: Array, out: Array | None = None) -> float:
        """Return E."""
        return float(nn.CrossEntropy().value(nn.Softmax().forward(y), t))

    def gradient(self, y: Array, t: Array, out: Array | None = None) -> Array:
        """Return dE/dy."""
        difference: Array = np.subtract(nn.Softmax().forward(y), t, out=out)
        difference /= len(y)
        return difference


COSTS = {"cross-entropy": nn.CrossEntropy(), "quadratic": nn.Quadratic()}
AT_EQUAL_LR = {  # label: cost, and the learning rate with the same effect as EQUAL_LR
    "cross-entropy": (nn.CrossEntropy(), EQUAL_LR),
    "quadratic, 1/2 sum over classes": (nn.Quadratic(), EQUAL_LR),
    # The mean over k classes of (y - t)^2 is 2/k times 1/2 their sum, and the gradients have the same ratio.
    "quadratic, mean over classes": (nn.Quadratic(), EQUAL_LR * 2 / CLASSES),
    "softmax taken twice": (SoftmaxTwice(), EQUAL_LR),
}


def main() -> int:
    """Run the experiments and return the exit status."""
    options = parse_arguments()
    warnings.simplefilter("ignore", nn.DataWarning)  # LRS has rates that are too large on purpose
    train, test = load(options)
    neurons = one_neuron()
    equal = at_equal_lr(train, test, options)
    usual = at_best_lr("(c) The usual start", train, test, options, 1.0)
    saturated = at_best_lr(f"(d) A saturated start, weights x {SATURATED}", train, test, options, SATURATED)
    if options.plot:
        print()
        for letter, figure in plot(neurons, equal, usual, saturated).items():
            save_figure(figure, options.plot[letter], dpi=200)
            print(f"figure of ({letter}) saved to {options.plot[letter]}")
    return 0


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--epochs", type=count, default=10, help="of each run (10)")
    parser.add_argument("--seeds", type=count, default=3, help="runs of each kind (3)")
    parser.add_argument(
        "--dataset",
        choices=["auto", "mnist", "fashion-mnist", "digits"],
        default="auto",
        help="auto: MNIST if it is here or can be downloaded, else the digits in the package (auto)",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="folder with MNIST's four .gz files")
    parser.add_argument("--device", choices=["cpu", "gpu", "auto"], default="cpu", help="where to train (cpu)")
    parser.add_argument("--plot", metavar="FILE", help="save four figures: costs.png gives costs-a.png to costs-d.png")
    options = parser.parse_args()
    if options.plot is not None:
        name, ending = os.path.splitext(options.plot)
        options.plot = {letter: f"{name}-{letter}{ending}" for letter in "abcd"}
        for file in options.plot.values():
            check_files(parser, file)
    return options


def one_neuron() -> list[list[float]]:
    """Print and return the outputs of one sigmoid neuron that learns to answer 0 to x = 1, for each of NEURONS."""
    print("(a) One sigmoid neuron, x = 1, t = 0: its output y after so many steps\n")
    print("cost              lr  first w, b" + "".join(f"{step:8}" for step in STEPS))
    curves = []
    for label, cost, lr, weight, bias in NEURONS:
        net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), dtype="float64")
        net.parameters = [weight, bias]
        trainer = nn.Trainer(net, cost, nn.SGD(lr))
        outputs = []
        for _ in range(STEPS[-1]):
            outputs.append(net([[1.0]]).item())
            trainer.step([[1.0]], [0.0])
        outputs.append(net([[1.0]]).item())
        curves.append(outputs)
        print(f"{label:14} {lr:5}    {weight}, {bias}" + "".join(f"{outputs[step]:8.4f}" for step in STEPS))
    slow, fast = curves[1], curves[5]
    say(
        "The quadratic cost's step in w is lr (y - t) y (1 - y): "
        f"{slow[0] ** 2 * (1 - slow[0]):.3f} lr at y = {slow[0]:.2f}, but {4 / 27:.3f} lr at y = 2/3. It is slowest",
        "where it is most wrong. Cross-entropy's is lr (y - t), largest there.",
        f"Found, from y = {slow[0]:.2f}: with the quadratic cost y falls {quickening(slow):.1f} times as much in steps",
        "150 to 200 as in steps 0 to 50; with cross-entropy, at a learning rate small enough to be seen,",
        f"{quickening(fast):.1f} times.",
    )
    return curves


def quickening(outputs: list[float]) -> float:
    """Return how many times as much y falls in steps 150 to 200 as in the first 50 steps."""
    return (outputs[150] - outputs[200]) / (outputs[0] - outputs[50])


def say(*sentences: str) -> None:
    """Print sentences as a paragraph, for a terminal of 80 columns."""
    print("\n" + textwrap.fill(" ".join(sentences), 80, break_on_hyphens=False))


def at_equal_lr(train: nn.datasets.Dataset, test: nn.datasets.Dataset, options: argparse.Namespace) -> Curves:
    """Run, print and return all of AT_EQUAL_LR."""
    say(f"(b) A softmax network on {train}, every cost at lr {EQUAL_LR}")
    curves = {label: runs(train, test, cost, lr, options) for label, (cost, lr) in AT_EQUAL_LR.items()}
    print_table(curves)
    say(
        f"The mean over {CLASSES} classes at lr {EQUAL_LR} is, step for step, 1/2 the sum at lr",
        f"{EQUAL_LR * 2 / CLASSES:g}: a smaller learning rate under another name.",
        versus(curves, "quadratic, mean over classes", "cross-entropy"),
        versus(curves, "quadratic, 1/2 sum over classes", "cross-entropy"),
    )
    ceiling = math.e / (math.e + CLASSES - 1)
    say(
        f"With the softmax taken twice no probability can pass e / (e + {CLASSES - 1}) = {ceiling:.3f}, so the cost",
        f"cannot fall below {-math.log(ceiling):.3f} however right the network is.",
        versus(curves, "softmax taken twice", "cross-entropy"),
    )
    return curves


def at_best_lr(
    title: str, train: nn.datasets.Dataset, test: nn.datasets.Dataset, options: argparse.Namespace, scale: float
) -> tuple[dict[str, list[float]], Curves]:
    """Find each cost's best of LRS on held-out images. Print and return all scores, and the curves at the best."""
    held_out = len(train) // 6
    part = nn.datasets.Dataset(train.images[:-held_out], train.labels[:-held_out])
    judge = nn.datasets.Dataset(train.images[-held_out:], train.labels[-held_out:])
    say(
        f"{title}, each cost at its best lr.",
        f"Accuracies on {held_out} images that are held out of the training set, one seed:",
    )
    print("\n   lr" + "".join(f"{label:>16}" for label in COSTS))
    scores: dict[str, list[float]] = {label: [] for label in COSTS}
    for lr in LRS:
        for label, cost in COSTS.items():
            scores[label].append(accuracies(part, judge, cost, lr, 0, options, scale)[-1])
        print(f"{lr:5}" + "".join(f"{values[-1]:16.4f}" for values in scores.values()))
    curves = {}
    for label, cost in COSTS.items():
        lr = LRS[int(np.argmax(scores[label]))]
        edge = {LRS[0]: " (smallest)", LRS[-1]: " (largest)"}.get(lr, "")
        curves[f"{label}, lr {lr}{edge}"] = runs(train, test, cost, lr, options, scale)
    print_table(curves)
    say(versus(curves, *reversed(curves)))
    return scores, curves


def runs(
    train: nn.datasets.Dataset,
    test: nn.datasets.Dataset,
    cost: nn.Cost,
    lr: float,
    options: argparse.Namespace,
    scale: float = 1.0,
) -> list[list[float]]:
    """Return the test accuracies of each seed."""
    return [accuracies(train, test, cost, lr, seed, options, scale) for seed in range(options.seeds)]


def accuracies(
    train: nn.datasets.Dataset,
    test: nn.datasets.Dataset,
    cost: nn.Cost,
    lr: float,
    seed: int,
    options: argparse.Namespace,
    scale: float,
) -> list[float]:
    """Train a softmax network from `scale` times the usual weights; return its test accuracies."""
    linear = nn.Linear(math.prod(train.images.shape[1:]), CLASSES)
    net = nn.Sequential(linear, nn.Softmax(), seed=seed, device=options.device)
    net.parameters *= scale
    trainer = nn.Trainer(net, cost, nn.SGD(lr), seed=seed)
    return trainer.fit(train, options.epochs, batch_size=64, test=test, progress=False).test_accuracy


def print_table(curves: Curves) -> None:
    """Print the test accuracies after the first and the last epoch, mean and range over seeds."""
    print(f"\n{'test accuracy, mean (range)':33}{'after epoch 1':>22}  {'after the last epoch':>22}")
    for label, runs in curves.items():
        first, last = (summary([run[epoch] for run in runs]) for epoch in (0, -1))
        print(f"{label:33} {first}  {last}")


def summary(values: list[float]) -> str:
    """Return the mean and the range of some accuracies."""
    return f"{np.mean(values):.4f} ({min(values):.4f}-{max(values):.4f})"


def versus(curves: Curves, one: str, other: str) -> str:
    """Return a sentence that compares two curves after the first and the last epoch."""
    first, last = (difference([run[i] for run in curves[one]], [run[i] for run in curves[other]]) for i in (0, -1))
    return f"Found, {one} against {other}: {first} after the first epoch, {last} after the last."


def difference(a: list[float], b: list[float]) -> str:
    """Return how far the mean of some accuracies is from the mean of others, and whether their ranges overlap."""
    points = 100 * (np.mean(a) - np.mean(b))
    overlap = max(a) >= min(b) and max(b) >= min(a)
    return f"{abs(points):.2f} points {'above' if points > 0 else 'below'}{' (ranges overlap)' if overlap else ''}"


# Colours that colour-blind readers tell apart, by M. Okabe and K. Ito: https://jfly.uni-koeln.de/color/
COLORS = {"cross-entropy": "#0072B2", "quadratic": "#D55E00", "softmax": "#009E73"}


def plot(
    neurons: list[list[float]],
    equal: Curves,
    usual: tuple[dict[str, list[float]], Curves],
    saturated: tuple[dict[str, list[float]], Curves],
) -> dict[str, Any]:
    """Return a figure for each part, as wide as a page: 10-point letters are to be read there, too."""
    import matplotlib.pyplot as plt

    def panels(rows: int, height: float) -> Any:
        figure, axes = plt.subplots(rows, figsize=(7.36, height), layout="constrained", squeeze=False)
        for ax in axes[:, 0]:
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(axis="y", color="0.9")
        return figure, axes[:, 0]

    figures = {}
    figures["a"], (ax,) = panels(1, 5.2)
    for (label, _, lr, _, _), outputs in zip(NEURONS, neurons, strict=True):
        style = "-" if outputs[0] < 0.9 else "--"
        name = f"{label}, lr {lr}, from y = {outputs[0]:.2f}"
        ax.plot(outputs, style, color=COLORS[label], lw=2 if lr > 0.01 else 1, label=name)
    ax.set(xlabel="step", ylabel="output y for target 0", ylim=(0, 1))
    legend_below(figures["a"], ax)
    figures["b"], (ax,) = panels(1, 5.2)
    draw_curves(ax, equal, f"All at lr {EQUAL_LR}")
    legend_below(figures["b"], ax)
    for letter, (scores, curves) in ("c", usual), ("d", saturated):
        figures[letter], (above, below) = panels(2, 8.0)
        draw_scores(above, scores, "Which learning rate suits which cost (the best is ringed)")
        above.legend(loc="lower center")
        draw_curves(below, curves, "Each cost at its best learning rate")
        legend_below(figures[letter], below)
    return figures


def legend_below(figure: Any, ax: Any) -> None:
    """Put the legend of Axes below the figure, where no curve is."""
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)


def draw_scores(ax: Any, scores: dict[str, list[float]], title: str) -> None:
    """Draw the accuracy on held-out images by learning rate, the best ringed."""
    for (label, values), marker in zip(scores.items(), "os", strict=True):
        ax.plot(LRS, values, f"{marker}-", color=COLORS[label], label=label)
        ax.plot(LRS[int(np.argmax(values))], max(values), "o", ms=14, mfc="none", color=COLORS[label])
    ax.set(xscale="log", xlabel="learning rate", ylabel="accuracy on held-out images")
    ax.set_title(title, loc="left")
    ax.set_xticks(LRS, [f"{lr:g}" for lr in LRS])
    ax.minorticks_off()


def draw_curves(ax: Any, curves: Curves, title: str) -> None:
    """Draw each curve's mean over seeds as a line, and their range as a band."""
    for (label, runs), marker in zip(curves.items(), "osv^", strict=False):
        color = COLORS[label.partition(",")[0].partition(" ")[0]]
        epochs = range(1, len(runs[0]) + 1)
        style = "--" if "mean" in label else "-"
        ax.plot(epochs, np.mean(runs, axis=0), marker + style, color=color, label=label)
        ax.fill_between(epochs, np.min(runs, axis=0), np.max(runs, axis=0), color=color, alpha=0.2, lw=0)
    ax.fill_between([], [], [], color="0.5", alpha=0.3, lw=0, label=f"band: lowest to highest of {len(runs)} seeds")
    ax.set(xlabel="epoch", ylabel="test accuracy")
    ax.set_title(title, loc="left")


if __name__ == "__main__":
    sys.exit(run(main))
