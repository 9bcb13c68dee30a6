import base64
import copy
import itertools
import math
import re
import struct
import sys
import textwrap
import types

import hypothesis.strategies as st
import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.contour import ContourSet
from scipy.special import expit

import numnet as nn
from numnet.plotting import (
    _levels,
    activations_and_derivatives,
    confusion_matrix,
    cost_surface,
    learning_curves,
    live_curves,
    mistakes,
    report,
    sample_images,
    saturated,
    saturation,
    weight_images,
)

from .devices import DEVICES, place
from .networks import backpropagated

train, test = nn.datasets.digits()


@pytest.fixture(autouse=True)
def clean():
    """Start without figures; afterwards, find the global style as it was, and close what was made."""
    style = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == style


@pytest.fixture(scope="module")
def run():
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    history = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0).fit(train, 3, 64, test, progress=False)
    return net, history


def constant(*outputs, inputs=4, last=()):
    """Return a network whose outputs are the same for every image."""
    net = nn.Sequential(nn.Linear(inputs, len(outputs)), *last, dtype="float64")
    net.layers[0].weight, net.layers[0].bias = 0, outputs
    return net


def history(cost, train, test, test_cost=None):
    """Return a History with these columns, of which the last may be missing, as without test data."""
    columns = zip(cost, train, test, test_cost or [math.nan] * len(cost), strict=True)
    return nn.History(nn.Epoch(i, *values, seconds=0.1, test_cost=last) for i, (*values, last) in enumerate(columns, 1))


def neuron(w, b, **options):
    """Return y = sigmoid(w x + b)."""
    net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), **options)
    net.parameters = [w, b]
    return net


def brightness(cmap):
    """Return the luminance of a colour map's colours, linear in light, as a grey print would show them."""
    rgb = cmap(np.linspace(0, 1, 101))[:, :3]
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def forms(labels, classes):
    """Yield class indices in every form in which `fit` takes classes."""
    rows = np.eye(classes)[labels]
    yield from (labels, list(labels), labels.astype(np.uint8), rows, rows.astype(int), 0.9 * rows + 0.1 / classes)
    if classes == 2:
        yield from (labels[:, None], labels.astype(float), 0.2 + 0.6 * labels[:, None], labels.astype(bool))


FASHION = "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"


class Named(nn.datasets.Dataset):
    """A data set whose classes have names."""

    def __init__(self, images, labels, classes):
        super().__init__(images, labels)
        self.classes = tuple(classes)


def differ_in_grey(lines):
    return len({(line.get_marker(), line.get_linestyle()) for line in lines}) == len(lines)


def says(ax):
    return [text.get_text() for text in ax.texts]


def title(ax):
    return ax.get_title(loc="left")


# sample_images


@given(labels=st.lists(st.integers(0, 6), min_size=1, max_size=60), count=st.integers(1, 70))
def test_classes_take_turns(labels, count):
    images = np.arange(len(labels)).repeat(4).reshape(-1, 2, 2)  # each image is its own number
    ax = sample_images((images, np.array(labels)), count)
    shown = [image.get_array()[0, 0] for image in ax.images]
    assert len(set(shown)) == len(shown) == min(count, len(labels))
    assert says(ax) == [str(labels[i]) for i in shown]
    here, there = np.bincount(np.array(labels)[shown], minlength=7), np.bincount(labels, minlength=7)
    assert all(here[c] == there[c] or here[c] >= here.max() - 1 for c in range(7))
    plt.close()


def test_images_of_a_class_are_spread_over_the_data():
    images = np.arange(90).repeat(4).reshape(-1, 2, 2)
    ax = sample_images((images, np.repeat([3, 5, 8], 30)), count=9)  # sorted by class
    assert [image.get_array()[0, 0] for image in ax.images] == [0, 30, 60, 10, 40, 70, 20, 50, 80]
    assert says(ax) == list("358358358")


@pytest.mark.parametrize("flat", [False, True])
def test_sample_images_of_a_dataset(flat):
    data = nn.datasets.Dataset(train.images.reshape(-1, 64), train.labels, "flat") if flat else train
    ax = sample_images(data)
    assert says(ax) == list("0123456789") * 4
    assert {image.get_array().shape for image in ax.images} == {(8, 8)}
    assert title(ax) == f"{'flat' if flat else 'digits train'}: 40 of 1,437 images"
    assert title(sample_images((train.images, train.labels), 7)) == "7 of 1,437 images"


def test_ink_is_dark_on_one_scale():
    images = np.array([0.0, 0.2, 0.8, 0.8]).repeat(4).reshape(4, 2, 2)
    for pictures, ends in (images, (0, 0.8)), ((100 * images).astype(np.uint8), (0, 255)), (images - 0.2, (-0.2, 0.6)):
        ax = sample_images((pictures, np.arange(4)))
        np.testing.assert_allclose([image.get_clim() for image in ax.images], [ends] * 4)
        assert (np.diff(brightness(ax.images[0].get_cmap())) <= 0).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (train.images, "Dataset or a pair of arrays"),
        ((train.images, train.labels[:9]), r"one target for each image, got images \(1437, 8, 8\) and targets \(9,\)"),
        ((train.images[:0], train.labels[:0]), "at least one image"),
        ((train.images, np.array(5)), r"one target for each image, .* targets \(\)"),
        ((train, test), "one Dataset, got a pair"),
        (
            (train.images, np.eye(10)[train.labels] + np.eye(10)[(train.labels + 1) % 10]),
            "the targets are no classes: give class indices or one-hot",
        ),
        (
            (train.images, train.labels / 2),
            r"numbers from 0 to 4.5, not classes: .* np\.unique\(t, return_inverse=True\)",
        ),
        ((train.images, train.labels.astype(str)), "class indices and must be integers, got dtype <U"),
        ((np.zeros(3), np.zeros(3, int)), "each image is 1 numbers, not a picture"),
        (
            (np.zeros((3, 13)), np.zeros(3, int)),
            r"13 numbers, not a picture: if .* pixels, reshape the images to \(n, height",
        ),
        ((np.zeros((3, 2, 5, 2)), np.zeros(3, int)), "2 x 5 x 2 numbers, not a picture"),
        ((np.zeros((3, 1, 5, 1)), np.zeros(3, int)), "1 x 5 x 1 numbers, not a picture"),  # 1 x 5 or 5 x 1
        ((np.zeros((3, 1, 5, 3)), np.zeros(3, int)), "1 x 5 x 3 numbers, not a picture"),  # 5 x 3, or 1 x 5 in colour
    ],
)
def test_sample_images_refuses(data, message):
    with pytest.raises(ValueError, match=message):
        sample_images(data)
    assert not plt.get_fignums()


@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=9), classes=st.integers(2, 5), data=st.data())
def test_targets_are_taken_in_every_form_of_fit(labels, classes, data):
    labels = np.minimum(labels, classes - 1)
    images = np.arange(len(labels)).repeat(4).reshape(-1, 2, 2)
    expected, *others = forms(labels, classes)
    expected, ax = (sample_images((images, t), 7) for t in (expected, data.draw(st.sampled_from(others))))
    assert says(ax) == says(expected)
    np.testing.assert_array_equal([i.get_array() for i in ax.images], [i.get_array() for i in expected.images])
    plt.close("all")


@given(height=st.integers(2, 40), width=st.integers(2, 40), form=st.sampled_from(["plain", "last", "first", "colours"]))
def test_images_are_taken_in_every_form(height, width, form):
    shape = {"plain": (), "last": (1,), "colours": (3,), "first": ()}[form]
    images = np.random.default_rng(0).integers(256, size=(4, height, width, *shape), dtype=np.uint8)
    given = images[:, None] if form == "first" else images
    if form == "first" and width == 3:
        return  # 1 x height x 3 could be a picture in colour
    ax = sample_images((given, np.arange(4)))
    for image, wanted in zip(ax.images, images.squeeze() if form == "last" else images, strict=True):
        np.testing.assert_array_equal(image.get_array(), wanted / 255 if form == "colours" else wanted)
        left, right, bottom, top = image.get_extent()
        assert max(right - left, top - bottom) == pytest.approx(1)
        if max(height, width) < 5 * min(height, width):
            assert (right - left) / (top - bottom) == pytest.approx(width / height)
    plt.close()


def test_colours_of_other_numbers_are_on_one_scale():
    images = np.linspace(-2, 3, 24).reshape(2, 2, 2, 3)
    shown = np.array([image.get_array() for image in sample_images((images, [0, 1])).images])
    np.testing.assert_allclose(shown, (images + 2) / 5)


def test_classes_are_shown_by_name():
    images = np.zeros((4, 2, 2))
    data = Named(images, np.array([0, 1, 2, 3]), ["$a$", "a" * 12, "b" * 12 + "c"])  # the last class has no name
    ax = sample_images(data)
    assert says(ax) == ["$a$", "a" * 12, "bbbbbb…bbbbc", "3"]
    assert not any(text.get_parse_math() for text in ax.texts)
    assert says(sample_images((images, [-1, 1, 1, -1]))) == ["-1", "1", "-1", "1"]
    assert title(sample_images((images[:1], [0]))) == "1 of 1 image"


@pytest.mark.slow
@given(names=st.lists(st.text("ab", min_size=1, max_size=40), min_size=2, max_size=9, unique=True), own=st.booleans())
def test_different_names_stay_different(names, own):
    data = Named(np.zeros((len(names), 2, 2)), np.arange(len(names)), names)
    shown = says(sample_images(data))
    assert len(set(shown)) == len(names)
    assert max(map(len, shown)) <= 12
    ax = confusion_matrix(constant(*range(len(names))), data, None if own else plt.subplots()[1])
    for axis in ax.xaxis, ax.yaxis:
        assert len({text.get_text() for text in axis.get_ticklabels()}) == len(names)
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("names", [FASHION, "0123456789", [f"Product group {c}" for c in "ABCDEFGWOM"]])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("draw", [sample_images, lambda data, **ax: mistakes(constant(*range(10)), data, 25, **ax)])
def test_nothing_overlaps_in_a_picture_of_images(names, own, draw):
    data = Named(np.random.default_rng(0).random((40, 2, 2)), np.arange(40) % 10, names)
    ax = draw(data, ax=None if own else plt.subplots()[1])
    ax.figure.draw_without_rendering()
    captions, pictures = ([a.get_window_extent() for a in artists] for artists in (ax.texts, ax.images))
    boxes = [*captions, ax._left_title.get_window_extent()]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert not any(a.overlaps(b) for a, b in itertools.product(boxes, pictures))


# learning_curves


def test_one_run_shows_accuracies_and_costs():
    h = history([0.3, 0.2], [0.8, 0.9], [0.85, 0.7], [0.4, 0.5])
    ax = learning_curves(h)
    (right,) = (other for other in ax.figure.axes if other is not ax)
    lines = [*ax.lines, *right.lines]
    for line, column in zip(lines, (h.test_accuracy, h.train_accuracy, h.test_cost, h.train_cost), strict=True):
        np.testing.assert_array_equal(line.get_data(), (h.epoch, column))
    assert len(right.lines) == 2
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-.", ":"]
    assert differ_in_grey(lines)
    legend = [text.get_text() for text in right.get_legend().get_texts()]
    assert legend == ["test accuracy", "training accuracy", "test cost", "training cost"]
    assert (ax.get_xlabel(), ax.get_ylabel(), right.get_ylabel()) == ("epoch", "accuracy", "cost")
    assert ax.yaxis.get_major_formatter()(0.925) == "92.5 %"


@pytest.mark.parametrize("epochs", [1, 3, 60])
def test_ticks_are_whole_epochs(epochs):
    ax = learning_curves(history(*np.full((3, epochs), 0.5)))
    low, high = ax.get_xlim()
    shown = [tick for tick in ax.get_xticks() if low <= tick <= high]
    assert shown
    assert all(tick == round(tick) for tick in shown)
    assert not any(tick % 5 for tick in shown if epochs == 60)
    assert min(shown) >= 1
    assert low < 1


def test_the_legend_covers_no_curve():
    rng = np.random.default_rng(0)
    left = learning_curves(history(*rng.random((4, 30)).tolist()))
    _, right = left.figure.axes
    left.figure.draw_without_rendering()
    legend, frame = right.get_legend().get_window_extent(), left.get_window_extent()
    assert not legend.overlaps(frame)
    assert not legend.overlaps(left._left_title.get_window_extent())


def test_what_was_not_recorded_is_left_out():
    ax = learning_curves(history([0.3, 0.2], [0.8, 0.9], [math.nan] * 2))
    assert [line.get_label() for line in ax.lines] == ["training accuracy"]
    assert len(ax.figure.axes) == 2
    ax = learning_curves(history([0.3, 0.2], [math.nan] * 2, [math.nan] * 2))
    assert [line.get_label() for line in ax.lines] == ["training cost"]
    assert ax.get_ylabel() == "cost"
    assert len(ax.figure.axes) == 1
    ax = learning_curves(history([0.3, 0.2], [math.nan] * 2, [math.nan] * 2, [0.4, 0.3]))  # a regression
    assert [line.get_label() for line in ax.lines] == ["test cost", "training cost"]
    assert ax.get_ylabel() == "cost"
    assert "%" not in ax.yaxis.get_major_formatter()(0.5)
    assert len(ax.figure.axes) == 1


@pytest.mark.parametrize(
    "columns",
    [([0.3], [0.8], [0.9], [0.4]), ([0.3], [0.9], [0.8], [0.2]), ([0.3], [math.nan], [math.nan], [0.2])],
)
def test_every_point_of_a_single_epoch_is_seen(columns):
    figure = learning_curves(history(*columns)).figure
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3] / 255
    for line in itertools.chain(*(ax.lines for ax in figure.axes)):
        x, y = line.axes.transData.transform(line.get_xydata()[0]).astype(int)
        np.testing.assert_allclose(pixels[y, x], mpl.colors.to_rgb(line.get_color()), atol=0.1)


def test_comparison_shows_the_test_accuracy_of_each_run():
    a, b = history([1, 1], [0.1, 0.2], [0.3, 0.4]), history([1, 1, 1], [0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
    ax = learning_curves({"a": a, "b": b})
    assert ax.figure.axes == [ax]
    assert [line.get_label() for line in ax.lines] == ["a", "b"]
    assert [list(line.get_ydata()) for line in ax.lines] == [a.test_accuracy, b.test_accuracy]
    assert ax.get_ylabel() == "test accuracy"


def test_comparison_uses_what_all_runs_have():
    nan = [math.nan]
    with_test, without, regression = history([1], [0.1], [0.3]), history([2], [0.2], nan), history([3], nan, nan)
    ax = learning_curves({"a": with_test, "b": without})
    assert [list(line.get_ydata()) for line in ax.lines] == [[0.1], [0.2]]
    assert ax.get_ylabel() == "training accuracy"
    ax = learning_curves({"a": with_test, "b": without, "c": regression})
    assert [list(line.get_ydata()) for line in ax.lines] == [[1], [2], [3]]
    assert ax.get_ylabel() == "training cost"
    ax = learning_curves({"c": regression, "d": history([1], nan, nan, [4])})
    assert ax.get_ylabel() == "training cost"
    ax = learning_curves({"d": history([1], nan, nan, [4]), "e": history([1], [0.1], [0.2], [5])})
    assert [list(line.get_ydata()) for line in ax.lines] == [[4], [5]]
    assert ax.get_ylabel() == "test cost"


def test_many_runs_look_different():
    ax = learning_curves({str(i): history([1], [0.1], [0.3]) for i in range(20)})
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 20
    assert all(a.get_marker() != b.get_marker() for a, b in itertools.pairwise(ax.lines))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (nn.History(), r"at least one epoch.*got epochs: 0\. Train with trainer\.fit"),
        ({"a": history([1], [1], [1]), "b": nn.History()}, "got epochs: a 1, b 0"),
        ({}, "no history"),
        (history([math.nan], [math.nan], [math.nan]), "one column"),
        ([0.5, 0.6], r"must be a History.*got \[0.5, 0.6\]"),
        ({"a": [0.5, 0.6]}, "must be a History"),
    ],
)
def test_learning_curves_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        learning_curves(given)
    assert not plt.get_fignums()


# weight_images


def test_each_picture_is_a_column_of_the_weight(run):
    net, _ = run
    ax = weight_images(net)
    assert says(ax) == list("0123456789")
    for image, column in zip(ax.images, net.layers[0].weight.T, strict=True):
        np.testing.assert_array_equal(image.get_array().ravel(), column)
    assert title(ax) == "Weights of 10 units"


def test_pictures_stand_below_their_numbers_in_rows_of_ten(run):
    net = nn.Sequential(nn.Linear(4, 12))
    ax = weight_images(net)
    boxes = [image.get_extent() for image in ax.images]
    assert len({(left, bottom) for left, _, bottom, _ in boxes}) == 12
    assert len({bottom for _, _, bottom, _ in boxes[:10]}) == 1
    assert [box[0] for box in boxes[10:]] == [box[0] for box in boxes[:2]]
    assert boxes[10][3] < boxes[0][2]
    for text, (left, right, _, top) in zip(ax.texts, boxes, strict=True):
        assert left < text.get_position()[0] < right
        assert top < text.get_position()[1] < top + 0.1


def test_colours_are_one_scale_symmetric_about_zero(run):
    net, _ = run
    ax = weight_images(net)
    ((low, high),) = {image.get_clim() for image in ax.images}
    assert low == -high
    assert np.mean(np.abs(net.layers[0].weight) <= high) == pytest.approx(0.99, abs=0.005)
    for image in ax.images:
        assert (np.diff(brightness(image.get_cmap())) > 0).all()  # the sign of a weight is seen in grey


def test_weights_of_zero_are_in_the_middle_of_the_scale():
    assert weight_images(constant(0, 0)).images[0].get_clim() == (-1, 1)


def test_weight_images_of_another_layer_and_some_units():
    net = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 120), seed=0)
    ax = weight_images(net, layer=2, count=3)
    assert says(ax) == ["0", "1", "2"]
    np.testing.assert_array_equal(ax.images[2].get_array().ravel(), net.layers[2].weight[:, 2])
    assert title(ax) == "Weights of the first 3 of 120 units"
    assert len(weight_images(net, layer=2).images) == 100


@pytest.mark.parametrize("layer", [1, 3, -1, "0"])
def test_weight_images_refuses_what_is_no_linear_layer(layer):
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    with pytest.raises(ValueError, match=rf"Linear layer of the network, one of \[0, 2\], got {layer!r}"):
        weight_images(net, layer)


def test_weight_images_refuses_inputs_that_are_no_square():
    with pytest.raises(
        ValueError, match=r"inputs of layer 0 are 5 numbers, not a picture: .* give shape=\(height, width\)"
    ):
        weight_images(nn.Sequential(nn.Linear(5, 2)))
    assert not plt.get_fignums()


@pytest.mark.slow
def test_weight_images_of_a_rectangle():
    net = nn.Sequential(nn.Linear(600, 12), seed=0)
    ax = weight_images(net, shape=(20, 30))
    for image, column in zip(ax.images, net.layers[0].weight.T, strict=True):
        np.testing.assert_array_equal(image.get_array(), column.reshape(20, 30))
    left, right, bottom, top = ax.images[0].get_extent()
    assert (top - bottom) / (right - left) == pytest.approx(2 / 3)
    for shape in (20, 30), (5, 120), (120, 5):  # the scale is no higher than what is drawn
        ax = weight_images(net, shape=shape)
        (scale,) = ax.child_axes
        assert scale.get_window_extent().height <= ax.get_window_extent().height


@pytest.mark.parametrize("shape", [(20, 20), (600,), 600, (-20, -30), (20.0, 30.0), (20, 10, 3), "ab"])
def test_weight_images_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"shape must be .* the product is the 600 inputs of layer 0, got "):
        weight_images(nn.Sequential(nn.Linear(600, 2)), shape=shape)
    assert not plt.get_fignums()


@pytest.mark.parametrize("count", [0, -1, 2.5])
def test_count_is_a_whole_number(run, count):
    draws = (
        lambda: weight_images(run[0], count=count),
        lambda: mistakes(run[0], test, count),
        lambda: sample_images(test, count),
    )
    for draw in draws:
        with pytest.raises(ValueError, match=f"count must be a whole number of at least 1, got {count}"):
            draw()


# confusion_matrix


def test_confusion_matrix_counts_every_image(run):
    net, _ = run
    ax = confusion_matrix(net, test)
    expected = np.zeros((10, 10), int)
    for true, predicted in zip(test.labels, net.predict(test.images), strict=True):
        expected[true, predicted] += 1
    drawn = np.zeros((10, 10), int)
    for text in ax.texts:
        column, row = text.get_position()
        drawn[row, column] = int(text.get_text())
    np.testing.assert_array_equal(drawn, expected)
    assert drawn.sum() == len(test)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert title(ax) == "Confusion matrix of 360 samples"
    assert list(ax.get_xticks()) == list(ax.get_yticks()) == list(range(10))


def test_shade_is_the_share_of_the_row_but_on_the_diagonal():
    net = constant(0, 1, 0)  # always says 1
    ax = confusion_matrix(net, (np.zeros((5, 4)), [0, 1, 1, 0, 1]))
    (image,) = ax.images
    shades = image.get_array()
    np.testing.assert_array_equal(shades.mask, np.eye(3, dtype=bool))
    np.testing.assert_array_equal(shades.filled(0), [[0, 1, 0], [0, 0, 0], [0, 0, 0]])  # no image of class 2
    assert image.get_clim() == (0, 1)
    assert dict(zip(says(ax), (text.get_color() for text in ax.texts), strict=True)) == {"2": "white", "3": "0.45"}


def test_darkest_shade_is_the_most_frequent_mistake(run):
    (image,) = confusion_matrix(run[0], test).images
    assert image.get_clim() == (0, image.get_array().max())
    assert image.get_clim()[1] < 0.5


def test_many_classes_are_not_all_labelled():
    ax = confusion_matrix(constant(*range(47)), (np.zeros((5, 4)), [0, 1, 2, 3, 46]))
    assert list(ax.get_xticks()) == list(ax.get_yticks()) == list(range(0, 47, 3))
    assert len(ax.texts) == 5


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "each"), [(3, 10_000), (26, 100), (200, 1)])
@pytest.mark.parametrize("own", [False, True])
def test_counts_can_be_read_or_are_left_out(classes, each, own):
    labels = np.arange(classes).repeat(each)
    data = Named(np.zeros((len(labels), 1, 1)), labels, [f"Product group {i}" for i in range(classes)])
    net = constant(*range(classes), inputs=1)
    ax = confusion_matrix(net, data, None if own else plt.subplots()[1])
    ax.figure.draw_without_rendering()
    cell = ax.get_window_extent().width / classes
    for text in ax.texts:
        assert text.get_fontsize() >= 5
        assert text.get_window_extent().width < cell
    assert bool(ax.texts) is (classes < 200)


def test_confusion_matrix_without_mistakes():
    ax = confusion_matrix(constant(0, 1), (np.zeros((5, 4)), [1] * 5))
    assert says(ax) == ["5"]
    assert ax.images[0].get_clim() == (0, 1)


def test_one_output_stands_for_two_classes():
    x = np.array([[1.0], [1.0], [-1.0]])
    net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), dtype="float64")
    net.layers[0].weight, net.layers[0].bias = 2, 0
    ax = confusion_matrix(net, (x, [1, 0, 0]))
    assert {text.get_position(): text.get_text() for text in ax.texts} == {(0, 0): "1", (1, 0): "1", (1, 1): "1"}
    assert set(says(mistakes(net, (x, [1, 0, 1])))) == {"0 taken for 1\n88.1 %", "1 taken for 0\n88.1 %"}


def test_a_tanh_stands_for_minus_one_and_one():
    x = np.array([[1.0], [0.5], [-1.0], [0.0]])
    net = nn.Sequential(nn.Linear(1, 1), nn.Tanh(), dtype="float64")
    net.layers[0].weight, net.layers[0].bias = 1, 0
    for t in [1, -1, 1, -1], [1.0, -1.0, 1.0, -1.0], [[1], [-1], [1], [-1]]:
        ax = confusion_matrix(net, (x, t))
        assert {text.get_position(): text.get_text() for text in ax.texts} == dict.fromkeys(np.ndindex(2, 2), "1")
        assert [text.get_text() for text in ax.get_xticklabels()] == ["-1", "1"]
        assert says(mistakes(net, (x, t))) == ["1 taken for -1\n0.76", "-1 taken for 1\n0.46"]
    figure = report(net, history([1], [0.5], [0.5]), (x, t))
    assert figure._suptitle.get_text() == "1 → 1, 1 epoch: test accuracy 50 %"
    assert figure.axes[1].images


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 10])
def test_answers_are_judged_by_targets_in_every_form_of_fit(classes):
    data = test.images, np.minimum(test.labels, classes - 1)
    ends = [(classes, nn.Softmax())] + ([(1, nn.Sigmoid())] if classes == 2 else [])
    for outputs, end in ends:
        net = nn.Sequential(nn.Linear(64, outputs), end, seed=0)
        for draw in confusion_matrix, mistakes:
            expected = says(draw(net, data))
            for t in forms(data[1], classes):
                t = np.asarray(t)
                if t.shape[1:] in ((), (outputs,)) and (outputs == 1 or t.ndim == 2 or t.dtype.kind in "iu"):
                    assert says(draw(net, (test.images, t))) == expected
                    plt.close("all")


@pytest.mark.parametrize("draw", [confusion_matrix, mistakes])
@pytest.mark.parametrize("end", [(), (nn.Tanh(),)])
def test_a_network_of_one_number_has_no_classes(draw, end):
    net = constant(0, inputs=64, last=copy.deepcopy(end))
    last = repr(net.layers[-1]).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(
        ValueError, match=rf"not classes, since its last layer is {last}: compare net\(x\) with the targets"
    ):
        draw(net, (test.images, test.labels / 9))
    assert not plt.get_fignums()


def labels_of_ticks(ax):
    """Return the texts and the boxes of the ticks of both axes, after drawing."""
    ax.figure.draw_without_rendering()
    for axis in ax.xaxis, ax.yaxis:
        shown = axis.get_ticklabels()
        yield [text.get_text() for text in shown], shown


@pytest.mark.slow
@pytest.mark.parametrize("page", [False, True])
@pytest.mark.parametrize(
    "names",
    [FASHION, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", [f"{c} is long $x$" for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"], ("no", "yes")],
    ids=["fashion", "letters", "long", "two"],
)
def test_ticks_are_names_that_do_not_overlap(names, page):
    data = Named(test.images, test.labels % len(names), names)
    net = nn.Sequential(nn.Linear(64, len(names)), nn.Softmax(), seed=0)
    ax = report(net, history([1], [0.1], [0.2]), data).axes[1] if page else confusion_matrix(net, data)
    for texts, labels in labels_of_ticks(ax):
        assert texts == [name.replace("long", "l…g") if page and len(name) > 12 else name for name in names]
        angle = labels[0].get_rotation()
        if angle == 45:  # upright boxes overlap, so compare the distance of neighbouring lines of text
            step = ax.get_window_extent().width / len(names) * math.sqrt(0.5)
            assert step > labels[0].get_fontsize() * ax.figure.dpi / 72
        else:
            boxes = [label.get_window_extent() for label in labels]
            assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
        assert not any(label.get_parse_math() for label in labels)


def test_mistakes_are_captioned_by_name():
    x = np.zeros((3, 2, 2))
    ax = mistakes(constant(0, 1), Named(x, np.array([0, 0, 1]), ["no", "yes"]))
    assert says(ax) == ["no taken for yes\n1.00"] * 2
    ax = mistakes(constant(0, 1), Named(x, np.array([0, 1, 1]), ["Ankle boot", "Sneaker"]))
    assert says(ax) == ["Ankle boot\ntaken for\nSneaker\n1.00"]
    assert not ax.texts[0].get_parse_math()


# mistakes


@pytest.mark.parametrize("flat", [False, True])
def test_mistakes_are_the_most_confident_wrong_answers(run, flat):
    net, _ = run
    ax = mistakes(net, (test.images.reshape(360, 64), test.labels) if flat else test, count=7)
    y = net(test.images)
    wrong = [i for i in range(360) if y[i].argmax() != test.labels[i]]
    wrong.sort(key=lambda i: -y[i].max())
    assert says(ax) == [f"{test.labels[i]} taken for {y[i].argmax()}\n{100 * y[i].max():.1f} %" for i in wrong[:7]]
    for image, i in zip(ax.images, wrong[:7], strict=True):
        np.testing.assert_array_equal(image.get_array(), test.images[i])
    assert title(ax) == f"Most confident mistakes: 7 of {len(wrong)}"


def test_fewer_mistakes_than_asked_for():
    ax = mistakes(constant(0, 1), (np.zeros((3, 2, 2)), [1, 0, 1]))
    assert says(ax) == ["0 taken for 1\n1.00"]  # a Linear output is no probability
    assert title(ax) == "Most confident mistakes: 1 of 1"


def test_no_mistakes():
    ax = mistakes(constant(0, 1), (np.zeros((3, 2, 2)), [1, 1, 1]))
    assert not ax.images
    assert title(ax) == "No mistakes"
    ax.figure.draw_without_rendering()


def test_mistakes_shows_rectangles_and_refuses_rows_that_are_no_square():
    images = np.arange(48.0).reshape(3, 2, 8)
    ax = mistakes(constant(0, 1, inputs=16), (images, [1, 0, 1]))
    np.testing.assert_array_equal(ax.images[0].get_array(), images[1])
    plt.close()
    with pytest.raises(ValueError, match=r"each image is 5 numbers, not a picture"):
        mistakes(constant(0, 1, inputs=5), (np.zeros((3, 5)), [0, 0, 0]))
    assert not plt.get_fignums()


@pytest.mark.parametrize("draw", [confusion_matrix, mistakes])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (test.images, "Dataset or a pair of arrays"),
        ((test.images, test.labels[:9]), r"one target for each image, got images \(360, 8, 8\) and targets \(9,\)"),
        ((test.images[:0], test.labels[:0]), "at least one image"),
        ((test.images, np.where(test.labels == 3, 10, test.labels)), "from 0 to 9 for .*10 outputs, but .* is 10"),
        ((test.images, test.labels / 2), "must be integers"),
        ((test.images, np.eye(9)[test.labels % 9]), r"rows of shape \(n, 10\) for 10 outputs, got shape \(360, 9\)"),
        (
            (test.images, np.eye(10)[test.labels] + np.eye(10)[(test.labels + 1) % 10]),
            "the targets are no classes: give class indices or one-hot rows",
        ),
        ((np.zeros((2, 28, 28)), [0, 1]), "64 features"),
    ],
)
def test_data_that_does_not_fit_is_refused(run, draw, data, message):
    with pytest.raises(ValueError, match=message):
        draw(run[0], data)
    assert not plt.get_fignums()


# live_curves


def trainer_of_digits():
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)


@pytest.mark.parametrize("own", [False, True])
def test_live_curves_are_those_of_the_history_so_far(own):
    ax = plt.subplots()[1] if own else None
    seen = []

    def look(trainer):
        (number,) = plt.get_fignums()
        left, right = plt.figure(number).axes  # one scale at the right, after any number of epochs
        assert own is (left is ax)
        assert [list(line.get_ydata()) for line in (*left.lines, *right.lines)] == [
            trainer.history.test_accuracy,
            trainer.history.train_accuracy,
            trainer.history.test_cost,
            trainer.history.train_cost,
        ]
        seen.append(len(trainer.history))

    trainer = trainer_of_digits()
    callbacks = [live_curves(ax), look]
    trainer.fit(train, 3, 64, test, callbacks, progress=False)
    trainer.fit(train, 2, 64, test, callbacks, progress=False)
    assert seen == [1, 2, 3, 4, 5]


def test_live_curves_leave_the_other_axes_of_a_figure():
    figure, (left, right) = plt.subplots(1, 2)
    right.plot([1, 2])
    twin = right.twinx()
    trainer_of_digits().fit(train, 2, 64, test, [live_curves(left)], progress=False)
    assert figure.axes[:3] == [left, right, twin]
    assert len(figure.axes) == 4
    assert len(right.lines) == 1


def test_each_callback_has_a_figure_of_its_own():
    for run in 1, 2:
        trainer_of_digits().fit(train, 1, 64, callbacks=[live_curves()], progress=False)
        assert len(plt.get_fignums()) == run


@pytest.fixture
def window(monkeypatch):
    """A backend with windows, as matplotlib loads any; return the list of what it was asked to do."""
    done = []

    class Window(FigureManagerBase):
        def show(self):
            done.append("show")

    class Canvas(FigureCanvasAgg):
        required_interactive_framework = "headless"
        manager_class = Window

        def draw(self):
            super().draw()
            (line, *_) = self.figure.axes[0].lines
            done.append(f"draw {len(line.get_xdata())}")

        def flush_events(self):
            done.append("flush")

    module = types.ModuleType("a_window")
    module.FigureCanvas, module.FigureManager = Canvas, Window
    monkeypatch.setitem(sys.modules, "a_window", module)
    before = plt.get_backend()
    plt.switch_backend("module://a_window")
    yield done
    plt.close("all")
    plt.switch_backend(before)


def test_a_window_is_shown_once_and_redrawn(window):
    trainer_of_digits().fit(train, 3, 64, test, [live_curves()], progress=False)
    assert window == ["show", "draw 1", "flush", "draw 2", "flush", "draw 3", "flush"]


@pytest.mark.slow
def test_training_goes_on_when_the_window_is_closed(window):
    def close(trainer):
        if len(trainer.history) == 2:
            plt.close()

    trainer = trainer_of_digits()
    trainer.fit(train, 4, 64, test, [live_curves(), close], progress=False)
    assert len(trainer.history) == 4
    assert window[-2:] == ["draw 2", "flush"]
    assert not plt.get_fignums()


@pytest.mark.slow
def test_a_notebook_shows_one_picture_and_updates_it(monkeypatch):
    import nbclient
    import nbformat

    monkeypatch.delenv("MPLBACKEND", raising=False)  # a notebook's own
    start = """
        import matplotlib.pyplot as plt
        import numnet as nn
        train, test = nn.datasets.digits()
        def fit(ax=None):
            net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
            trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
            trainer.fit(train, 3, 64, test, [nn.plotting.live_curves(ax)], progress=False)
    """
    cells = [textwrap.dedent(start), "fit()", "figure, ax = plt.subplots()\nfit(ax)", "plt.get_fignums()"]
    sent = []

    class Client(nbclient.NotebookClient):
        def process_message(self, message, cell, index):
            data, transient = (message["content"].get(name, {}) for name in ("data", "transient"))
            if message["msg_type"] not in ("status", "execute_input"):
                sent.append((index, message["msg_type"], transient.get("display_id"), data.get("image/png")))
            return super().process_message(message, cell, index)

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    Client(notebook, kernel_name="python3").execute()
    for index in 1, 2:
        kinds, displays, pictures = zip(*(rest for at, *rest in sent if at == index), strict=True)
        assert kinds == ("display_data", "update_display_data", "update_display_data")
        assert len(set(displays)) == 1
        assert len(set(pictures)) == 3
        if index == 1:  # all of one size, in a PNG's header, or what is below would jump
            sizes = {struct.unpack(">II", base64.b64decode(picture)[16:24]) for picture in pictures}
            assert sizes == {(640, 400)}
        (output,) = notebook.cells[index].outputs
        assert output.data["image/png"].strip() == pictures[-1].strip()
    assert notebook.cells[3].outputs[0].data["text/plain"] == "[]"


# activations_and_derivatives


class Leaky(nn.Layer):
    """y = x, or a x where x < 0, with a trained."""

    def __init__(self, slope):
        self.parameters = {"slope": np.array([slope])}

    def forward(self, x, out=None):
        self.x = x
        return np.multiply(x, np.where(x < 0, self.parameters["slope"], 1), out=out)

    def backward(self, grad, out=None):
        self.gradients["slope"][0] = np.sum(grad * np.minimum(self.x, 0))
        return np.multiply(grad, np.where(self.x < 0, self.parameters["slope"], 1), out=out)


class Centred(nn.Layer):
    """y = x less the mean of the batch."""

    def forward(self, x, out=None):
        return np.subtract(x, x.mean(axis=0), out=out)


class Scaled(nn.Layer):
    """Each feature times a factor of its own."""

    def __init__(self, *factors):
        self.inputs = len(factors)
        self.parameters = {"factors": np.array(factors)}

    def forward(self, x, out=None):
        return np.multiply(x, self.parameters["factors"], out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, self.parameters["factors"], out=out)


def test_each_activation_with_its_derivative():
    ax = activations_and_derivatives()
    x = np.linspace(-6, 6, 601)
    expected = [expit(x), expit(x) * expit(-x), np.tanh(x), 1 / np.cosh(x) ** 2, np.maximum(x, 0), x > 0]
    for i, (line, values) in enumerate(zip(ax.lines, expected, strict=True)):
        np.testing.assert_array_equal(line.get_xdata(), x)
        np.testing.assert_allclose(line.get_ydata(), values, rtol=1e-9, atol=1e-12)
        assert line.get_linestyle() == ("--" if i % 2 else "-")
    names = ["Sigmoid()", "Sigmoid(), dy/dx", "Tanh()", "Tanh(), dy/dx", "ReLU()", "ReLU(), dy/dx"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == names
    assert differ_in_grey(ax.lines)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y (solid) and dy/dx (dashed)")


@pytest.mark.parametrize(("factor", "low", "high"), [(1, -1, 2), (10, -10, 10), (0.1, -0.1, 2)])
def test_what_levels_off_is_whole_and_what_does_not_leaves_the_frame(factor, low, high):
    class Slow(nn.Sigmoid):  # from -factor to factor
        def forward(self, x, out=None):
            return factor * (2 * super().forward(x) - 1)

        def backward(self, grad, out=None):
            return factor * 2 * super().backward(grad)

    bottom, top = activations_and_derivatives([Slow(), nn.ReLU()]).get_ylim()
    assert low - 0.06 * (high - low) < bottom < low * 0.99
    assert high * 0.99 < top < high + 0.06 * (high - low)


@pytest.mark.parametrize("device", DEVICES)
def test_layers_of_a_network_are_left_as_they_are(device):
    net = nn.Sequential(nn.Linear(3, 4), Leaky(0.25), nn.Tanh(), nn.Linear(4, 2), nn.Softmax(), seed=0, device=device)
    x = place(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32), device)
    pair = nn.CrossEntropy().pair(net.layers)
    t = place(np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 1]], device)
    backpropagated(net, pair, x, t)
    parameters, gradients = (nn.backend.to(v, "cpu").copy() for v in (net.parameters, net.gradients))
    before = [(layer, dict(vars(layer))) for layer in net.layers]
    ax = activations_and_derivatives(net.layers[1:3])
    np.testing.assert_allclose(
        ax.lines[0].get_ydata(), np.where(ax.lines[0].get_xdata() < 0, 0.25, 1) * ax.lines[0].get_xdata()
    )
    assert set(ax.lines[1].get_ydata()) == {0.25, 1}
    np.testing.assert_array_equal(nn.backend.to(net.parameters, "cpu"), parameters)
    np.testing.assert_array_equal(nn.backend.to(net.gradients, "cpu"), gradients)
    for layer, state in before:
        assert vars(layer).keys() == state.keys()
        assert all(vars(layer)[name] is state[name] for name in state)


def test_a_layer_with_parameters_needs_no_network():
    layer = Leaky(0.5)
    assert set(activations_and_derivatives([layer]).lines[1].get_ydata()) == {0.5, 1}
    assert not layer.gradients


def test_a_layer_with_one_factor_for_all_features_is_elementwise():
    ax = activations_and_derivatives([Scaled(3.0, 3.0, 3.0)])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 3 * ax.lines[0].get_xdata())


class Constant(nn.Layer):
    def __init__(self, value):
        self.value = value

    def forward(self, x, out=None):
        return np.full_like(x, self.value)

    def backward(self, grad, out=None):
        return np.full_like(grad, self.value)


def test_a_layer_that_gives_one_number_has_a_flat_curve_and_one_that_gives_none_is_refused():
    ax = activations_and_derivatives([Constant(0.0)])
    assert ax.get_ylim() == (-1, 1)
    before = plt.get_fignums()
    with pytest.raises(ValueError, match=r"Constant\(\): no y or dy/dx is finite"):
        activations_and_derivatives([Constant(np.nan)])
    assert plt.get_fignums() == before


LINEAR = [nn.Linear(*sizes) for sizes in ((3, 3), (3, 2), (2, 1), (1, 2))]


@pytest.mark.parametrize("layer", [nn.Softmax(), *LINEAR, Centred(), Scaled(1.0, 2.0)])
def test_a_layer_that_is_not_elementwise_is_refused(layer):
    with pytest.raises(ValueError, match=rf"{re.escape(repr(layer))} is not elementwise"):
        activations_and_derivatives([nn.Sigmoid(), layer])
    assert not plt.get_fignums()


@pytest.mark.parametrize("layers", [[], nn.Sigmoid(), [nn.Sigmoid], "Sigmoid"])
def test_activations_refuse_what_are_no_layers(layers):
    with pytest.raises(ValueError, match="layers must be a list of layers"):
        activations_and_derivatives(layers)


# cost_surface


def contours(ax):
    """Return levels and corners of the lines between the colours."""
    sets = [artist for artist in ax.collections if isinstance(artist, ContourSet) and not artist.filled]
    return [
        (level, path.vertices) for lines in sets for level, path in zip(lines.levels, lines.get_paths(), strict=True)
    ]


def quadratic(z):
    return expit(z) ** 2 / 2


def cross_entropy(z):
    return np.logaddexp(0, z)


def test_contour_lines_lie_where_the_cost_is():
    figure = cost_surface(neuron(2, 2), [[0.5]], [0.0], width=6)
    for ax, cost in zip(figure.axes[:2], (quadratic, cross_entropy), strict=True):
        assert len(contours(ax)) > 6
        for level, corners in contours(ax):
            np.testing.assert_allclose(cost(corners @ [0.5, 1]), level, rtol=0.03, atol=0.002)
            assert corners.min() >= -4
            assert corners.max() <= 8


def test_the_plateau_is_the_quadratic_costs_alone():
    figure = cost_surface(neuron(4, 4), [[1.0]], [0.0], width=6)
    heights = [sorted(corners.sum(axis=1).mean() for _, corners in contours(ax)) for ax in figure.axes[:2]]
    assert heights[0][-1] < 4  # z = w + b goes on to 20 without a line
    assert heights[1][-3:] == pytest.approx([5, 10, 20], abs=0.01)  # E = ln(1 + e^z) is nearly z


def test_levels_are_like_those_of_coins_or_evenly_spaced():
    """Costs that are all alike, or negative, have no use for powers of ten."""
    for high in 0.03, 0.5, 1.0, 7.0, 2000.0:
        for low in 0.0, high / 1e6, high / 200:
            levels, extend = _levels(low, high)
            assert extend == "min"
            assert levels[-1] == high
            assert max(low, high / 1000) < levels[0] <= 2.5 * max(low, high / 1000)
            assert all(f"{level:.0e}"[0] in "125" for level in levels[:-1])
            ratios = levels[1:-1] / levels[:-2]
            assert set(ratios.round(9)) <= {2, 2.5}
    for low, high in (0.5, 5.0), (-1.0, 1.0), (0.0, 0.0), (3.0, 3.0):
        levels, extend = _levels(low, high)
        assert extend == "neither"
        assert levels[0] <= low <= high <= levels[-1]
        np.testing.assert_allclose(np.diff(levels), levels[1] - levels[0])


def test_panels_are_named_and_marked():
    net = neuron(2, -1)
    figure = cost_surface(net, [[1.0], [2.0]], [0, 1])
    panels = figure.axes[:2]
    assert [title(ax) for ax in panels] == ["Quadratic()", "CrossEntropy()"]
    for ax, cost in zip(panels, (nn.Quadratic(), nn.CrossEntropy()), strict=True):
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("layer 0 weight[0, 0]", "layer 0 bias[0]")
        assert (*ax.get_xlim(), *ax.get_ylim()) == pytest.approx((-6, 10, -9, 7))
        (point,) = ax.lines
        assert [*point.get_xdata(), *point.get_ydata()] == [2, -1]
        (text,) = ax.get_legend().get_texts()
        assert text.get_text() == f"the network: E = {cost(net([[1.0], [2.0]]), [[0], [1]]):.3g}"
        (filled,) = (artist for artist in ax.collections if isinstance(artist, ContourSet) and artist.filled)
        assert (np.diff(brightness(filled.get_cmap())) > 0).all()
        (bar,) = ax.child_axes
        assert bar.get_ylabel() == "E"


def test_entries_are_named_by_layer():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1), dtype="float64", seed=0)
    net.parameters = values = np.arange(9) / 10
    for i in range(0, 9):
        figure = cost_surface(net, [[1.0, 2.0]], [0.0], [nn.Quadratic()], ((i + 1) % 9, i), width=1)
        ax = figure.axes[0]
        for entry, name in ((i + 1) % 9, ax.get_xlabel()), (i, ax.get_ylabel()):
            layer, array, place = re.fullmatch(r"layer (\d) (weight|bias)\[([\d, ]+)\]", name).groups()
            found = net.layers[int(layer)].parameters[array][tuple(map(int, place.split(", ")))]
            assert found == values[entry]


@pytest.mark.parametrize("device", DEVICES)
def test_the_network_is_left_alone_wherever_it_is(device):
    x, t = train.images[:20], train.labels[:20]
    surfaces = []
    for where in "cpu", device:
        net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0, device=where)
        before = nn.backend.to(net.parameters, "cpu").copy()
        figure = cost_surface(net, place(x, where), place(t, where), parameters=(204, 213))
        surfaces.append([contours(ax) for ax in figure.axes[:2]])
        assert (net.device, net.dtype) == (where, np.float32)
        np.testing.assert_array_equal(nn.backend.to(net.parameters, "cpu"), before)
    for on_cpu, elsewhere in zip(*(itertools.chain(*surface) for surface in surfaces), strict=True):
        assert on_cpu[0] == elsewhere[0]
        np.testing.assert_array_equal(on_cpu[1], elsewhere[1])


def test_a_flat_cost_has_no_lines():
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    figure = cost_surface(net, train.images[:5], train.labels[:5])  # the first pixel is always 0
    assert [contours(ax) for ax in figure.axes[:2]] == [[], []]
    figure.draw_without_rendering()


def test_cost_surface_draws_where_told():
    figure, (left, right) = plt.subplots(1, 2)
    net = neuron(1, 1)
    assert cost_surface(net, [[1.0]], [0], [nn.Quadratic()], ax=right) is figure
    assert title(right) == "Quadratic()"
    assert not left.has_data()
    assert cost_surface(net, [[1.0]], [0], ax=(right, left)) is figure
    assert (title(left), title(right)) == ("CrossEntropy()", "Quadratic()")
    assert plt.get_fignums() == [figure.number]
    assert cost_surface(net, [[1.0]], [0], ax=plt.subplots(1, 2)[1]).number == figure.number + 1
    alone = cost_surface(net, [[1.0]], [0], (nn.CrossEntropy(),))
    assert title(alone.axes[0]) == "CrossEntropy()"
    assert alone.number == figure.number + 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"net": nn.Linear(1, 1)}, "net must be a Sequential, got Linear"),
        ({"net": nn.Sequential(nn.Linear(1, 2))}, "CrossEntropy needs probabilities"),
        ({"x": [[1.0, 2.0]]}, r"cost_surface: .* 1 features a sample, got \(1, 2\)"),
        ({"t": [0, 1]}, "cost_surface: one target for each"),
        ({"t": [2.0]}, "cost_surface: targets must be numbers that the last layer, Sigmoid.., can give"),
        ({"costs": []}, r"costs must be a list of costs, .* got \[\]"),
        ({"costs": nn.Quadratic()}, r"costs must be a list of costs, .* got Quadratic\(\)"),
        ({"parameters": (0, 0)}, r"two different entries of net.parameters, from 0 to 1, got \(0, 0\)"),
        ({"parameters": (0, 2)}, "from 0 to 1"),
        ({"parameters": (-1, 0)}, "from 0 to 1"),
        ({"parameters": (0, 1, 2)}, "two different entries"),
        ({"parameters": (0, 1.0)}, "two different entries"),
        ({"parameters": 1}, "two different entries"),
        ({"width": 0}, "width must be a positive number, got 0"),
        ({"width": math.nan}, "width must be a positive number"),
        ({"width": math.inf}, "width must be a positive number"),
    ],
)
def test_cost_surface_refuses(options, message):
    given = {"net": neuron(1, 1), "x": [[1.0]], "t": [0.0], **options}
    with pytest.raises(ValueError, match=message):
        cost_surface(**given)
    assert not plt.get_fignums()


def test_cost_surface_refuses_what_is_infinite():
    net = nn.Sequential(nn.Linear(1, 1), seed=0)
    with pytest.raises(ValueError, match=r"Quadratic\(\) is not finite everywhere within the width"):
        cost_surface(net, [[1.0]], [0.0], [nn.Quadratic()], width=1e200)
    assert not plt.get_fignums()


def test_cost_surface_refuses_other_numbers_of_axes():
    figure, axes = plt.subplots(1, 3)
    for ax in axes, axes[0], []:
        with pytest.raises(ValueError, match="one Axes for each of the 2 costs, got"):
            cost_surface(neuron(1, 1), [[1.0]], [0], ax=ax)
    for ax in figure, [figure, axes[0]], axes[None]:
        with pytest.raises(ValueError, match="ax must be matplotlib Axes"):
            cost_surface(neuron(1, 1), [[1.0]], [0], ax=ax)
    assert not any(ax.has_data() for ax in axes)


# saturated, saturation


@pytest.mark.parametrize("device", DEVICES)
def test_saturated_counts_outputs_of_all_samples_and_units(device):
    layers = nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5), nn.Softmax()
    net = nn.Sequential(*layers, seed=0)
    net.parameters = 8 * net.parameters
    x = np.random.default_rng(0).normal(size=(10_000, 2))  # more than go through the network at a time
    y = expit(x @ net.layers[0].weight + net.layers[0].bias)
    first = np.mean((y > (1 + math.sqrt(0.96)) / 2) | (y < (1 - math.sqrt(0.96)) / 2))  # y (1 - y) = 0.01
    p = net(x)
    last = np.mean(p * (1 - p) < 0.01)
    net.to(device)
    kept = [dict(vars(layer)) for layer in net.layers]
    shares = saturated(net, x)
    assert list(shares) == ["layer 1, Sigmoid()", "layer 5, Softmax()"]
    assert list(shares.values()) == pytest.approx([first, last], abs=1e-4)
    assert 0.1 < first < 0.9
    assert all(vars(layer) == state for layer, state in zip(net.layers, kept, strict=True))


def test_threshold_of_saturation():
    x = [[-9.0], [0.0], [1.0], [9.0]]  # y (1 - y) is 0.0001, 0.25, 0.197, 0.0001
    net = neuron(1, 0)
    for threshold, share in (1e-5, 0), (0.001, 0.5), (0.2, 0.75), (0.25, 0.75):
        assert saturated(net, x, threshold) == {"layer 1, Sigmoid()": share}


@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_saturated_refuses_what_has_diverged(weight):
    with pytest.raises(ValueError, match=r"outputs of layer 1, Sigmoid\(\) are not all finite"):
        saturated(neuron(weight, 0), [[0.0], [1.0]])


def test_saturated_takes_images_as_the_network_does(run):
    assert saturated(run[0], test.images) == saturated(run[0], test.images.reshape(-1, 64) / np.float32(255))


@pytest.mark.parametrize(
    ("net", "x", "threshold", "message"),
    [
        (nn.Sequential(nn.Linear(1, 1), nn.Tanh()), [[1.0]], 0.01, "no layer of the network has probabilities"),
        (neuron(1, 0), [[1.0, 2.0]], 0.01, "1 features a sample"),
        (neuron(1, 0), np.zeros((0, 1)), 0.01, "at least one sample"),
        (neuron(1, 0), [[1.0]], 0, "threshold must be above 0 and at most 1/4, .*got 0"),
        (neuron(1, 0), [[1.0]], 0.3, "got 0.3"),
        (neuron(1, 0), [[1.0]], math.nan, "got nan"),
        (nn.Trainer(neuron(1, 0), nn.Quadratic(), nn.SGD(lr=1)), [[1.0]], 0.01, "got Trainer: give trainer.net"),
    ],
)
def test_saturated_refuses(net, x, threshold, message):
    with pytest.raises(ValueError, match=message):
        saturated(net, x, threshold)


def test_saturation_has_a_line_for_each_layer():
    shares = [
        {"layer 1, Sigmoid()": 0.0, "layer 3, Softmax()": 0.1},
        {"layer 3, Softmax()": 0.9, "layer 1, Sigmoid()": 0.3},
    ]
    ax = saturation(shares)
    assert [line.get_label() for line in ax.lines] == ["layer 1, Sigmoid()", "layer 3, Softmax()"]
    assert [list(line.get_xdata()) for line in ax.lines] == [[0, 1], [0, 1]]
    assert [list(line.get_ydata()) for line in ax.lines] == [[0, 0.3], [0.1, 0.9]]
    assert differ_in_grey(ax.lines)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "saturated share of outputs")
    assert ax.get_ylim()[0] == 0
    assert ax.yaxis.get_major_formatter()(0.5) == "50 %"
    assert all(tick == round(tick) for tick in ax.get_xticks())


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ([], "at least one entry, .* got none"),
        ([{}], "at least one entry"),
        ([{"a": 0.1}, {"b": 0.1}], r"the same layers, got \['a'\]; \['b'\]"),
        ({"a": 0.1}, "a list of what saturated"),
        ([0.1], "a list of what saturated"),
    ],
)
def test_saturation_refuses(shares, message):
    with pytest.raises(ValueError, match=message):
        saturation(shares)
    assert not plt.get_fignums()


# report, and all


def test_report_puts_all_on_one_page(run):
    net, h = run
    figure = report(net, h, test)
    curves, matrix, weights, worst, _ = figure.axes
    np.testing.assert_array_equal(curves.lines[0].get_ydata(), h.test_accuracy)
    assert sum(map(int, says(matrix))) == 360
    assert says(weights) == list("0123456789")
    assert says(report(net, h, Named(test.images, test.labels, FASHION)).axes[2]) == list(FASHION)
    assert says(worst) == says(mistakes(net, test))
    assert figure._suptitle.get_text() == f"64 → 10, 3 epochs: test accuracy {round(100 * h.test_accuracy[-1], 2):g} %"
    assert report(net, h, test, title="digits")._suptitle.get_text() == "digits"


def test_report_shows_ten_units_of_a_hidden_layer():
    net = nn.Sequential(nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Softmax(), seed=0)
    figure = report(net, history([1], [0.1], [0.2]), Named(test.images, test.labels, FASHION))
    assert says(figure.axes[2]) == list("0123456789")  # these units are no classes
    assert title(figure.axes[2]) == "Weights of the first 10 of 30 units"
    assert figure._suptitle.get_text().startswith("64 → 30 → 10, 1 epoch")


X, ONE, THREE = np.random.default_rng(0).normal(size=(50, 64)), np.arange(50) / 50, np.arange(50) % 3
NUMBER = "the network gives a number, not classes, since its last layer is Linear({}, 1)"
NONE = "the targets are no classes"
INPUTS, EACH = "the inputs are {} numbers, not a picture", "each image is {} numbers, not a picture"


@pytest.mark.parametrize(
    ("x", "t", "outputs", "matrix", "weights", "worst"),
    [
        (X[:, :13], THREE, 3, None, INPUTS.format(13), EACH.format(13)),
        (X[:, :16], THREE, 3, None, INPUTS.format(16), EACH.format(16)),  # a table, though 16 = 4 x 4
        (X[:, :16].reshape(50, 4, 4), THREE, 3, None, None, None),
        (X[:, :25], THREE, 3, None, None, None),
        (X[:, :36].reshape(50, 3, 4, 3), THREE, 3, None, "the inputs are pictures in colour", None),
        (X[:, :13], ONE, 1, NUMBER.format(13), INPUTS.format(13), NUMBER.format(13)),
        (X, ONE, 1, NUMBER.format(64), None, NUMBER.format(64)),
        (X, X[:, :2], 2, NONE, None, NONE),
    ],
)
def test_what_cannot_be_drawn_is_left_out_and_said(x, t, outputs, matrix, weights, worst):
    net = nn.Sequential(nn.Linear(x[0].size, outputs), *([nn.Softmax()] if outputs == 3 else []), seed=0)
    figure = report(net, history([0.3], [0.1], [0.2]), (x, t))
    reasons = {"confusion matrix": matrix, "weight images": weights, "pictures of mistakes": worst}
    for (name, why), ax in zip(reasons.items(), figure.axes[1:4], strict=True):
        if why is None:
            assert ax.images
        elif name == "confusion matrix":  # a regression
            points, diagonal = (line.get_xydata() for line in ax.lines)
            np.testing.assert_allclose(points, np.stack([np.ravel(t), net(x).ravel()], axis=1), rtol=1e-6)
            np.testing.assert_array_equal(diagonal, np.array([[np.min(t)] * 2, [np.max(t)] * 2]))
            assert (ax.get_xlabel(), ax.get_ylabel()) == ("target", "output")
        else:
            assert " ".join(says(ax)[0].split()) == f"No {name}: {why}"
            assert not ax.images
            assert not ax.axison
    assert figure._suptitle.get_text().startswith(f"{x[0].size} → {outputs}, 1 epoch: t")
    assert ("accuracy" in figure._suptitle.get_text()) is (matrix is None)


def test_a_first_layer_without_weights_is_left_out_and_said():
    net = nn.Sequential(nn.ReLU(), nn.Linear(64, 10), nn.Softmax(), seed=0)
    _, matrix, weights, worst, _ = report(net, history([0.3], [0.1], [0.2]), test).axes
    assert says(weights) == ["No weight images: layer 0, ReLU(), is not Linear"]
    assert matrix.images
    assert worst.images


@pytest.mark.parametrize(("test_cost", "says"), [(0.25, "test cost 0.25"), (math.nan, "training cost 0.3")])
def test_the_title_of_a_regression_has_its_cost(test_cost, says):
    h = history([0.3], [math.nan], [math.nan], [test_cost])
    figure = report(nn.Sequential(nn.Linear(64, 1)), h, (test.images, test.labels / 9))
    assert figure._suptitle.get_text() == f"64 → 1, 1 epoch: {says}"


def test_a_report_asks_the_network_once(run, monkeypatch):
    net, h = run
    calls = []
    monkeypatch.setattr(
        nn.Sequential, "infer", lambda *args, infer=nn.Sequential.infer: calls.append(1) or infer(*args)
    )
    report(net, h, test)
    assert calls == [1]


PAGES = {
    "8 x 8": (test.images, test.labels),
    "28 x 28": (np.kron(test.images, np.ones((1, 4, 4), np.uint8))[:, 2:-2, 2:-2], test.labels),
    "names": Named(test.images, test.labels, FASHION),
    "long names": Named(test.images, test.labels, [f"{c} is a long name" for c in "ABCDEFGHIJ"]),
    "wide": (test.images.repeat(3, axis=2), test.labels),
    "tall": (test.images.repeat(3, axis=1), test.labels),
    "table": (test.images.reshape(-1, 64)[:, :13], test.labels),
}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_nothing_on_the_page_overlaps(run, page):
    data = PAGES[page]
    images = data[0] if isinstance(data, tuple) else data.images
    net = nn.Sequential(nn.Linear(images[0].size, 10), nn.Softmax(), seed=0)
    figure = report(net, run[1], data)
    figure.draw_without_rendering()
    assert tuple(figure.bbox.size) == (1600, 900)
    panels = [ax.get_tightbbox() for ax in figure.axes[:4]] + [figure._suptitle.get_window_extent()]
    for box in panels:
        assert 0 <= box.x0 < box.x1 <= 1600
        assert 0 <= box.y0 < box.y1 <= 900
    assert not any(a.overlaps(b) for a, b in itertools.combinations(panels, 2))
    for ax in figure.axes[2:4]:
        captions = [text.get_window_extent() for text in ax.texts]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(captions, 2))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"history": nn.History()}, "at least one epoch"),
        ({"net": nn.Linear(64, 10)}, "net must be a Sequential, got Linear"),
        ({"test": test.images}, "Dataset or a pair"),
        ({"test": (test.images, test.labels[:9])}, "one target for each image"),
        ({"test": (test.images, test.labels + 1)}, "class indices must be from 0 to 9"),
        ({"test": (test.images[:, 1:], test.labels)}, "64 features"),
        ({"test": (test.images[:, 1:], test.labels), "net": nn.Sequential(nn.Linear(64, 1))}, "64 features"),
    ],
)
def test_a_report_that_cannot_be_made_leaves_no_figure_open(run, wrong, message):
    with pytest.raises(ValueError, match=message):
        report(**{"net": run[0], "history": run[1], "test": test} | wrong)
    assert not plt.get_fignums()


def test_report_can_be_saved(run, tmp_path):
    report(*run, test).savefig(tmp_path / "report.png")
    assert plt.imread(tmp_path / "report.png").shape == (900, 1600, 4)


ONE_AXES = [
    lambda net, h, **ax: sample_images(test, **ax),
    lambda net, h, **ax: learning_curves(h, **ax),
    lambda net, h, **ax: weight_images(net, **ax),
    lambda net, h, **ax: confusion_matrix(net, test, **ax),
    lambda net, h, **ax: mistakes(net, test, **ax),
    lambda net, h, **ax: activations_and_derivatives(**ax),
    lambda net, h, **ax: saturation([saturated(net, test.images)] * 3, **ax),
]


def smallest(figure, width):
    """Return the size of the smallest letters in pixels, where a figure is at most so many pixels wide."""
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(mpl.text.Text) if text.get_text().strip() and text.get_visible()]
    pixels = min(width, figure.bbox.width) / figure.bbox.width * figure.dpi / 72
    return min(text.get_fontsize() for text in texts if text.get_window_extent().width) * pixels


@pytest.mark.parametrize(
    "draw",
    [
        *ONE_AXES,
        lambda net, h: sample_images(Named(test.images, test.labels, FASHION)),
        lambda net, h: mistakes(net, Named(test.images, test.labels, FASHION)),
        lambda net, h: cost_surface(neuron(1, 1), [[1.0]], [0.0]).axes[0],
    ],
)
def test_letters_can_be_read_on_a_page_and_on_a_phone(run, draw):
    figure = draw(*run).figure
    assert smallest(figure, 736) >= 8
    assert smallest(figure, 360) >= 6.5


def test_letters_of_a_report_can_be_read_on_a_page(run):
    assert smallest(report(*run, test), 736) >= 8


@pytest.mark.parametrize("draw", ONE_AXES)
def test_draws_where_told_or_else_into_a_new_figure(run, draw):
    figure, (left, right) = plt.subplots(1, 2)
    assert draw(*run, ax=right) is right
    assert plt.get_fignums() == [figure.number]
    assert not left.has_data()
    assert draw(*run).figure is not figure
    assert len(plt.get_fignums()) == 2


@pytest.mark.parametrize("draw", [*ONE_AXES, lambda net, h, **ax: live_curves(**ax)])
def test_ax_must_be_axes(run, draw):
    figure, axes = plt.subplots(1, 2)
    for ax in figure, axes:
        with pytest.raises(ValueError, match=f"ax must be matplotlib Axes, .*got {type(ax).__name__}"):
            draw(*run, ax=ax)
    assert not any(ax.has_data() for ax in axes)


def test_a_trainer_is_no_network(run):
    trainer = trainer_of_digits()
    for draw in weight_images, lambda net: confusion_matrix(net, test), lambda net: mistakes(net, test):
        with pytest.raises(ValueError, match=r"net must be a Sequential, got Trainer: give trainer\.net"):
            draw(trainer)
    assert not plt.get_fignums()


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_networks_and_data_may_be_on_a_gpu(run, device):
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    expected = [weight_images(net), confusion_matrix(net, test), mistakes(net, test), sample_images(test)]
    net.to(device)
    data = place(test.images, device), place(test.labels, device)
    found = [weight_images(net), confusion_matrix(net, test), mistakes(net, test), sample_images(data)]
    for a, b in zip(expected, found, strict=True):
        assert says(a) == says(b)
        for left, right in zip(a.images, b.images, strict=True):
            np.testing.assert_array_equal(left.get_array(), right.get_array())


def test_a_matrix_of_too_many_classes_is_refused_and_its_mistakes_can_be_counted():
    net = nn.Sequential(nn.Linear(4, 2000), nn.Softmax(), seed=0)
    x = np.random.default_rng(0).normal(size=(50, 4))
    t = net.predict(x)
    t[:7] = 1999 - t[:7]
    with pytest.raises(ValueError, match=r"^a matrix of 2,000 x 2,000 classes has no room on a picture") as error:
        confusion_matrix(net, (x, t))
    found = {"np": np, "net": net, "x": x, "t": t}
    exec(re.search(r"pairs, counts = .*?True\)", str(error.value)).group(), found)
    true, predicted = found["pairs"]
    assert found["counts"].sum() == 50
    assert found["counts"][true != predicted].sum() == 7
    history = nn.History([nn.Epoch(1, 0.5, 0.5, 0.5, 0.1, 0.5)])
    figure = report(net, history, (x, t))
    texts = [text.get_text().replace("\n", " ") for ax in figure.axes for text in ax.texts]
    assert sum("No confusion matrix: a matrix of 2,000 x 2,000 classes has no room" in text for text in texts) == 1
    assert "test accuracy 86 %" in figure.get_suptitle()


def test_a_matrix_of_a_thousand_classes_is_drawn():
    net = nn.Sequential(nn.Linear(4, 1000), nn.Softmax(), seed=0)
    ax = confusion_matrix(net, (np.ones((3, 4)), [0, 1, 999]))
    assert ax.images[0].get_array().shape == (1000, 1000)
