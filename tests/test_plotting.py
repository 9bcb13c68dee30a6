import itertools
import math

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

import numnet as nn
from numnet.plotting import confusion_matrix, learning_curves, mistakes, report, weight_images

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


def history(*columns):
    return nn.History(nn.Epoch(i, *values, 0.1) for i, values in enumerate(zip(*columns, strict=True), 1))


def says(ax):
    return [text.get_text() for text in ax.texts]


def title(ax):
    return ax.get_title(loc="left")


# learning_curves


def test_one_run_shows_accuracies_and_cost(run):
    _, h = run
    ax = learning_curves(h)
    (right,) = (other for other in ax.figure.axes if other is not ax)
    solid, dashed = ax.lines
    (cost,) = right.lines
    for line, column in (solid, h.test_accuracy), (dashed, h.train_accuracy), (cost, h.train_cost):
        np.testing.assert_array_equal(line.get_data(), (h.epoch, column))
    assert [line.get_linestyle() for line in (solid, dashed, cost)] == ["-", "--", ":"]
    legend = [text.get_text() for text in right.get_legend().get_texts()]
    assert legend == ["test accuracy", "training accuracy", "training cost"]
    assert (ax.get_xlabel(), ax.get_ylabel(), right.get_ylabel()) == ("epoch", "accuracy", "training cost")
    assert ax.yaxis.get_major_formatter()(0.925) == "92.5 %"


@pytest.mark.parametrize("epochs", [1, 3, 60])
def test_ticks_are_whole_epochs(epochs):
    ax = learning_curves(history(*np.full((3, epochs), 0.5)))
    low, high = ax.get_xlim()
    shown = [tick for tick in ax.get_xticks() if low <= tick <= high]
    assert shown
    assert all(tick == round(tick) for tick in shown)
    assert not any(tick % 5 for tick in shown if epochs == 60)


def test_what_was_not_recorded_is_left_out():
    ax = learning_curves(history([0.3, 0.2], [0.8, 0.9], [math.nan] * 2))
    assert [line.get_label() for line in ax.lines] == ["training accuracy"]
    assert len(ax.figure.axes) == 2
    ax = learning_curves(history([0.3, 0.2], [math.nan] * 2, [math.nan] * 2))
    assert [line.get_label() for line in ax.lines] == ["training cost"]
    assert ax.get_ylabel() == "cost"
    assert len(ax.figure.axes) == 1


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
    assert {image.get_cmap().name for image in ax.images} == {"RdBu_r"}


def test_weights_of_zero_are_white():
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
    with pytest.raises(ValueError, match=r"inputs of layer 0 must be square pictures.*\(5,\)"):
        weight_images(nn.Sequential(nn.Linear(5, 2)))
    assert not plt.get_fignums()


@pytest.mark.parametrize("count", [0, -1, 2.5])
def test_count_is_a_whole_number(run, count):
    for draw in (lambda: weight_images(run[0], count=count), lambda: mistakes(run[0], test, count)):
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
    assert title(ax) == "Confusion matrix of 360 images"
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


@pytest.mark.parametrize("shape", [(3, 2, 8), (3, 8, 2), (3, 16, 1)])
def test_mistakes_refuses_images_that_are_not_square(shape):
    with pytest.raises(ValueError, match=rf"images must be square pictures.*{shape[1]}, {shape[2]}"):
        mistakes(constant(0, 1, inputs=16), (np.zeros(shape), [0, 0, 0]))
    assert not plt.get_fignums()


@pytest.mark.parametrize("draw", [confusion_matrix, mistakes])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (test.images, "Dataset or a pair of arrays"),
        ((test.images, test.labels[:9]), r"one label for each image, got 360 images and labels \(9,\)"),
        ((test.images[:0], test.labels[:0]), "got 0 images"),
        ((test.images, np.where(test.labels == 3, 10, test.labels)), "from 0 to 9 for .*10 outputs, but .* is 10"),
        ((test.images, test.labels / 2), "must be integers"),
        ((np.zeros((2, 28, 28)), [0, 1]), "64 features"),
    ],
)
def test_data_that_does_not_fit_is_refused(run, draw, data, message):
    with pytest.raises(ValueError, match=message):
        draw(run[0], data)
    assert not plt.get_fignums()


# report, and all


def test_report_puts_all_on_one_page(run):
    net, h = run
    figure = report(net, h, test)
    curves, matrix, weights, worst, _ = figure.axes
    np.testing.assert_array_equal(curves.lines[0].get_ydata(), h.test_accuracy)
    assert sum(map(int, says(matrix))) == 360
    assert says(weights) == list("0123456789")
    assert says(worst) == says(mistakes(net, test))
    assert figure._suptitle.get_text() == f"64 → 10, 3 epochs: test accuracy {round(100 * h.test_accuracy[-1], 2):g} %"
    assert report(net, h, test, title="digits")._suptitle.get_text() == "digits"


def test_report_shows_ten_units_of_a_hidden_layer():
    net = nn.Sequential(nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Softmax(), seed=0)
    figure = report(net, history([1], [0.1], [0.2]), test)
    assert title(figure.axes[2]) == "Weights of the first 10 of 30 units"
    assert figure._suptitle.get_text().startswith("64 → 30 → 10, 1 epochs")


@pytest.mark.parametrize("size", [8, 28])
def test_nothing_on_the_page_overlaps(run, size):
    images = np.kron(test.images, np.ones((1, 4, 4), np.uint8))[:, 2:-2, 2:-2] if size == 28 else test.images
    net = nn.Sequential(nn.Linear(size**2, 10), nn.Softmax(), seed=0)
    figure = report(net, run[1], (images, test.labels))
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


def test_report_can_be_saved(run, tmp_path):
    report(*run, test).savefig(tmp_path / "report.png")
    assert plt.imread(tmp_path / "report.png").shape == (900, 1600, 4)


@pytest.mark.parametrize(
    "draw",
    [
        lambda net, h, **ax: learning_curves(h, **ax),
        lambda net, h, **ax: weight_images(net, **ax),
        lambda net, h, **ax: confusion_matrix(net, test, **ax),
        lambda net, h, **ax: mistakes(net, test, **ax),
    ],
)
def test_draws_where_told_or_else_into_a_new_figure(run, draw):
    figure, (left, right) = plt.subplots(1, 2)
    assert draw(*run, ax=right) is right
    assert plt.get_fignums() == [figure.number]
    assert not left.has_data()
    assert draw(*run).figure is not figure
    assert len(plt.get_fignums()) == 2
