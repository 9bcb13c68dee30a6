"""What a notebook shows: read back by parsers that we did not write."""

import base64
import io
import math
import re
import struct
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib.image
import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import numnet as nn
from numnet.notebook import in_notebook

IN_A_KERNEL = """
import numnet as nn
from numnet.notebook import in_notebook
x, t = [[0.0], [1.0]], [0, 1]
net = nn.Sequential(nn.Linear(1, 2), nn.Softmax())
nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1)).fit((x, t), 2, 1)
print(in_notebook())
"""

values = st.floats(-1e300, 1e300) | st.just(math.nan) | st.just(math.inf)


def parsed(shown):
    """Return the HTML, which is also well-formed XML, as a tree."""
    return ElementTree.fromstring(f"<div>{shown._repr_html_()}</div>")


def cells(tree):
    return [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]


def pictures(tree):
    """Return the images of a tree as grey values from 0 to 255, decoded by matplotlib (Pillow)."""
    sources = [image.get("src").removeprefix("data:image/png;base64,") for image in tree.iter("img")]
    files = [base64.b64decode(source) for source in sources]
    for file in files:  # what not every reader minds
        width, height, *kind = struct.unpack(">II5B", file[16:29])
        assert kind == [8, 0, 0, 0, 0]  # grey, of 8 bits; there is no other compression and filter
        (size,) = struct.unpack(">I", file[33:37])
        assert (file[37:41], file[45 + size :]) == (b"IDAT", b"\0\0\0\0IEND\xaeB`\x82")
        assert len(zlib.decompress(file[41 : 41 + size])) == height * (1 + width)
    return [(matplotlib.image.imread(io.BytesIO(file)) * 255).round() for file in files]


@given(st.lists(st.tuples(values, values, values, st.floats(0, 1e6), values), min_size=1, max_size=30))
def test_a_history_shows_every_finite_number_as_a_point_within_its_panel(rows):
    history = nn.History(nn.Epoch(i, *row) for i, row in enumerate(rows, 1))
    tree = parsed(history)
    wanted = {
        "test accuracy": history.test_accuracy,
        "training accuracy": history.train_accuracy,
        "training cost": history.train_cost,
        "test cost": history.test_cost,
    }
    shown = {}
    for panel in tree.iter("svg"):
        names = [text.text for text in panel.iter("text") if text.text in wanted]
        for name, line in zip(names, panel.iter("polyline"), strict=True):
            points = np.array([point.split(",") for point in line.get("points").split()], float)
            shown[name] = points
            assert (points >= 0).all()
            assert (points <= [float(panel.get("width")), float(panel.get("height"))]).all()
    finite = {name: np.isfinite(column).sum() for name, column in wanted.items() if np.isfinite(column).any()}
    assert {name: len(points) for name, points in shown.items()} == finite
    assert set(cells(tree)[0]) == {"epoch", "seconds", *finite}


def test_a_history_curve_is_its_column():
    accuracy = [0.25, 0.5, 0.75]
    tree = parsed(nn.History(nn.Epoch(i, 1 / i, math.nan, a, 0.1) for i, a in enumerate(accuracy, 1)))
    line, cost = tree.iter("polyline")
    x, y = np.array([point.split(",") for point in line.get("points").split()], float).T
    np.testing.assert_allclose(np.diff(x), x[1] - x[0])
    np.testing.assert_allclose(np.diff(y), y[1] - y[0], atol=0.11)
    assert y[0] > y[-1]  # upwards is less in SVG
    down = np.array([point.split(",") for point in cost.get("points").split()], float)[:, 1]
    assert down[0] < down[1] < down[2]
    texts = [text.text for text in tree.iter("text")]
    assert {"25.00 %", "75.00 %", "1", "0.3333", "epochs 1 to 3"} <= set(texts)
    assert next(tree.iter("svg")).get("aria-label") == "test accuracy 75.00 % after epoch 3"
    assert cells(tree)[2] == ["2", "0.5", "50.00 %", "0.10"]


# The curves of three epochs, to the pixel: from 58 to 258 by epoch, and from 130 (the lowest) up to 40 (the highest).
ACCURACIES = """
<svg role="img" aria-label="test accuracy 100.00 %, training accuracy 75.00 % after epoch 3" width="270" height="156" \
font-family="sans-serif" font-size="12" fill="currentColor">
<polyline points="58.0,100.0 158.0,70.0 258.0,40.0" fill="none" stroke-width="2" stroke="#0072B2"/>
<path d="M58 8h26" fill="none" stroke-width="2" stroke="#0072B2"/>
<text x="90" y="12">test accuracy</text>
<polyline points="58.0,130.0 158.0,100.0 258.0,70.0" fill="none" stroke-width="2" stroke="#D55E00" \
stroke-dasharray="6 3"/>
<path d="M58 23h26" fill="none" stroke-width="2" stroke="#D55E00" stroke-dasharray="6 3"/>
<text x="90" y="27">training accuracy</text>
<text x="52" y="130" text-anchor="end" dominant-baseline="middle">25.00 %</text>
<path d="M58 130H258" stroke="currentColor" stroke-opacity="0.25"/>
<text x="52" y="40" text-anchor="end" dominant-baseline="middle">100.00 %</text>
<path d="M58 40H258" stroke="currentColor" stroke-opacity="0.25"/>
<text x="158" y="148" text-anchor="middle">epochs 1 to 3</text>
</svg>"""
COSTS = """
<svg role="img" aria-label="test cost nan, training cost 0.5 after epoch 3" width="270" height="156" \
font-family="sans-serif" font-size="12" fill="currentColor">
<polyline points="58.0,40.0 158.0,94.0" fill="none" stroke-width="2" stroke="currentColor" stroke-dasharray="6 3 2 3"/>
<path d="M58 8h26" fill="none" stroke-width="2" stroke="currentColor" stroke-dasharray="6 3 2 3"/>
<text x="90" y="12">test cost</text>
<polyline points="58.0,76.0 158.0,112.0 258.0,130.0" fill="none" stroke-width="2" stroke="#009E73" \
stroke-dasharray="2 3"/>
<path d="M58 23h26" fill="none" stroke-width="2" stroke="#009E73" stroke-dasharray="2 3"/>
<text x="90" y="27">training cost</text>
<text x="52" y="130" text-anchor="end" dominant-baseline="middle">0.5</text>
<path d="M58 130H258" stroke="currentColor" stroke-opacity="0.25"/>
<text x="52" y="40" text-anchor="end" dominant-baseline="middle">3</text>
<path d="M58 40H258" stroke="currentColor" stroke-opacity="0.25"/>
<text x="158" y="148" text-anchor="middle">epochs 1 to 3</text>
</svg>"""


def test_the_curves_of_three_epochs_to_the_pixel():
    rows = [(1, 2.0, 0.25, 0.5, 1.0, 3.0), (2, 1.0, 0.5, 0.75, 2.0, 1.5), (3, 0.5, 0.75, 1.0, 2.0, math.nan)]
    shown = nn.History(nn.Epoch(*row) for row in rows)._repr_html_()
    assert shown.partition("<table>")[0] == (ACCURACIES + COSTS).replace("\n", "")


def test_the_curve_of_a_constant_lies_in_the_middle_between_its_one_line():
    tree = parsed(nn.History(nn.Epoch(i, 2.0, math.nan, math.nan, 1.0) for i in (1, 2)))
    assert next(tree.iter("polyline")).get("points") == "58.0,85.0 258.0,85.0"
    assert [path.get("d") for path in tree.iter("path")] == ["M58 8h26", "M58 85.0H258"]
    assert [text.text for text in tree.iter("text")] == ["training cost", "2", "epochs 1 to 2"]


@pytest.mark.parametrize("other", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_value_that_is_not_finite_does_not_move_the_others(other, place):
    costs = [2.0, 1.0]
    costs.insert(place, other)
    tree = parsed(nn.History(nn.Epoch(i, cost, math.nan, math.nan, 1.0) for i, cost in enumerate(costs, 1)))
    x = ["58.0", "158.0", "258.0"]
    del x[place]
    assert next(tree.iter("polyline")).get("points") == f"{x[0]},40.0 {x[1]},130.0"
    assert [text.text for text in tree.iter("text")] == ["training cost", "1", "2", "epochs 1 to 3"]


def test_a_column_has_a_cell_for_each_epoch():
    nan = math.nan
    history = nn.History([nn.Epoch(1, 0.5, nan, nan, 0.1, nan), nn.Epoch(2, 0.25, 0.75, nan, 0.1, 0.625)])
    assert cells(parsed(history)) == [
        ["epoch", "training cost", "training accuracy", "test cost", "seconds"],
        ["1", "0.5", "", "", "0.10"],
        ["2", "0.25", "75.00 %", "0.625", "0.10"],
    ]
    regression = nn.History([nn.Epoch(1, 0.5, nan, nan, 0.1, 0.625)])
    assert cells(parsed(regression)) == [
        ["epoch", "training cost", "test cost", "seconds"],
        ["1", "0.5", "0.625", "0.10"],
    ]


def test_one_epoch_is_a_point_and_none_a_sentence():
    tree = parsed(nn.History([nn.Epoch(1, 0.5, 0.8, 0.9, 0.1, 0.6)]))
    circles = list(tree.iter("circle"))
    assert {(circle.get("stroke"), circle.get("cx"), circle.get("cy"), circle.get("r")) for circle in circles} == {
        ("#0072B2", "158.0", "40.0", "3"),
        ("#D55E00", "158.0", "130.0", "3"),
        ("currentColor", "158.0", "40.0", "3"),
        ("#009E73", "158.0", "130.0", "3"),
    }
    assert {circle.get("style") for circle in circles} == {"stroke-dasharray: none"}  # dashes would leave a few pixels
    assert "epoch 1" in [text.text for text in tree.iter("text")]
    assert nn.History()._repr_html_() == "<p>History: no epochs yet</p>"


@pytest.mark.parametrize(("epochs", "rows"), [(20, 20), (21, 21), (500, 21)])
def test_a_long_history_shows_its_ends(epochs, rows):
    table = cells(parsed(nn.History(nn.Epoch(i, 1.0, 0.5, 0.5, 0.1) for i in range(1, epochs + 1))))[1:]
    assert len(table) == rows
    ends = [*range(1, 11), *["⋮"] * (epochs > 20), *range(epochs - 9, epochs + 1)]
    assert [row[0] for row in table] == [str(end) for end in ends]


@pytest.mark.parametrize("epochs", [2, 269, 270, 271, 540, 1000, 12_345])
def test_a_curve_goes_from_the_first_epoch_to_about_the_last(epochs):
    history = nn.History(nn.Epoch(i, i / epochs, math.nan, math.nan, 0.1) for i in range(1, epochs + 1))
    (panel,) = parsed(history).iter("svg")
    ((x, y), *_, (last_x, last_y)) = (
        tuple(map(float, point.split(","))) for point in next(panel.iter("polyline")).get("points").split()
    )
    left, right, bottom, top = 58, 258, 130, 40  # the frame
    assert (x, y) == (left, bottom)
    step = 2 * (right - left) / min(epochs, 270) if epochs >= 270 else 0  # not every point is drawn of very many
    assert last_x == pytest.approx(right, abs=step + 0.1)
    assert last_y == pytest.approx(top, abs=step / 2 + 0.1)


def test_a_very_long_history_is_not_a_large_page():
    assert len(nn.History(nn.Epoch(i, 1.0, 0.5, 0.5, 0.1) for i in range(1, 100_001))._repr_html_()) < 30_000


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 5), st.integers(1, 5))),
    st.integers(1, 3),
)
def test_a_data_set_shows_the_first_images_of_each_class(images, classes):
    labels = np.arange(len(images)) % classes
    tree = parsed(nn.datasets.Dataset(images, labels))
    assert cells(tree)[0] == ["class", "images", "the first of them"]
    assert [row[:2] for row in cells(tree)[1:]] == [[str(c), str(n)] for c, n in enumerate(np.bincount(labels))]
    for label, picture in enumerate(pictures(tree)):
        wanted = np.concatenate(list(images[labels == label][:10]), axis=1)
        np.testing.assert_array_equal(255 - picture, wanted)
    for image, (rows, columns) in zip(tree.iter("img"), map(np.shape, pictures(tree)), strict=True):
        assert (image.get("height"), image.get("width")) == ("28", str(round(columns * 28 / rows)))  # not distorted


@pytest.mark.parametrize("kind", ["?", "i1", "u2", "i8", "f2", "f4"])
def test_images_of_any_numbers_are_shown_whole_however_many_they_are(kind):
    images = np.tile(np.eye(8), (500, 1, 1)).astype(kind)
    (picture,) = pictures(parsed(nn.datasets.Dataset(images, np.zeros(500, int))))
    np.testing.assert_array_equal(picture, np.tile(255 * (1 - np.eye(8)), 10))


def test_other_images():
    labels = np.array([3, 3])
    tree = parsed(nn.datasets.Dataset(np.array([[[-1.0, 0.0]], [[np.nan, 1.0]]]), labels, "<b>"))
    np.testing.assert_array_equal(pictures(tree)[0], [[255, 128, 128, 0]])
    assert next(tree.iter("p")).text == "Dataset('<b>', 2 images of 1 x 2, 1 classes)"
    infinite = nn.datasets.Dataset(np.array([[[np.inf, -np.inf, -5.0, 5.0]]]), labels[:1])
    np.testing.assert_array_equal(pictures(parsed(infinite))[0], [[128, 128, 255, 0]])
    flat = parsed(nn.datasets.Dataset(np.zeros((2, 4)), labels))
    assert cells(flat) == [["class", "images"], ["3", "2"]]
    for images in (np.zeros((2, 0, 3)), np.zeros((2, 4, 3), complex), np.zeros((2, 4, 3, 3))):
        assert cells(parsed(nn.datasets.Dataset(images, labels))) == cells(flat)
    for n, last in ((1234, ["and 1,214 more"]), (20, ["19", "1", ""])):
        many = parsed(nn.datasets.Dataset(np.zeros((n, 2, 2)), np.arange(n)))
        assert cells(many)[-1] == last
        assert len(pictures(many)) == 20


def test_a_data_set_shows_the_names_of_its_classes():
    names = ["0", "dress", "<b>", '"', "more"]
    tree = parsed(nn.datasets.Dataset(np.zeros((5, 2, 2)), np.array([0, 1, 2, 3, 3]), classes=names))
    assert [row[:2] for row in cells(tree)[1:]] == [["0", "1"], ["1 dress", "1"], ["2 <b>", "1"], ['3 "', "2"]]
    says = [image.get("alt") for image in tree.iter("img")]
    assert says == ["images of class 0", "images of class 1 dress", "images of class 2 <b>", 'images of class 3 "']


@pytest.mark.parametrize(
    ("module", "found"),
    [
        (None, False),
        (SimpleNamespace(), False),
        (SimpleNamespace(get_ipython=lambda: None), False),
        (SimpleNamespace(get_ipython=SimpleNamespace), False),  # IPython in a terminal
        (SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None)), True),
    ],
)
def test_a_notebook_is_where_ipython_has_a_kernel(module, found, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", module)
    assert in_notebook() is found
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


@pytest.mark.slow
def test_a_kernel_is_known_from_a_process_that_only_has_the_package(monkeypatch):
    import ipykernel.kernelapp  # noqa: F401
    import nbclient

    assert not in_notebook()
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "IPython")
        assert not in_notebook()
    monkeypatch.setenv("PYTHONPATH", str(Path(nn.__file__).parents[1]))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(IN_A_KERNEL)])
    nbclient.NotebookClient(book, kernel_name="python3", timeout=60).execute()
    shown = "".join(output.get("text", "") for output in book.cells[0].outputs)
    assert "True\n" in shown
    assert "100%" in shown
    assert "IProgress" not in shown


@pytest.mark.parametrize("shape", [(1000, 1000), (1, 5000), (5000, 1), (65, 65)])
def test_of_large_images_only_some_pixels_are_shown(shape):
    images = np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)
    shown = nn.datasets.Dataset(images, np.arange(20) % 2)
    step = math.ceil(max(shape) / 64)
    assert len(shown._repr_html_()) < 300_000
    wanted = np.concatenate(list(images[::2, ::step, ::step]), axis=1)
    np.testing.assert_array_equal(255 - pictures(parsed(shown))[0], wanted)


def test_it_is_short_and_self_contained(mnist):
    for shown in (mnist[0], nn.datasets.digits()[0]):
        text = shown._repr_html_()
        assert len(text) < 40_000
        assert not re.search(r"<script|https?://", text)
