"""Pictures: of the data, of a run while and after it trains, of what the network learned, and of the theory behind it.

Each function draws into the Axes that it is given, or into a new figure if no Axes are given, and returns the Axes.
Two functions return the Figure: `cost_surface`, which has several panels, and `report`, which puts a whole run on one
page. Colour is never the only sign: a marker, a line style or a shade says the same, for readers of grey print and for
colour-blind readers.

A notebook shows a new figure by itself. So if a function returns a Figure, end the cell with ``;``. Otherwise the
notebook shows the figure twice.
"""

from __future__ import annotations

import copy
import functools
import importlib
import io
import itertools
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from matplotlib.ticker import MaxNLocator

from . import backend, checks
from .backend import Array
from .costs import Cost, CrossEntropy, Quadratic
from .data import Data, Samples
from .gradcheck import entry_name
from .history import History
from .layers import Layer, Linear, ReLU, Sigmoid, Tanh
from .network import Sequential
from .training import Trainer

__all__ = [
    "activations_and_derivatives",
    "confusion_matrix",
    "cost_surface",
    "learning_curves",
    "live_curves",
    "mistakes",
    "report",
    "sample_images",
    "saturated",
    "saturation",
    "weight_images",
]

# Colours that colour-blind readers tell apart, by M. Okabe and K. Ito: https://jfly.uni-koeln.de/color/
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_CURVES = {
    "test_accuracy": ("test accuracy", _COLORS[0], "o-"),
    "train_accuracy": ("training accuracy", _COLORS[1], "s--"),
    "test_cost": ("test cost", "0.25", "^-."),
    "train_cost": ("training cost", "0.45", ".:"),
}
_COLUMNS = 10  # small pictures in a row, at most
_PAGE = 500.0  # points of a page that such a row takes
_LETTERS, _MORE = 12, 20  # of the name of a class, in a caption and beside a figure that has the room
_MOST_CLASSES = 1000  # of a confusion matrix: of more, a class would be less than a pixel
_LEAST = 25  # a report takes flattened images of fewer numbers as rows of a table
_GRID = 51  # points along each side of a cost surface; odd, so that the middle point is where the network is
_STEPS = (1, 2, 5, 10)  # the distance between ticks, times a power of ten
_ACTIVATIONS = (Sigmoid(), Tanh(), ReLU())
_COSTS = (Quadratic(), CrossEntropy())
_SEVERAL = (list, tuple, np.ndarray)


def __dir__() -> list[str]:
    return __all__


@checks.quiet
def sample_images(data: Data, count: int = 40, ax: Axes | None = None) -> Axes:
    """Show some images of a data set, each with the name or the number of its class above it.

    The classes take turns, 0, 1, 2, ..., and a class misses its turn only if it has no image left. The images of a
    class are spread evenly from the first to the last of the class. So every class is seen, also if the data are sorted
    by class or a class is rare. Ten classes with short names have a column each. The same data always give the same
    picture.

    Parameters
    ----------
    data : Dataset or (images, t)
        Images of shape (n, height, width), (n, height, width, 1), (n, 1, height, width), or (n, height, width, 3) for
        colours. Flattened images are drawn as squares. The targets t are class indices, one-hot rows, rows of
        probabilities, or for two classes numbers from 0 to 1.
    count : int, default 40
        The most images to show. If count is less than the number of classes, the last classes are left out.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Its `images` are the pictures, all on one scale. Without colours, a high intensity is dark. Its `texts` are the
        classes.

    Raises
    ------
    ValueError
        If the images are no pictures, the targets are no classes, there is not one target for each image, or count is
        less than 1.

    Examples
    --------
    >>> import numnet as nn
    >>> train, test = nn.datasets.digits()
    >>> ax = nn.plotting.sample_images(train, count=12)
    >>> " ".join(text.get_text() for text in ax.texts)
    '0 1 2 3 4 5 6 7 8 9 0 1'
    """
    images, t = _images_and_targets(data)
    labels, count = _classes(t), _at_least_one(count)
    places = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    turns = sorted((turn, i) for i, found in enumerate(places) for turn in range(min(len(found), count)))[:count]
    taken = np.bincount([i for _, i in turns], minlength=len(places))
    chosen = [places[i][turn * len(places[i]) // taken[i]] for turn, i in turns]
    ax = _ink(images[chosen], _names(data, labels[chosen]), ax)
    name = getattr(data, "name", "")
    return _titled(ax, f"{name}{': ' if name else ''}{len(chosen)} of {_counted(len(labels), 'image')}")


@checks.quiet
def learning_curves(history: History | Mapping[str, History], ax: Axes | None = None) -> Axes:
    """Plot accuracy and cost by epoch, or compare several runs.

    Parameters
    ----------
    history : History or mapping of str to History
        For one run, the picture shows the test accuracy (solid), the training accuracy (dashed), the test cost
        (dash-dotted) and the training cost (dotted). The costs have their scale at the right. A column that was not
        recorded is left out. If no accuracy was recorded, as in a regression, the costs have the only scale. For
        several runs, by label, the picture compares the test accuracies. If one of the runs has no test accuracy, the
        picture compares the training accuracies, or else the test costs, or else the training costs.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a history has no epochs, or no column was recorded in all the runs to compare.

    Notes
    -----
    Training accuracy and cost are means over an epoch, and the network improves during the epoch. Test accuracy and
    cost are taken after the epoch. So in the first epochs, the test accuracy may well be higher than the training
    accuracy, and the test cost lower than the training cost.

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
        looks = zip(runs.items(), _looks(), strict=False)
        curves = [(run, main, label, color, f"{marker}-") for (label, run), (color, marker) in looks]
    ax = scale = _axes(ax, 6.4, 4.0)
    lines = []
    for run, name, label, color, style in curves:
        if scale is ax and name.endswith("cost") and not main.endswith("cost"):
            scale = ax.twinx()
            scale.spines[:].set_visible(False)
            scale.margins(y=0.1)  # otherwise the points of a first epoch would hide one another
            scale.tick_params(colors="0.45")
            scale.set_ylabel("cost", color="0.45")
        every = max(1, len(run) // 20)
        lines += scale.plot(run.epoch, getattr(run, name), style, color=color, label=label, ms=5, markevery=every)
    _by_epoch(ax)
    ax.set_xlim(left=max(ax.get_xlim()[0], 0.1), auto=None)  # without a tick at 0: the first epoch is 1
    if not main.endswith("cost"):
        ax.yaxis.set_major_formatter(_percent)
    ax.set_ylabel(_CURVES[main][0].split()[-1] if single else _CURVES[main][0])
    look: dict[str, Any] = {"handles": lines, "fontsize": "small"}
    if scale is not ax:  # above both scales, where no curve can be
        look |= {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "frameon": False, "borderaxespad": 0.1}
    scale.legend(**look)
    return _titled(ax, "Learning curves", 6 if scale is ax else 3.4 * plt.rcParams["font.size"])


def live_curves(ax: Axes | None = None) -> Callable[[Trainer], None]:
    """Return a callback for `numnet.Trainer.fit` that draws `learning_curves` anew after each epoch.

    In a notebook, one picture is updated in place. With an interactive backend, one window is updated in place; in a
    script, add ``matplotlib.pyplot.show()`` after `numnet.Trainer.fit` to keep the window open. With other backends,
    such as Agg, nothing is shown, but the figure is kept up to date, so that it can be saved.

    Parameters
    ----------
    ax : Axes, optional
        Where to draw. The Axes are cleared after each epoch. By default a figure is made after the first epoch.

    Returns
    -------
    callable
        A function of the trainer, to be given in ``callbacks``. It serves one run.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numnet as nn
    >>> train, test = nn.datasets.digits()
    >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    >>> trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
    >>> figure, ax = plt.subplots()
    >>> live = nn.plotting.live_curves(ax)
    >>> history = trainer.fit(train, epochs=3, batch_size=64, test=test, callbacks=[live])
    >>> list(ax.lines[0].get_ydata()) == history.test_accuracy
    True
    """
    ax = None if ax is None else _check_axes(ax)
    added: list[Axes] = []  # besides ax: the Axes for the scale of the cost
    shown: Any = None

    def redraw(trainer: Trainer) -> None:
        nonlocal ax, added, shown
        ax = _axes(ax, 6.4, 4.0)
        canvas = ax.figure.canvas
        figure = canvas.figure
        for other in added:
            other.remove()
        ax.clear()
        before = figure.axes
        learning_curves(trainer.history, ax)
        added = [other for other in figure.axes if other not in before]
        if "inline" in plt.get_backend():  # this backend shows an open figure again after the cell
            plt.close(figure)
            png, ipython = io.BytesIO(), importlib.import_module("IPython.display")
            figure.savefig(png, format="png", bbox_inches=None if figure.get_layout_engine() else "tight")
            picture = ipython.Image(png.getvalue())
            if shown is None:
                shown = ipython.display(picture, display_id=True)
            else:
                shown.update(picture)
            return
        if shown is None and canvas.manager is not None and canvas.required_interactive_framework:
            figure.show()
            shown = figure
        if shown is None or plt.fignum_exists(figure.number):  # otherwise the window has been closed
            canvas.draw()  # draw_idle would leave the last epoch to an event loop that may never run
            canvas.flush_events()

    return redraw


@checks.quiet
def weight_images(
    net: Sequential, layer: int = 0, count: int = 100, ax: Axes | None = None, shape: tuple[int, int] | None = None
) -> Axes:
    """Show the weights of each unit of a Linear layer as a picture: positive weights yellow, negative ones dark blue.

    Parameters
    ----------
    net : Sequential
    layer : int, default 0
        The number of the layer, counted from 0.
    count : int, default 100
        The most units to show: the first units of the layer.
    ax : Axes, optional
        Where to draw.
    shape : (int, int), optional
        Height and width of the images that the layer takes; a square by default.

    Returns
    -------
    Axes
        Its `images` are the pictures, on one scale that is symmetric about 0: dark blue for the most negative weights,
        grey for 0, and yellow for the most positive weights. The scale ends at the 99th percentile of the
        absolute weights, so that a few large weights do not make all other weights grey.

    Raises
    ------
    ValueError
        If the layer is not Linear, the inputs of the layer are not as many as the pixels of the shape, or count is less
        than 1.

    Examples
    --------
    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    >>> ax = nn.plotting.weight_images(net)
    >>> len(ax.images), ax.images[0].get_array().shape
    (10, (8, 8))
    """
    return _weight_images(net, layer, count, ax, shape)


@checks.quiet
def confusion_matrix(net: Sequential, data: Data, ax: Axes | None = None) -> Axes:
    """Show how often each class was taken for each other class.

    Parameters
    ----------
    net : Sequential
    data : Dataset or (images, t)
        Images as the network takes them. The targets t are class indices, one-hot rows, rows of probabilities, or for
        one output numbers from 0 to 1, or -1 and 1 if the output is that of a `numnet.Tanh`. If a Dataset has
        names of `classes`, the names are shown.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Rows are the true classes, columns are the predicted classes. The numbers are counts, and a count of 0 is left
        out. If there is no room for numbers that can be read, all are left out. The shade is the share of the row. The
        diagonal, which holds the right answers, stays grey, so that the mistakes stand out.

    Raises
    ------
    ValueError
        If the data do not fit the network, or there are no classes: the targets are no classes, or the network has one
        output that is no class, as in a regression. Or if there are more than 1,000 classes.

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
    return _confusion_matrix(_answers(net, data, _MORE if ax is None else _LETTERS), ax)


@checks.quiet
def mistakes(net: Sequential, data: Data, count: int = 10, ax: Axes | None = None) -> Axes:
    """Show the images about which the network is wrong and most certain.

    Parameters
    ----------
    net : Sequential
    data : Dataset or (images, t)
        Images as for `sample_images`, and targets as for `confusion_matrix`.
    count : int, default 10
        The most images to show.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Its `images` are the pictures, the most certain mistake first. Its `texts` say the true class, the predicted
        class, and the output for the predicted class. The output is a percentage if outputs are probabilities. If the
        network has a single output y, the output for class 0 is 1 - y, and the output for class -1 is -y.

    Raises
    ------
    ValueError
        As for `confusion_matrix`, and if the images are no pictures or count is less than 1.

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
    return _mistakes(net, _answers(net, data), count, ax)


@checks.quiet
def activations_and_derivatives(layers: Sequence[Layer] = _ACTIVATIONS, ax: Axes | None = None) -> Axes:
    """Plot y = f(x) (solid) and dy/dx (dashed, hollow markers) of elementwise layers, for x from -6 to 6.

    Both are computed by the layers themselves: y by `forward`, and dy/dx by `backward` of a gradient of ones.

    Parameters
    ----------
    layers : sequence of Layer
        Each layer must treat every number in the same way, and independently of all other numbers.
        `numnet.Sigmoid` does so; `numnet.Softmax` and `numnet.Linear` do not. Layers of your own may be among the
        layers. Copies are drawn, so layers of a network are left as they are.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Its `lines` are y and dy/dx of each layer in turn. If a curve y is still steep beyond x = -2 or x = 2, as the
        curve of `numnet.ReLU` is, the curve may leave the frame.

    Raises
    ------
    ValueError
        If there is no layer, a layer is not elementwise, or no value is finite.

    Examples
    --------
    >>> import numnet as nn
    >>> ax = nn.plotting.activations_and_derivatives([nn.Sigmoid()])
    >>> y, dy = ax.lines
    >>> float(dy.get_ydata().max())
    0.25
    """
    if not isinstance(layers, (list, tuple)) or not layers or not all(isinstance(layer, Layer) for layer in layers):
        raise ValueError(f"layers must be a list of layers, such as [Sigmoid(), Tanh()], got {layers!r}")
    x = np.linspace(-6, 6, 601)
    curves = [_elementwise(layer, x) for layer in layers]
    seen = np.concatenate([part for y, dy in curves for part in (y[(np.abs(x) <= 2) | (np.abs(dy) < 0.1)], dy)])
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        raise ValueError(f"{', '.join(map(repr, layers))}: no y or dy/dx is finite for x from -6 to 6")
    low, high = seen.min(), seen.max()
    margin = 0.05 * (high - low) or 1.0
    ax = _axes(ax, 6.4, 4.4)
    for i, (layer, (y, dy), (color, marker)) in enumerate(zip(layers, curves, _looks(), strict=False)):
        look: dict[str, Any] = {"color": color, "marker": marker, "ms": 5, "markevery": (10 + 15 * i % 50, 50)}
        ax.plot(x, y, "-", label=repr(layer), **look)
        ax.plot(x, dy, "--", label=f"{layer!r}, dy/dx", mfc="white", **look)
    ax.set(xlabel="x", ylabel="y (solid) and dy/dx (dashed)", ylim=(low - margin, high + margin))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.9")
    ax.legend()
    return _titled(ax, "Activations and their derivatives")


@checks.quiet
def cost_surface(
    net: Sequential,
    x: npt.ArrayLike,
    t: npt.ArrayLike,
    costs: Sequence[Cost] = _COSTS,
    parameters: Sequence[int] = (0, 1),
    width: float = 8.0,
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Show costs E over two of a network's parameters, while all other parameters keep their values.

    The levels of each panel are 1, 2 and 5 times powers of ten, from a thousandth of the largest E upwards. So each
    line has about twice the E of the line before, and there are no lines where E is flat. For example, the quadratic
    cost over a saturated sigmoid has a flat plateau, and the cross-entropy has a slope in the same place. If E is
    negative somewhere, or the largest E is less than 100 times the least, the levels are evenly spaced in E.

    Parameters
    ----------
    net : Sequential
        The network is left as it is: a copy of it is evaluated, on the CPU and in float64.
    x : array_like of shape (n, ...)
        Samples. All samples go through the network 2,601 times, so give about a hundred at most.
    t : array_like of shape (n,) or (n, outputs)
        Targets.
    costs : sequence of Cost
        One panel each.
    parameters : pair of int
        Which entries of ``net.parameters`` to vary: the first entry to the right, the second entry upwards.
    width : float, default 8.0
        How far to vary the two parameters, to both sides of their present values.
    ax : Axes or sequence of Axes, optional
        Where to draw: as many Axes as there are costs. A figure of ``layout="constrained"`` is best, since it makes
        room for the colour bars.

    Returns
    -------
    Figure
        The figure with the panels. The title of each panel is its cost. The axes of a panel are named by layer and
        entry. A white dot marks the present parameters of the network.

    Raises
    ------
    ValueError
        If x or t do not fit the network or a cost, E is not finite everywhere within the width, or another argument is
        not valid.

    Examples
    --------
    A single neuron that is saturated and wrong:

    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid())
    >>> net.parameters = [4.0, 4.0]
    >>> figure = nn.plotting.cost_surface(net, [[1.0]], [0.0])
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('layer 0 weight[0, 0]', 'layer 0 bias[0]')
    """
    _check_net(net)
    if not isinstance(costs, (list, tuple)) or not costs or not all(isinstance(cost, Cost) for cost in costs):
        raise ValueError(f"costs must be a list of costs, such as [Quadratic(), CrossEntropy()], got {costs!r}")
    size = net.parameters.size
    entries = list(parameters) if isinstance(parameters, _SEVERAL) else []
    whole = all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) and 0 <= i < size for i in entries)
    if len(entries) != 2 or not whole or entries[0] == entries[1]:
        raise ValueError(
            f"parameters must be two different entries of net.parameters, from 0 to {size - 1}, got {parameters!r}"
        )
    if not 0 < width < math.inf:
        raise ValueError(f"width must be a positive number, got {width!r}")
    axes = [] if ax is None else [_check_axes(panel) for panel in (ax if isinstance(ax, _SEVERAL) else [ax])]
    if ax is not None and len(axes) != len(costs):
        raise ValueError(f"ax must be one Axes for each of the {len(costs)} costs, got {len(axes)}")

    arrays = [(f"layer {i} {name}", a) for i, layer in enumerate(net.layers) for name, a in layer.parameters.items()]
    names = [entry_name(arrays, i) for i in entries]
    net = net.astype("float64").to("cpu")
    present = net.parameters[entries]
    right, up = present[:, None] + np.linspace(-width, width, _GRID)
    surfaces = _surfaces(net, x, t, costs, entries, right, up)
    if not axes:
        figure = plt.figure(figsize=(3.7 * len(costs), 3.6), layout="constrained")
        axes = list(figure.subplots(1, len(costs), squeeze=False)[0])
    for panel, cost, surface in zip(axes, costs, surfaces, strict=True):
        low, high = surface.min(), surface.max()
        levels, extend = _levels(low, high)
        norm = BoundaryNorm(levels, 256, extend=extend)
        filled = panel.contourf(right, up, surface, levels, cmap="cividis", norm=norm, extend=extend)
        lines = [level for level in levels if low < level < high]
        if lines:
            shades = ["0.8" if level < levels[len(levels) // 2] else "0.2" for level in lines]
            panel.contour(right, up, surface, lines, colors=shades, linewidths=0.8)
        here = surface[_GRID // 2, _GRID // 2]
        panel.plot(*present, "o", color="black", mfc="white", ms=9, mew=1.5, label=f"the network: E = {here:.3g}")
        panel.legend(loc="lower left")
        panel.set(xlabel=names[0], ylabel=names[1])
        bar = panel.inset_axes((1.03, 0, 0.05, 1))
        panel.figure.colorbar(filled, cax=bar, label="E", ticks=levels, format="{x:.3g}", extendfrac=0.05)
        _titled(panel, repr(cost))
    return axes[0].figure.canvas.figure


@checks.quiet
def saturated(net: Sequential, x: npt.ArrayLike, threshold: float = 0.01) -> dict[str, float]:
    """Return the share of the outputs y of each Sigmoid and Softmax layer for which y (1 - y) is below a threshold.

    y (1 - y) is the derivative of a sigmoid, and also the derivative of each softmax output by its own input. If
    y (1 - y) is nearly 0, the unit is saturated, and a gradient that comes back through the unit vanishes. In hidden
    layers, saturation stops learning. In the last layer, saturation stops learning if the cost is quadratic and y is
    wrong; if y is right, saturation means certainty.

    Parameters
    ----------
    net : Sequential
    x : array_like of shape (n, ...)
        As for a call of the network.
    threshold : float, default 0.01
        Above 0 and at most 1/4, the largest value of y (1 - y). With 0.01, y is saturated above about 0.99 and below
        about 0.01.

    Returns
    -------
    dict of str to float
        The share, from 0 to 1 and over all samples and units, of every layer whose `probabilities` is not None. The
        keys are labels such as ``layer 1, Sigmoid()``.

    Raises
    ------
    ValueError
        If the network has no such layer, x does not fit it or has no sample, an output is not finite, or the threshold
        is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid())
    >>> net.parameters = [1.0, 0.0]
    >>> nn.plotting.saturated(net, np.array([[-9.0], [0.0], [1.0], [9.0]]))
    {'layer 1, Sigmoid()': 0.5}
    """
    _check_net(net)
    if not 0 < threshold <= 0.25:
        raise ValueError(
            f"threshold must be above 0 and at most 1/4, the largest value of y (1 - y), got {threshold!r}"
        )
    labels = {i: f"layer {i}, {layer!r}" for i, layer in enumerate(net.layers) if layer.probabilities is not None}
    if not labels:
        raise ValueError("no layer of the network has probabilities as outputs, as Sigmoid and Softmax have")
    x = checks.inputs(x, net)
    if not len(x):
        raise ValueError("x must have at least one sample, got none")
    below, of = dict.fromkeys(labels, 0), dict.fromkeys(labels, 0)
    for part in checks.parts(len(x), x.shape[1], *net.widths):
        with np.errstate(over="ignore", invalid="ignore"):
            y = net.scaled(x[part])
            checks.finite(y, x[part], part.start)
            for i, layer in enumerate(net.layers):
                y = copy.copy(layer).forward(y)  # the copy keeps what forward keeps for backward
                if i in labels:
                    if not np.isfinite(y).all():
                        raise ValueError(f"the outputs of {labels[i]} are not all finite: training has diverged")
                    below[i] += int(np.count_nonzero(y * (1 - y) < threshold))
                    of[i] += y.size
    return {label: below[i] / of[i] for i, label in labels.items()}


@checks.quiet
def saturation(shares: Sequence[Mapping[str, float]], ax: Axes | None = None) -> Axes:
    """Plot how much of each layer is saturated, by epoch.

    Parameters
    ----------
    shares : sequence of dict
        The results of `saturated`: the first from before training, then a result from after each epoch.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Axes with a line for each layer. Epoch 0 is before training.

    Raises
    ------
    ValueError
        If `shares` is empty, is not a list of such results, or has two results with different layers.

    Examples
    --------
    >>> import numnet as nn
    >>> train, test = nn.datasets.digits()
    >>> layers = nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Softmax()
    >>> net = nn.Sequential(*layers, seed=0)
    >>> trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=1.0), seed=0)
    >>> shares = [nn.plotting.saturated(net, test.images)]
    >>> def record(trainer):
    ...     shares.append(nn.plotting.saturated(trainer.net, test.images))
    >>> history = trainer.fit(train, epochs=3, batch_size=64, callbacks=[record])
    >>> ax = nn.plotting.saturation(shares)
    >>> [line.get_label() for line in ax.lines]
    ['layer 1, Sigmoid()', 'layer 3, Softmax()']
    """
    if not isinstance(shares, (list, tuple)) or not all(isinstance(share, Mapping) for share in shares):
        raise ValueError(f"shares must be a list of what saturated(net, x) returned, got {type(shares).__name__}")
    if not shares or not shares[0] or any(share.keys() != shares[0].keys() for share in shares):
        layers = "; ".join(str(list(share)) for share in shares) or "none"
        raise ValueError(f"shares must have at least one entry, and all of them the same layers, got {layers}")
    ax = _axes(ax, 6.4, 4.0)
    every = max(1, len(shares) // 20)
    for label, (color, marker) in zip(shares[0], _looks(), strict=False):
        values = [share[label] for share in shares]
        ax.plot(values, f"{marker}-", color=color, label=label, ms=5, markevery=every, clip_on=False)
    _by_epoch(ax)
    ax.yaxis.set_major_formatter(_percent)
    ax.set(ylim=(0, None), ylabel="saturated share of outputs")
    ax.legend()
    return _titled(ax, "Saturation")


@checks.quiet
@mpl.rc_context({"font.size": 12.5})  # so that a page of a browser, half as wide, has letters that can be read
def report(net: Sequential, history: History, test: Data, title: str | None = None) -> Figure:
    """Put learning curves, confusion matrix, weight images and worst mistakes on one page, 1600 x 900 pixels.

    If a part cannot be drawn for the network and the data, the page says why in the place of the part. For example, a
    table of numbers has no pictures. Flattened images of fewer than 25 numbers are taken as rows of a table. A
    regression has its outputs over its targets in place of a confusion matrix.

    Parameters
    ----------
    net : Sequential
    history : History
        The history of the network's training.
    test : Dataset or (images, t)
        Data that the network was not trained on, as for `mistakes`.
    title : str, optional
        By default the sizes of the network's layers, the epochs and the accuracy on `test`. Without classes, the last
        cost of the history takes the place of the accuracy.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If an argument is wrong: `net` is no network, the history has no epochs, or the data do not fit the network.

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
    _check_net(net)
    images, _ = _images_and_targets(test)
    answers = functools.cache(functools.partial(_answers, net, test))  # worked out once
    figure = plt.figure(figsize=(12.8, 7.2), dpi=125)
    # The places can be fixed, since the size is: matplotlib takes as long to work out a layout as to draw all the rest.
    curves = figure.add_axes((0.08, 0.51, 0.37, 0.33))
    long = max(map(len, getattr(test, "classes", None) or ("",))) > 3  # names of classes, which need room
    matrix = figure.add_axes((0.62, 0.62, 0.29, 0.285) if long else (0.56, 0.51, 0.35, 0.395))
    weights = figure.add_axes((0.08, 0.24, 0.83, 0.16))
    worst = figure.add_axes((0.08, 0.01, 0.83, 0.187))
    try:
        learning_curves(history, curves)
        if len(figure.axes) == 4:  # a single scale, so that the legend is not above it
            curves.set_position((0.08, 0.51, 0.37, 0.395))
        try:
            names = answers().names
            _draw_or_say_why("confusion matrix", matrix, lambda: _confusion_matrix(answers(), matrix))
        except UndrawableError:  # a regression
            names = []
            _outputs_by_targets(net, test, matrix)
        _draw_or_say_why("weight images", weights, lambda: _first_weights(net, images, names, weights))
        _draw_or_say_why("pictures of mistakes", worst, lambda: _mistakes(net, answers(), _COLUMNS, worst, _LEAST))
    except ValueError:
        plt.close(figure)
        raise
    if title is None:
        sizes = [net.inputs, *(layer.outputs for layer in net.layers if layer.outputs)]
        if names:
            result = f"test accuracy {_percent(np.mean(answers().predicted == answers().labels).round(4))}"
        else:
            last = history[-1]
            tested = math.isfinite(last.test_cost)
            result = f"test cost {last.test_cost:.4g}" if tested else f"training cost {last.train_cost:.4g}"
        title = f"{' → '.join(map(str, sizes))}, {_counted(len(history), 'epoch')}: {result}"
    figure.suptitle(title, fontsize="x-large", y=0.99)
    return figure


class UndrawableError(ValueError):
    """Something that cannot be drawn for these data; `why` is the message without the remedy."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(f"{why}: {remedy}")
        self.why = why


class _Answers(NamedTuple):
    """What a network says of some images."""

    images: Array
    labels: npt.NDArray[np.intp]
    predicted: npt.NDArray[np.intp]
    output: Array  # that of the predicted class
    names: list[str]  # of the classes


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the given Axes, or the Axes of a new figure of this size in inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else _check_axes(ax)


def _check_axes(ax: object) -> Axes:
    """Return Axes; ValueError for anything else, such as the Figure."""
    if not isinstance(ax, Axes):
        raise ValueError(f"ax must be matplotlib Axes, as from figure, ax = plt.subplots(), got {type(ax).__name__}")
    return ax


def _check_net(net: Sequential) -> None:
    """Raise ValueError for anything but a network."""
    if not isinstance(net, Sequential):
        hint = ": give trainer.net" if isinstance(getattr(net, "net", None), Sequential) else ""
        raise ValueError(f"net must be a Sequential, got {type(net).__name__}{hint}")


def _looks() -> Iterator[tuple[str, str]]:
    """Yield colours and markers. Both change, so that the markers tell the lines apart in grey print."""
    return zip(itertools.cycle(_COLORS), itertools.cycle("os^Dv<>P"), strict=False)


def _by_epoch(ax: Axes) -> None:
    """Make Axes ready for values by epoch: every tick is a whole epoch."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="0.9")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=_STEPS))
    ax.set_xlabel("epoch")


def _titled(ax: Axes, title: str, above: float = 6) -> Axes:
    """Return the Axes with a title. The height of the title is fixed, since matplotlib takes long to work it out."""
    ax.set_title(title, loc="left", y=1, pad=above)
    return ax


def _counted(count: int, what: str) -> str:
    """Return a number of things, such as 1 epoch or 1,437 images."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _percent(share: float, position: object = None) -> str:
    """Return a share as a percentage. Also a tick formatter: matplotlib calls it with a position."""
    return f"{100 * share:g} %"


def _images_and_targets(data: Any) -> tuple[Array, Array]:
    """Return the images and targets of a Dataset or a pair, as many of each, as arrays on the CPU."""
    named = zip(checks.images_and_labels(data), ("images", "targets"), strict=True)
    images, t = (backend.to(array, "cpu", name) for array, name in named)
    if images.shape[:1] != t.shape[:1] or not images.size:
        raise ValueError(
            "data must have at least one image, and one target for each image, got "
            f"images {images.shape} and targets {t.shape}"
        )
    return images, t


def _classes(t: Array, outputs: int | None = None, last: Layer | None = None) -> npt.NDArray[np.intp]:
    """Return the class of each target, in any form that `fit` takes; without a network, both others are None."""
    if t.ndim == 1 and (t.dtype.kind not in "bfc" if outputs is None else outputs > 1):
        return (t if outputs is None and t.dtype.kind in "iu" else checks.labels(t, outputs or 1)).astype(np.intp)
    rows = checks.targets(t, outputs or math.prod(t.shape[1:]), np.float64)
    found = checks.target_classes(rows, last or Sigmoid())
    if found is None and rows.shape[1] == 1:
        whole = "np.ravel(t)" if t.ndim == 2 else "np.asarray(t, int)"
        raise ValueError(
            f"the targets are numbers from {rows.min():g} to {rows.max():g}, not classes: if each number stands for a "
            f"class, give {whole if (rows == np.rint(rows)).all() else 'np.unique(t, return_inverse=True)[1]'}"
        )
    if found is None:
        raise UndrawableError("the targets are no classes", "give class indices or one-hot rows")
    return found.astype(np.intp)


def _names(data: Any, labels: Iterable[int], letters: int = _LETTERS) -> list[str]:
    """Return the name or else the number of each class. Different names stay different although they are cut."""
    known = getattr(data, "classes", None) or ()
    names = {int(i): str(known[i] if 0 <= i < len(known) else i) for i in labels}
    head, tail = letters // 2, (letters - 1) // 2  # the end of a name often says more than its middle
    cut = {i: name if len(name) <= letters else f"{name[:head]}…{name[-tail:]}" for i, name in names.items()}
    if len(set(cut.values())) < len(names):
        cut = {i: name if cut[i] == name else f"{i} {name[: letters - 5]}…" for i, name in names.items()}
    return [cut[int(i)] for i in labels]


def _answers(net: Sequential, data: Any, letters: int = _LETTERS) -> _Answers:
    """Return what a network says of data with classes, of which the names are cut to so many letters."""
    _check_net(net)
    images, t = _images_and_targets(data)
    x, last = checks.inputs(images, net), net.layers[-1]
    outputs = net.outputs or x.shape[1]
    signs = outputs == 1 and last.probabilities is None  # the only output can mean class 1 against class -1
    if signs and checks.target_classes(checks.targets(t, 1, np.float64), last) is None:
        why = f"the network gives a number, not classes, since its last layer is {last!r}"
        raise UndrawableError(why, "compare net(x) with the targets; for yes or no, end the network in Sigmoid()")
    labels, predicted, output = _classes(t, outputs, last), [], []
    for y in net._outputs(x):
        if outputs == 1:
            y = np.hstack([2 * checks.middle(last) - y, y])
        predicted.append(y.argmax(axis=1))
        output.append(y.max(axis=1))
    names = _names(data, (-1, 1) if signs else range(max(outputs, 2)), letters)
    return _Answers(images, labels, np.concatenate(predicted), np.concatenate(output), names)


def _elementwise(layer: Layer, x: Array) -> tuple[Array, Array]:
    """Return y = f(x) and dy/dx from a copy of the layer; ValueError if the layer is not elementwise."""
    layer = copy.deepcopy(layer)
    layer.parameters = {name: backend.to(array, "cpu") for name, array in layer.parameters.items()}
    layer.gradients = {name: np.zeros_like(array) for name, array in layer.parameters.items()}
    shifts = 100 * np.arange(layer.inputs or 2)
    batch = np.stack([np.roll(x, shift) for shift in shifts], axis=1)  # each column puts other numbers beside x
    half = len(x) // 2
    with np.errstate(all="ignore"):
        part, y = layer.forward(batch[:half]), layer.forward(batch)
        same = y.shape == batch.shape and np.allclose(part, y[:half], equal_nan=True)
        if not same or not all(np.allclose(np.roll(y[:, 0], n), y[:, i], equal_nan=True) for i, n in enumerate(shifts)):
            raise ValueError(
                f"{layer!r} is not elementwise: what it makes of a number x depends on more than x, so "
                "that it has no curve. Give layers such as Sigmoid()"
            )
        dy = layer.backward(np.ones_like(y))
    return y[:, 0], dy[:, 0]


def _surfaces(
    net: Sequential, x: Any, t: Any, costs: Sequence[Cost], entries: list[int], right: Array, up: Array
) -> Array:
    """Return E of each cost on a grid of two parameters, the first along the rows; both parameters stay changed."""
    pairs = [cost.pair(net.layers) for cost in costs]
    for pair in pairs:
        samples = Samples(net, pair, (backend.to(x, "cpu", "x"), backend.to(t, "cpu", "t")), "cost_surface")
    x, t, _ = samples.take(np.arange(samples.size))
    surfaces = np.empty((len(costs), _GRID, _GRID))
    with np.errstate(over="ignore", invalid="ignore"):
        for row, column in np.ndindex(_GRID, _GRID):
            net.parameters[entries] = right[column], up[row]
            z = y = x
            for layer in net.layers:
                z, y = y, layer.forward(y)
            surfaces[:, row, column] = [pair.value(z, y, t) for pair in pairs]
    for cost, surface in zip(costs, surfaces, strict=True):
        if not np.isfinite(surface).all():
            raise ValueError(f"{cost!r} is not finite everywhere within the width: choose a smaller one")
    return surfaces


def _levels(low: float, high: float) -> tuple[Array, Literal["neither", "min"]]:
    """Return the levels for costs from low to high, and on which side costs may be beyond the levels."""
    if low >= 0 and high > 100 * low:
        steps = np.ravel(np.outer(10.0 ** np.arange(-4, 1), _STEPS[:3])) * 10 ** math.ceil(math.log10(high))
        return np.append(steps[(steps > max(low, high / 1000)) & (steps < high)], high), "min"
    least = 1e-3 * abs(low) + 1e-9  # the levels span at least this much, so that rounding is not a slope
    return np.array(MaxNLocator(14, steps=_STEPS).tick_values(low, max(high, low + least))), "neither"


def _draw_or_say_why(what: str, ax: Axes, draw: Callable[[], object]) -> None:
    """Draw a part of a report, or write into its place why these data have no such part."""
    try:
        draw()
    except UndrawableError as error:
        ax.axis("off")
        ax.text(0, 1, textwrap.fill(f"No {what}: {error.why}", 75), color="0.4", va="top", fontsize="small")


def _outputs_by_targets(net: Sequential, data: Any, ax: Axes) -> None:
    """Draw a point for each output of a regression; the nearer to the diagonal, the better."""
    images, t = _images_and_targets(data)
    y = net(images)
    t = checks.targets(t, y.shape[1], np.float64)
    some = slice(None, None, math.ceil(t.size / 5000))  # more points would only hide one another
    ax.plot(t[some].ravel(), y[some].ravel(), "o", color=_COLORS[0], ms=4, alpha=0.5)
    ax.plot(*np.array([[t.min(), t.max()]] * 2), "--", color="black", label="output = target")
    ax.set(xlabel="target", ylabel="output")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper left", fontsize="small")
    _titled(ax, f"Outputs for {_counted(len(t[some]), 'sample')}")


def _confusion_matrix(answers: _Answers, ax: Axes | None) -> Axes:
    """Draw how often each class was taken for each other."""
    _, labels, predicted, _, names = answers
    classes = len(names)
    if classes > _MOST_CLASSES:
        raise UndrawableError(
            f"a matrix of {classes:,} x {classes:,} classes has no room on a picture, which can show {_MOST_CLASSES:,}",
            "count the mistakes, pairs, counts = np.unique([t, net.predict(x)], axis=1, return_counts=True) for class "
            "indices t",
        )
    counts = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(share, 0)
    most = share.max() or 1.0
    side = min(max(5.0, 0.2 * classes + 1.4), 12.0)
    ax = _axes(ax, side + 0.8, side)
    shades = np.ma.masked_array(share, np.eye(classes, dtype=bool))
    image = ax.imshow(shades, cmap="Oranges", vmin=0, vmax=most, aspect="auto")
    ax.set_facecolor("0.94")
    width, height = np.array(ax.get_window_extent().size) * 72 / ax.figure.dpi  # in points
    letters = plt.rcParams["font.size"]
    size = min(letters, 0.8 * height / classes, 1.25 * width / classes / len(str(counts.max())))
    for i, j in np.argwhere(counts if size >= 5 else counts == -1):  # no numbers rather than numbers too small to read
        color = "0.45" if i == j else "white" if share[i, j] > 0.6 * most else "black"
        ax.text(j, i, str(counts[i, j]), ha="center", va="center", color=color, fontsize=size, in_layout=False)
    numbers = names == [str(i) for i in range(classes)]
    ticks = range(0, classes, math.ceil(classes / (20 if numbers else 30)))
    shown = [names[i] for i in ticks]
    look: dict[str, Any] = {"parse_math": False, "fontsize": min(letters, 0.8 * height / len(shown))}
    ax.set_yticks(ticks, shown, **look)
    if len(shown) * max(map(len, shown)) > 45:  # letters that a row has room for
        look |= {"rotation": 45 if len(shown) < 20 else 90, "rotation_mode": "anchor", "ha": "right", "va": "center"}
    ax.set_xticks(ticks, shown, **look)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = ax.inset_axes((1.02, 0, 0.02, 1))
    ax.figure.colorbar(image, cax=bar, format=_percent, ticks=MaxNLocator(5, steps=_STEPS), label="share of the row")
    return _titled(ax, f"Confusion matrix of {_counted(len(labels), 'sample')}")


def _mistakes(net: Sequential, answers: _Answers, count: int, ax: Axes | None, least: int = 1) -> Axes:
    """Draw the wrong answers with the largest outputs."""
    images, labels, predicted, output, names = answers
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-output[wrong], kind="stable")][: _at_least_one(count)]
    says = "{:.1%}" if net.layers[-1].probabilities else "{:.2f}"
    captions = []
    for i in worst:
        words = [names[labels[i]], "taken for", names[predicted[i]]]
        between = " " if len(" ".join(words)) <= _LETTERS + 4 else "\n"
        captions.append(f"{between.join(words)}\n{says.format(output[i]).replace('%', ' %')}")
    ax = _ink(images[worst], captions, ax, least)
    return _titled(ax, f"Most confident mistakes: {len(worst)} of {len(wrong):,}" if len(wrong) else "No mistakes")


def _weight_images(
    net: Sequential,
    layer: int,
    count: int,
    ax: Axes | None,
    shape: tuple[int, int] | None,
    names: Sequence[str] = (),
) -> Axes:
    """Draw the weights of units with their names above, or with their numbers."""
    _check_net(net)
    linear = [i for i, candidate in enumerate(net.layers) if isinstance(candidate, Linear)]
    if layer not in linear:
        raise ValueError(f"layer must be the number of a Linear layer of the network, one of {linear}, got {layer!r}")
    weight = backend.to(net.layers[layer].parameters["weight"], "cpu")
    inputs, units = weight.shape
    if shape is None:
        pictures = _pictures(weight.T, f"the inputs of layer {layer} are", "give shape=(height, width)")
    else:
        sides = np.asarray(shape)
        if sides.shape != (2,) or sides.dtype.kind != "i" or sides.min() < 1 or sides.prod() != inputs:
            raise ValueError(
                f"shape must be (height, width), of which the product is the {inputs} inputs of layer {layer}, got "
                f"{shape!r}"
            )
        pictures = weight.T.reshape(units, *sides)
    pictures = pictures[: _at_least_one(count)]
    limit = float(np.percentile(np.abs(pictures), 99)) or 1.0
    captions = names or [str(i) for i in range(len(pictures))]
    ax = _tiles(pictures, captions, ax, cmap="cividis", vmin=-limit, vmax=limit)
    width, height = np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())
    bar = ax.inset_axes((1 + 0.1 / width, 0, 0.1 / width, min(1 / height, 0.95)))  # right of the bottom row
    ax.figure.colorbar(ax.images[0], cax=bar, extend="both", label="weight")
    shown = "" if len(pictures) == units else f"the first {len(pictures)} of "
    return _titled(ax, f"Weights of {shown}{_counted(units, 'unit')}")


def _first_weights(net: Sequential, images: Array, names: Sequence[str], ax: Axes) -> None:
    """Draw the weights of the first units of a network that takes such images; units of the last Linear are classes."""
    if not isinstance(net.layers[0], Linear):
        raise UndrawableError(f"layer 0, {net.layers[0]!r}, is not Linear", "give the number of a Linear layer")
    _, *shape = _pictures(images[:1], "the inputs are", least=_LEAST).shape
    if len(shape) != 2:
        raise UndrawableError("the inputs are pictures in colour", "")
    classes = len(names) == net.outputs and sum(isinstance(layer, Linear) for layer in net.layers) == 1
    _weight_images(net, 0, _COLUMNS, ax, (shape[0], shape[1]), names[:_COLUMNS] if classes else ())


def _ink(images: Array, captions: Sequence[str], ax: Axes | None, least: int = 1) -> Axes:
    """Draw images as dark ink on white, all on one scale: 0 to 255 for bytes, otherwise 0 to the largest intensity."""
    pictures = _pictures(images, "each image is", "reshape the images to (n, height, width)", least)
    low, high = (0, 255) if pictures.dtype == np.uint8 else (pictures.min(initial=0), pictures.max(initial=0))
    if pictures.ndim == 4:  # matplotlib takes colours from 0 to 1
        pictures = (pictures - low) / ((high - low) or 1)
    return _tiles(pictures, captions, ax, cmap="gray_r", vmin=low, vmax=high)


def _tiles(pictures: Array, captions: Sequence[str], ax: Axes | None, **style: Any) -> Axes:
    """Draw small pictures row by row, each with its caption above. The longer side of each picture is 1."""
    lines = [caption.split("\n") for caption in captions] or [[""]]
    high = 1.3 * max(map(len, lines)) + 0.4  # of a caption and the gap above it, in font sizes
    wide = max(map(_width, itertools.chain(*lines))) + 0.9
    letters = plt.rcParams["font.size"]
    most = _COLUMNS if ax is not None or letters * wide < _PAGE / _COLUMNS else _COLUMNS // 2
    columns = min(max(len(pictures), 1), most)
    rows = max(math.ceil(len(pictures) / columns), 1)
    longest = max(pictures.shape[1:3])
    height, width = (max(side / longest, 0.2) for side in pictures.shape[1:3])  # a thin strip would not be seen
    if ax is None:
        across = _PAGE / most  # of a picture with its caption, in points
        down = 0.88 * across * height + letters * high
        ax = _axes(ax, across * columns / 72 + 0.4, down * rows / 72 + 0.5)
    else:
        box = _check_axes(ax).get_window_extent()
        across, down = np.array([box.width / columns, box.height / rows]) * 72 / ax.figure.dpi
    size = min(letters, across / wide, down / 2 / high)
    scale = min(across / 1.15, (down - size * high) / height)
    step, above = max(1.15, size * wide / scale), size * high / scale
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = (i % most + 0.5) * step, -(i // most) * (height + above)
        extent = (x - width / 2, x + width / 2, y, y + height)
        ax.imshow(picture, extent=extent, interpolation="nearest", **style)
        ax.text(x, y + height + 0.04, caption, ha="center", va="bottom", fontsize=size, parse_math=False)
    ax.axis((0.5 * step - 0.5, (columns - 0.5) * step + 0.5, (1 - rows) * (height + above), height + above))
    ax.set_anchor("W")
    ax.axis("off")
    return ax


def _width(text: str) -> float:
    """Return the width of a line of text, in font sizes."""
    width: float = TextToPath().get_text_width_height_descent(text, FontProperties(size=100), ismath=False)[0]
    return width / 100


def _pictures(images: Array, what: str, remedy: str = "", least: int = 1) -> Array:
    """Return images in the shape (n, height, width), or (n, height, width, 3) for colours.

    Flattened images become squares if they have at least `least` pixels.
    """
    shape, pixels = images.shape[1:], math.prod(images.shape[1:])
    side = math.isqrt(pixels)
    if len(shape) == 1 and side * side == pixels >= least:
        shape = (side, side)
    elif len(shape) == 3 and (shape[0] == 1) != (shape[2] in (1, 3)):
        shape = shape[1:] if shape[0] == 1 else shape if shape[2] == 3 else shape[:2]
    elif len(shape) != 2:
        size = " x ".join(map(str, shape)) or "1"
        raise UndrawableError(f"{what} {size} numbers, not a picture", f"if the numbers are pixels, {remedy}")
    return images.reshape(len(images), *shape)


def _at_least_one(count: int) -> int:
    """Return the number of pictures to show; ValueError if it is not a whole number of at least 1."""
    if not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(f"count must be a whole number of at least 1, got {count!r}")
    return count
