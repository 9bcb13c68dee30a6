"""Pictures of a training run: how it went, what the network learned, and where it is still wrong.

Each function draws into the Axes that it is given, or else into a new figure, and returns the Axes; `report` puts them
all on one page.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import backend
from .backend import Array
from .costs import check_labels
from .layers import Linear
from .network import Sequential
from .training import History

if TYPE_CHECKING:
    from .samples import Data

# Colours that colour-blind readers tell apart, by M. Okabe and K. Ito: https://jfly.uni-koeln.de/color/
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_CURVES = {
    "test_accuracy": ("test accuracy", _COLORS[0], "o-"),
    "train_accuracy": ("training accuracy", _COLORS[1], "s--"),
    "train_cost": ("training cost", "0.45", ".:"),
}
_COLUMNS = 10  # of small pictures
_STEPS = (1, 2, 5, 10)  # between ticks, times a power of ten


def learning_curves(history: History | Mapping[str, History], ax: Axes | None = None) -> Axes:
    """Plot accuracy and cost by epoch, or compare several runs.

    Parameters
    ----------
    history : History or mapping of str to History
        Of one run: test accuracy (solid), training accuracy (dashed), and training cost (dotted) with its scale at the
        right. Of several, by label: the test accuracy of each. What was not recorded is left out: without test accuracy
        runs are compared by training accuracy, and without that by training cost.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a history has no epochs, or the runs to compare have nothing recorded in common.

    Notes
    -----
    Training accuracy and cost are means over an epoch, during which the network improves; test accuracy is taken after
    it. So early on, the test accuracy may well be the higher one.

    Examples
    --------
    >>> import numnet as nn
    >>> train, test = nn.datasets.digits()
    >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    >>> trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
    >>> history = trainer.fit(train, epochs=3, batch_size=64, test=test)
    >>> ax = nn.plotting.learning_curves(history)
    >>> [line.get_label() for line in ax.lines]
    ['test accuracy', 'training accuracy']
    """
    single = isinstance(history, History)
    runs: Mapping[str, History] = {"": history} if isinstance(history, History) else history
    if not isinstance(runs, Mapping) or not all(isinstance(run, History) for run in runs.values()):
        raise ValueError(f"history must be a History, or a dict from labels to Histories, got {history!r}")
    columns = [name for name in _CURVES if all(np.isfinite(getattr(run, name)).any() for run in runs.values())]
    if not runs or not columns:
        epochs = ", ".join(f"{label} {len(run)}".strip() for label, run in runs.items())
        raise ValueError(
            "each history must have at least one epoch, and one column that all of them recorded, "
            f"got epochs: {epochs or 'no history'}. Train with trainer.fit first"
        )
    main = columns[0]
    if single:
        curves = [(runs[""], name, *_CURVES[name]) for name in columns]
    else:
        looks = zip(runs.items(), itertools.cycle(_COLORS), itertools.cycle("os^Dv<>P"), strict=False)
        curves = [(run, main, label, color, f"{marker}-") for (label, run), color, marker in looks]
    ax = scale = _axes(ax, 6.4, 4.0)
    lines = []
    for run, name, label, color, style in curves:
        if name == "train_cost" != main:
            scale = ax.twinx()
            scale.spines[:].set_visible(False)
            scale.tick_params(colors=color)
            scale.set_ylabel(label, color=color)
        every = max(1, len(run) // 20)
        lines += scale.plot(run.epoch, getattr(run, name), style, color=color, label=label, ms=5, markevery=every)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="0.9")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=_STEPS))
    if main != "train_cost":
        ax.yaxis.set_major_formatter(_percent)
    ax.set_xlabel("epoch")
    ax.set_ylabel(_CURVES[main][0].split()[-1] if single else _CURVES[main][0])
    scale.legend(handles=lines, loc="best" if scale is ax else "center right")
    return _titled(ax, "Learning curves")


def weight_images(net: Sequential, layer: int = 0, count: int = 100, ax: Axes | None = None) -> Axes:
    """Show the weights of each unit of a Linear layer as a picture: red where input counts for the unit, blue against.

    Parameters
    ----------
    net : Sequential
    layer : int, default 0
        The layer's number.
    count : int, default 100
        The most units to show: the first ones.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Its `images` are the pictures, on one scale symmetric about 0. The scale ends at the 99th percentile of the
        weights' sizes, so that a few large ones do not make all others pale.

    Raises
    ------
    ValueError
        If the layer is not Linear, its inputs are not the pixels of a square, or count is less than 1.

    Examples
    --------
    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    >>> ax = nn.plotting.weight_images(net)
    >>> len(ax.images), ax.images[0].get_array().shape
    (10, (8, 8))
    """
    linear = [i for i, candidate in enumerate(net.layers) if isinstance(candidate, Linear)]
    if layer not in linear:
        raise ValueError(f"layer must be the number of a Linear layer of the network, one of {linear}, got {layer!r}")
    weight = backend.to(net.layers[layer].parameters["weight"], "cpu")
    units = weight.shape[1]
    pictures = _squares(weight.T, f"the inputs of layer {layer}")[: _at_least_one(count)]
    limit = float(np.percentile(np.abs(pictures), 99)) or 1.0
    ax = _tiles(pictures, [str(i) for i in range(len(pictures))], ax, cmap="RdBu_r", vmin=-limit, vmax=limit)
    width, height = np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())
    bar = ax.inset_axes((1 + 0.1 / width, 0, 0.1 / width, 1 / height))  # beside the last picture, as high
    ax.figure.colorbar(ax.images[0], cax=bar, extend="both", label="weight")
    shown = "" if len(pictures) == units else f"the first {len(pictures)} of "
    return _titled(ax, f"Weights of {shown}{units} units")


def confusion_matrix(net: Sequential, data: Data, ax: Axes | None = None) -> Axes:
    """Show how often each class was taken for each other.

    Parameters
    ----------
    net : Sequential
    data : Dataset or (images, labels)
        Labels are class indices.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Rows are the true classes, columns the predicted ones. The numbers are counts, with 0 left out; the shade is the
        share of the row. The diagonal, which is right, stays grey, so that the mistakes stand out.

    Raises
    ------
    ValueError
        If the data is not what the network takes, or a label is not the number of one of its outputs.

    Examples
    --------
    >>> import numnet as nn
    >>> train, test = nn.datasets.digits()
    >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    >>> trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
    >>> _ = trainer.fit(train, epochs=3, batch_size=64)
    >>> ax = nn.plotting.confusion_matrix(net, test)
    >>> sum(int(text.get_text()) for text in ax.texts) == len(test)
    True
    """
    _, labels, y = _answers(net, data)
    return _confusion_matrix(labels, y, ax)


def mistakes(net: Sequential, data: Data, count: int = 10, ax: Axes | None = None) -> Axes:
    """Show the images of which the network is most certain and wrong.

    Parameters
    ----------
    net : Sequential
    data : Dataset or (images, labels)
        Square images, flattened or not; labels are class indices.
    count : int, default 10
        The most images to show.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Its `images` are the pictures and its `texts` say true class, predicted class and that one's output, the largest
        first; as a percentage where outputs are probabilities.

    Raises
    ------
    ValueError
        As for `confusion_matrix`, and if the images are not square or count is less than 1.

    Examples
    --------
    >>> import numnet as nn
    >>> train, test = nn.datasets.digits()
    >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    >>> trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
    >>> _ = trainer.fit(train, epochs=3, batch_size=64)
    >>> ax = nn.plotting.mistakes(net, test, count=3)
    >>> len(ax.images)
    3
    """
    return _mistakes(net, *_answers(net, data), count, ax)


def report(net: Sequential, history: History, test: Data, title: str | None = None) -> Figure:
    """Put learning curves, confusion matrix, weight images and worst mistakes on one page, 1600 x 900 pixels.

    Parameters
    ----------
    net : Sequential
        Its first layer is Linear.
    history : History
        Of its training.
    test : Dataset or (images, labels)
        Square images that it was not trained on.
    title : str, optional
        By default the sizes of the network's layers, the epochs and the accuracy on `test`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If one of the four functions would raise it.

    Examples
    --------
    >>> import numnet as nn
    >>> train, test = nn.datasets.digits()
    >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    >>> trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
    >>> history = trainer.fit(train, epochs=3, batch_size=64, test=test)
    >>> figure = nn.plotting.report(net, history, test)
    >>> figure.savefig("report.png")  # doctest: +SKIP
    """
    images, labels, y = _answers(net, test)
    figure = plt.figure(figsize=(12.8, 7.2), dpi=125)
    # The size is fixed, so the places can be: to work them out takes matplotlib as long as to draw all the rest.
    places = [
        (0.07, 0.5, 0.385, 0.415),
        (0.545, 0.5, 0.38, 0.415),
        (0.07, 0.24, 0.855, 0.16),
        (0.07, 0.01, 0.855, 0.187),
    ]
    curves, matrix, weights, worst = (figure.add_axes(place) for place in places)
    learning_curves(history, curves)
    _confusion_matrix(labels, y, matrix)
    weight_images(net, count=_COLUMNS, ax=weights)
    _mistakes(net, images, labels, y, _COLUMNS, worst)
    if title is None:
        sizes = [net.inputs, *(layer.outputs for layer in net.layers if layer.outputs)]
        accuracy = _percent(np.mean(y.argmax(axis=1) == labels).round(4))
        title = f"{' → '.join(map(str, sizes))}, {len(history)} epochs: test accuracy {accuracy}"
    figure.suptitle(title, fontsize="x-large")
    return figure


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the Axes given, or those of a new figure of a size in inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def _titled(ax: Axes, title: str) -> Axes:
    """Return the Axes with a title; at a fixed height, since to look for one takes matplotlib long."""
    ax.set_title(title, loc="left", y=1)
    return ax


def _percent(share: float, position: object = None) -> str:
    """Return a share as a percentage, also as the label of a tick."""
    return f"{100 * share:g} %"


def _answers(net: Sequential, data: Any) -> tuple[Array, npt.NDArray[np.intp], Array]:
    """Return the images, their labels, and an output for each class."""
    pair = (data.images, data.labels) if hasattr(data, "images") else data
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(f"data must be a Dataset or a pair of arrays (images, labels), got {type(data).__name__}")
    images, labels = backend.to(pair[0], "cpu"), backend.to(pair[1], "cpu")
    y = net(images)
    if y.shape[1] == 1:  # one output stands for class 1 against class 0
        y = np.hstack([1 - y, y])
    if labels.shape != (len(y),) or len(y) == 0:
        raise ValueError(f"data must have one label for each image, got {len(y)} images and labels {labels.shape}")
    return images, check_labels(labels, y.shape[1]).astype(np.intp), y


def _confusion_matrix(labels: npt.NDArray[np.intp], y: Array, ax: Axes | None) -> Axes:
    """Draw how often each class was taken for each other."""
    classes = y.shape[1]
    counts = np.bincount(labels * classes + y.argmax(axis=1), minlength=classes**2).reshape(classes, classes)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(share, 0)
    most = share.max() or 1.0
    ax = _axes(ax, 5.8, 5.0)
    shades = np.ma.masked_array(share, np.eye(classes, dtype=bool))
    image = ax.imshow(shades, cmap="Oranges", vmin=0, vmax=most, aspect="auto")
    ax.set_facecolor("0.94")
    size = min(9, 120 / classes)
    for i, j in np.argwhere(counts):
        color = "0.45" if i == j else "white" if share[i, j] > 0.6 * most else "black"
        ax.text(j, i, str(counts[i, j]), ha="center", va="center", color=color, fontsize=size, in_layout=False)
    ax.set_xticks(range(0, classes, math.ceil(classes / 20)))
    ax.set_yticks(ax.get_xticks())
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    bar = ax.inset_axes((1.02, 0, 0.02, 1))
    ax.figure.colorbar(image, cax=bar, format=_percent, ticks=MaxNLocator(5, steps=_STEPS), label="share of the row")
    return _titled(ax, f"Confusion matrix of {len(labels):,} images")


def _mistakes(
    net: Sequential, images: Array, labels: npt.NDArray[np.intp], y: Array, count: int, ax: Axes | None
) -> Axes:
    """Draw the wrong answers with the largest outputs."""
    predicted, output = y.argmax(axis=1), y.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-output[wrong], kind="stable")][: _at_least_one(count)]
    says = "{:.1%}" if net.layers[-1].probabilities else "{:.2f}"
    certainty = [says.format(value).replace("%", " %") for value in output[worst]]
    captions = [f"{labels[i]} taken for {predicted[i]}\n{text}" for i, text in zip(worst, certainty, strict=True)]
    ax = _tiles(_squares(images, "images")[worst], captions, ax, cmap="gray_r")
    return _titled(ax, f"Most confident mistakes: {len(worst)} of {len(wrong):,}" if len(wrong) else "No mistakes")


def _tiles(pictures: Array, captions: Sequence[str], ax: Axes | None, **style: Any) -> Axes:
    """Draw small pictures row by row, each 1 wide and high, with a caption above it."""
    columns = min(max(len(pictures), 1), _COLUMNS)
    rows = max(math.ceil(len(pictures) / columns), 1)
    above = 0.2 * max((caption.count("\n") + 1 for caption in captions), default=1)
    ax = _axes(ax, 1.2 * columns + 1, 1.1 * (1 + above) * rows + 0.5)
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = i % _COLUMNS * 1.15, -(i // _COLUMNS) * (1 + above)
        ax.imshow(picture, extent=(x, x + 1, y, y + 1), interpolation="nearest", **style)
        ax.text(x + 0.5, y + 1.04, caption, ha="center", va="bottom", fontsize=9)
    ax.set(xlim=(0, 1.15 * columns - 0.15), ylim=(1 - rows * (1 + above) + above, 1 + above), anchor="W")
    ax.axis("off")
    return ax


def _squares(rows: Array, what: str) -> Array:
    """Return rows of pixels as square pictures."""
    pixels = math.prod(rows.shape[1:])
    side = math.isqrt(pixels)
    if side * side != pixels or rows.shape[-1] not in (side, pixels):
        raise ValueError(f"{what} must be square pictures, such as 784 = 28 x 28 pixels, got shape {rows.shape[1:]}")
    return rows.reshape(len(rows), side, side)


def _at_least_one(count: int) -> int:
    """Return the number of pictures to show."""
    if not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(f"count must be a whole number of at least 1, got {count!r}")
    return count
