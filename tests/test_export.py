"""The page that export_html writes: what is in the file, and what it does in a real browser."""

import base64
import html.parser
import itertools
import json
import math
import os
import re
from functools import partial

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import numnet as nn

from .devices import DEVICES, host
from .networks import meaningful

ACTIVATIONS = [nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Softmax]
DIGITS = nn.datasets.digits()


def network_in(path):
    """Return the JSON in the page."""
    (text,) = re.findall(r'<script type="application/json" id="network">(.*?)</script>', path.read_text("utf-8"), re.S)
    return json.loads(text)


# ---- The file


@st.composite
def networks(draw):
    """Draw a network of built-in layers on square images, its parameters any finite float32 or float64."""
    widths = [draw(st.integers(1, 5)) ** 2, *draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))]
    layers = [kind() for kind in draw(st.lists(st.sampled_from(meaningful(ACTIVATIONS, widths[0])), max_size=1))]
    for inputs, outputs in itertools.pairwise(widths):
        activations = st.lists(st.sampled_from(meaningful(ACTIVATIONS, outputs)))
        layers += [nn.Linear(inputs, outputs, draw(st.booleans())), *(kind() for kind in draw(activations))]
    net = nn.Sequential(*layers, dtype=draw(st.sampled_from(["float32", "float64"])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bits = rng.integers(2**32, size=net.parameters.size, dtype=np.uint32).view(np.float32)
    net.parameters = np.where(np.isfinite(bits), bits, np.float32(-0.0)) * net.dtype.type(1 - 2**-40)
    return net


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=60)
@given(net=networks())
def test_the_network_is_in_the_file_bit_for_bit(net, device, tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "draw.html"
    before = net.parameters.astype("<f4").tobytes()
    nn.export_html(net.to(device), path)
    found = network_in(path)
    pairs = zip(found["layers"], net.layers, strict=True)
    arrays = [written[name] for written, layer in pairs for name in layer.parameters]
    assert b"".join(map(base64.b64decode, arrays)) == before
    for written, layer in zip(found["layers"], net.layers, strict=True):  # without a bias, the page adds zeros
        if isinstance(layer, nn.Linear) and layer.bias is None:
            assert base64.b64decode(written["bias"]) == bytes(4 * layer.outputs)
    assert found["side"] ** 2 == net.inputs
    assert found["outputs"] == net.outputs
    assert found["probabilities"] == net.layers[-1].probabilities
    sizes = [(layer["kind"], layer.get("inputs"), layer.get("outputs")) for layer in found["layers"]]
    assert sizes == [(type(layer).__name__, layer.inputs, layer.outputs) for layer in net.layers]
    assert net.device == device.replace("stand-in", "gpu")


def test_the_page_names_nothing_outside_itself(tmp_path):
    nn.export_html(nn.Sequential(nn.Linear(64, 10)), tmp_path / "draw.html")
    tags = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append((tag, dict(attributes)))

    text = (tmp_path / "draw.html").read_text("utf-8")
    Parser().feed(text)
    assert not {name for _, attributes in tags for name in attributes} & {"src", "href", "srcset", "action", "data"}
    assert not re.search(r"@import|url\(|\bimport\b|\bfetch\b|XMLHttpRequest", text)
    assert {tag for tag, _ in tags} >= {"title", "main", "h1", "canvas", "button", "table", "caption"}
    assert ("html", {"lang": "en"}) in tags
    assert ("meta", {"charset": "utf-8"}) in tags
    policy = next(attributes["content"] for _, attributes in tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';")


def test_in_the_source_of_the_page_each_value_of_the_network_is_on_a_line_of_its_own(tmp_path):
    nn.export_html(nn.Sequential(nn.Linear(4, 3), nn.Softmax()), tmp_path / "draw.html")
    _, _, text = (tmp_path / "draw.html").read_text("utf-8").partition('id="network">')
    assert max(line.count('": ') for line in text.partition("</script>")[0].splitlines()) == 1


def test_a_subclass_with_the_same_forward_is_written_as_what_it_is(tmp_path):
    named = type("</script><b>", (nn.Linear,), {"initialize": lambda self, rng: self.parameters["bias"].fill(0)})
    last = type("Last", (nn.Sigmoid,), {"probabilities": "</script><b>"})
    nn.export_html(nn.Sequential(named(4, 2), last(), seed=0), tmp_path / "draw.html")
    assert [layer["kind"] for layer in network_in(tmp_path / "draw.html")["layers"]] == ["Linear", "Sigmoid"]
    assert "<b>" not in (tmp_path / "draw.html").read_text("utf-8")


class Doubled(nn.Sigmoid):
    def forward(self, x, out=None):
        return 2 * super().forward(x, out)


class Disguised(nn.Sigmoid):
    forward = nn.Tanh.forward


class Own(nn.Layer):
    def forward(self, x, out=None):
        return x


class Inverted(nn.Sequential):
    def scaled(self, x, out=None):
        return 1 - super().scaled(x, out)


class Averaged(nn.Sequential):
    def __call__(self, x):
        return (super().__call__(x) + super().__call__(-x)) / 2


class Sure(nn.Sequential):
    def infer(self, x):
        return [y.round() for y in super().infer(x)]


def patched():
    layer = nn.ReLU()
    layer.forward = lambda x, out=None: x
    return nn.Sequential(nn.Linear(4, 4), layer)


def filled(value, dtype="float32"):
    net = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2), dtype=dtype)
    net.layers[1].bias = value
    return net


def spoiled(layer, name, value):
    net = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2))
    net.layers[layer].parameters[name].flat[-1] = value
    return net


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(4, 2), r"net must be a Sequential, got Linear\(4, 2\)"),
        (
            lambda: Inverted(nn.Linear(4, 2)),
            "Inverted has a scaled of its own.* give a numnet.Sequential of new layers",
        ),
        (lambda: Averaged(nn.Linear(4, 2)), "Averaged has a __call__ of its own, which would be lost"),
        (lambda: Sure(nn.Linear(4, 2)), "Sure has a infer of its own, which would be lost"),
        (lambda: nn.Sequential(nn.Linear(4, 2), dtype="complex128"), r"only real .* give net.astype\('float32'\)"),
        (
            lambda: nn.Sequential(nn.Linear(4, 2), Own()),
            r"layer 1, Own\(\), has a forward or parameters of its own.*use Linear, Sig",
        ),
        (
            lambda: nn.Sequential(nn.Linear(4, 2), Doubled()),
            r"layer 1, Doubled\(\), has a forward or parameters .*use Linear, Sigmoid, Tanh, ReLU, Softmax$",
        ),
        (
            lambda: nn.Sequential(nn.Linear(4, 2), Disguised()),
            r"layer 1, Disguised\(\), has a forward or parameters of its own",
        ),
        (patched, r"layer 1, ReLU\(\), has a forward or parameters of its own"),
        (lambda: nn.Sequential(nn.Linear(783, 10)), "783 features, which is no square number: begin it with a Linear"),
        (lambda: nn.Sequential(nn.Softmax()), "takes any number of features: begin it with a Linear"),
        (lambda: filled(np.nan), "the bias of layer 1 has values that are not finite in float32: .*smaller learning"),
        (lambda: filled(1e39, "float64"), "the bias of layer 1 has values that are not finite in float32"),
        *(
            (partial(spoiled, layer, name, value), f"the {name} of layer {layer} has values that are not finite")
            for layer, name, value in itertools.product((0, 1), ("weight", "bias"), (np.nan, np.inf, -np.inf))
        ),
    ],
)
def test_what_the_page_cannot_compute_is_refused_before_anything_is_written(make, message, tmp_path):
    path = tmp_path / "draw.html"
    path.write_text("as it was")
    with pytest.raises(ValueError, match=f"^export_html: .*{message}"):
        nn.export_html(make(), path)
    assert path.read_text() == "as it was"
    assert os.listdir(tmp_path) == ["draw.html"]


def test_a_folder_is_refused_and_a_missing_one_too(tmp_path):
    net = nn.Sequential(nn.Linear(4, 2))
    with pytest.raises(IsADirectoryError, match=r"cannot be written: it is a folder\. Name a file in it$"):
        nn.export_html(net, tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        nn.export_html(net, tmp_path / "missing" / "draw.html")
    assert os.listdir(tmp_path) == []


# ---- The page in a browser


def ellipse(x, y, width, height, steps=12):
    """Return points on an ellipse, as shares of the paper."""
    angles = np.linspace(0, 2 * math.pi, steps)
    return [(x + width / 2 * math.sin(a), y - height / 2 * math.cos(a)) for a in angles]


STROKES = {
    0: [ellipse(0.5, 0.5, 0.45, 0.65)],
    1: [[(0.53, 0.15), (0.5, 0.5), (0.47, 0.85)]],
    4: [[(0.35, 0.15), (0.3, 0.4), (0.28, 0.55), (0.5, 0.55), (0.75, 0.53)], [(0.63, 0.3), (0.6, 0.6), (0.58, 0.85)]],
    7: [[(0.27, 0.2), (0.5, 0.2), (0.72, 0.2), (0.57, 0.52), (0.42, 0.85)]],
}


class Page:
    """The page of a network in the browser, and hands for it."""

    def __init__(self, browser, folder):
        self.browser, self.path = browser, folder / "draw.html"
        self.opened = set()

    def open(self, net):
        nn.export_html(net, self.path)
        self.browser.get(self.path.as_uri())
        self.opened.add(self.path.as_uri())
        return self

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def forward(self, images):
        """Return the page's outputs for images as they are."""
        pixels = (images.reshape(len(images), -1) / 255).tolist()
        return np.array(self.run("return arguments[0].map((pixels) => numnet.forward(pixels))", pixels))

    def see(self):
        """Return what the network sees of the paper."""
        return np.array(self.run("return Array.from(numnet.see())"))

    def ink(self):
        """Return how opaque each pixel of the paper is, from 0 to 255."""
        script = """
        const { data } = paper.getContext("2d").getImageData(0, 0, 560, 560);
        return data.filter((_, i) => i % 4 == 3).reduce((text, shade) => text + String.fromCharCode(shade), "");
        """
        return np.frombuffer(self.run(script).encode("latin-1"), np.uint8).reshape(560, 560)

    def see_images(self, images, places, smooth):
        """Return what the network sees of each image drawn at its left, top, width and height, shares of the paper."""
        script = """
        const [images, places, smooth, side] = arguments, paper = document.getElementById("paper");
        const pen = paper.getContext("2d"), small = new OffscreenCanvas(side, side), image = new ImageData(side, side);
        pen.imageSmoothingEnabled = smooth;
        return images.map((shades, i) => {
          pen.clearRect(0, 0, paper.width, paper.height);
          shades.forEach((shade, k) => image.data[4 * k + 3] = shade);
          small.getContext("2d").putImageData(image, 0, 0);
          pen.drawImage(small, ...places[i].map((share) => share * paper.width));
          return Array.from(numnet.see());
        });
        """
        shades = images.reshape(len(images), -1).tolist()
        return np.array(self.run(script, shades, np.array(places).tolist(), smooth, images.shape[1]))

    def draw(self, strokes, kind="mouse", button=0):
        """Draw with a real pointer, each stroke a list of points as shares of the paper."""
        from selenium.webdriver.common.actions.action_builder import ActionBuilder
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        actions = ActionBuilder(self.browser, mouse=PointerInput(kind, kind), duration=8)
        for stroke in strokes:
            for i, point in enumerate(stroke):
                actions.pointer_action.move_to_location(*self.place(*point))
                if i == 0:
                    actions.pointer_action.pointer_down(button)
            actions.pointer_action.pointer_up(button)
        actions.perform()

    def touch(self, kind, *places):
        """Touch with a finger at each of these points of the paper, shares of it."""
        points = [{"id": finger, "x": x, "y": y} for finger, (x, y) in enumerate(itertools.starmap(self.place, places))]
        self.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def place(self, x, y):
        """Return where in the window a point of the paper is."""
        script = "const r = paper.getBoundingClientRect(); return [r.left, r.top, r.width]"
        left, top, width = self.run(script)
        return round(left + x * width), round(top + y * width)

    def clear(self):
        self.browser.find_element("id", "clear").click()

    @property
    def answer(self):
        return self.browser.find_element("id", "answer").text

    @property
    def rows(self):
        """Return label, share of the track, left edge as share of the track, and text of each bar."""
        script = """
        return Array.from(document.querySelectorAll("#outputs tr"), (row) => {
          const track = row.querySelector(".track").getBoundingClientRect();
          const bar = row.querySelector(".bar").getBoundingClientRect();
          return [row.cells[0].textContent, bar.width / track.width, (bar.left - track.left) / track.width,
            row.cells[2].textContent];
        });
        """
        return self.run(script)

    def errors(self):
        """Return what has been written to the console since the last call."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requests(self):
        """Return the addresses that have been asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.fixture
def page(browser, tmp_path):
    """A page; at the end it must have asked for no other file and written nothing to the console."""
    page = Page(browser, tmp_path)
    page.errors()
    page.requests()
    yield page
    assert page.errors() == []
    assert set(page.requests()) == page.opened


def trained(data, *layers, epochs=1, cost=nn.CrossEntropy, lr=0.5, dtype="float32"):
    net = nn.Sequential(*layers, seed=0, dtype=dtype)
    nn.Trainer(net, cost(), nn.SGD(lr), seed=0).fit(data, epochs, 32, progress=False)
    return net


@pytest.fixture(scope="module")
def digits_net():
    return trained(DIGITS[0], nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, 10), nn.Softmax(), epochs=30)


@pytest.fixture(scope="module")
def mnist_net(mnist):
    return trained(mnist[0], nn.Linear(784, 10), nn.Softmax(), epochs=3, lr=0.2)


def even(data):
    """Return the same images, labelled 1 for an even digit and 0 for an odd one."""
    return data.images, (1 - data.labels % 2)[:, None].astype(float)


SMALL = {
    "64-10 softmax": lambda: trained(DIGITS[0], nn.Linear(64, 10), nn.Softmax(), epochs=5),
    "64-10 softmax, float64": lambda: trained(DIGITS[0], nn.Linear(64, 10), nn.Softmax(), epochs=5, dtype="float64"),
    "64-16-10 tanh, sigmoid": lambda: trained(DIGITS[0], nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10), nn.Sigmoid()),
    "64-16-8-10 relu": lambda: trained(
        DIGITS[0], nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 10), nn.Softmax(), lr=0.1
    ),
    "64-1 sigmoid": lambda: trained(even(DIGITS[0]), nn.Linear(64, 1), nn.Sigmoid(), epochs=5),
    "64-5 linear": lambda: nn.Sequential(nn.Linear(64, 5), seed=0),
    "64-6-5 softmax, tanh": lambda: nn.Sequential(nn.Linear(64, 6), nn.Softmax(), nn.Linear(6, 5), nn.Tanh(), seed=0),
    "64-3 relu": lambda: nn.Sequential(nn.Sigmoid(), nn.Linear(64, 3), nn.ReLU(), seed=0),
}


def compare(page, net, images, largest, name):
    difference = np.abs(page.open(net).forward(images) - host(net(images))).max()
    largest(f"outputs of the page against numnet's, {name}", difference)
    assert difference < 1e-5


@pytest.mark.parametrize("name", SMALL)
def test_the_pages_outputs_are_numnets_on_digits(page, name, largest):
    compare(page, SMALL[name](), DIGITS[1].images[:100], largest, "digits")


@pytest.mark.parametrize("hidden", [[], [128], [64, 32]])
def test_the_pages_outputs_are_numnets_on_mnist(page, hidden, mnist, largest):
    sizes = [784, *hidden, 10]
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.Sigmoid())]
    data = mnist[0].images[:5000], mnist[0].labels[:5000]
    compare(page, trained(data, *layers[:-1], nn.Softmax()), mnist[1].images[:100], largest, "MNIST")


@pytest.mark.parametrize("last", [nn.Softmax, nn.Sigmoid, nn.Tanh])
def test_saturated_outputs_are_numbers(page, last):
    net = nn.Sequential(nn.Linear(64, 10), last(), seed=0, dtype="float64")
    net.parameters = (net.parameters * 1e6).astype("float32")
    images = DIGITS[1].images[:100]
    np.testing.assert_allclose(page.open(net).forward(images), net(images), rtol=0, atol=1e-9)


def test_forward_refuses_the_wrong_number_of_pixels(page, digits_net):
    message = page.open(digits_net).run("try { numnet.forward([1, 2]) } catch (error) { return String(error) }")
    assert message == "RangeError: 64 pixels expected, got 2"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("digits", "mouse"),
        *(
            pytest.param(data, kind, marks=pytest.mark.slow)
            for data, kind in (("digits", "touch"), ("digits", "pen"), ("mnist", "mouse"), ("mnist", "touch"))
        ),
    ],
)
def test_a_drawn_digit_is_read(page, data, kind, request):
    net = request.getfixturevalue(f"{data}_net")
    page.open(net).run(
        "window.kinds = new Set(); paper.addEventListener('pointermove', (e) => kinds.add(e.pointerType))"
    )
    for digit, strokes in STROKES.items():
        page.clear()
        page.draw(strokes, kind)
        y = page.run("return numnet.forward(numnet.see())")
        assert net(page.see()[None])[0] == pytest.approx(y, abs=1e-5)
        assert page.answer == f"The network says {digit}, with {100 * y[digit]:.1f} %."
        assert [row[0] for row in page.rows] == [str(k) for k in range(10)]
        assert [row[1] for row in page.rows] == pytest.approx(y, abs=1e-3)
        assert [float(row[3].removesuffix(" %")) for row in page.rows] == pytest.approx(np.multiply(y, 100), abs=0.051)
        assert page.run("return document.querySelector('.first').cells[0].textContent") == str(digit)
    assert page.run("return [...kinds]") == [kind]


def test_mnists_images_are_seen_as_they_are(page, mnist, mnist_net, largest):
    images = mnist[1].images[:200]
    seen = page.open(mnist_net).see_images(images, [(0, 0, 1, 1)] * len(images), smooth=False)
    difference = np.abs(seen * 255 - images.reshape(len(images), -1)).max()
    largest("MNIST's images as the page sees them, of 255", difference)
    assert difference < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("side", [8, 13, 28])
def test_as_mnist_gives_what_the_page_sees_of_a_drawing(page, side, largest):
    page.open(nn.Sequential(nn.Linear(side**2, 2)))
    for strokes in STROKES.values():
        page.clear()
        page.draw(strokes)
        ink, seen = page.ink(), page.see()
        for image in ink, 255 - ink:  # chalk, and ink on paper
            difference = np.abs(nn.datasets.as_mnist(image, side).ravel() - 255 * seen).max()
            largest("as_mnist against what the page sees, of 255", difference)
            assert difference < 0.5 + 1e-3  # rounded to bytes


@pytest.mark.parametrize("smooth", [False, True])
def test_as_mnist_gives_what_the_page_sees_of_mnists_images(page, smooth, mnist, mnist_net):
    rng = np.random.default_rng(0)
    page.open(mnist_net)
    for image in mnist[1].images[:5]:
        size = rng.uniform(0.3, 1)
        place = [*(rng.uniform(size=2) * (1 - size)), size, size]
        seen = page.see_images(image[None], [place], smooth)[0]
        ink = page.ink()
        expected = 255 * seen * (255 / ink.max())  # the page's full ink is black
        assert np.abs(nn.datasets.as_mnist(255 - ink).ravel() - expected).max() < 0.5 + 1e-3


@pytest.mark.parametrize("side", [5, 8, 10, 28])
def test_all_that_is_drawn_is_seen(page, side):
    """However lopsided it is: a few dots, most of them to the right or below."""
    rng = np.random.default_rng(0)
    images = (rng.random((50, 20, 20)) < 0.02) * np.uint8(255)
    images[:25, :, 19] = images[25:, 19, :] = images[:, 10, 10] = 255
    seen = page.open(nn.Sequential(nn.Linear(side**2, 2))).see_images(images, [(0, 0, 1, 1)] * 50, smooth=False)
    for image, pixels in zip(images, seen, strict=True):
        height, width = (1 + np.ptp(np.flatnonzero(image.any(axis))) for axis in (1, 0))
        scale_x = scale_y = side * 20 / 28 / max(height, width)
        if side == 8:
            scale_y = 8 / height
            scale_x = min(scale_y, 5 / width)
        assert pixels.sum() == pytest.approx(np.sum(image / 255) * scale_x * scale_y, rel=1e-3)


# 8 x 8 pixels, blown up, are squares rather than strokes, and wider than what was written.
@pytest.mark.slow
@pytest.mark.parametrize(("data", "smooth", "margin"), [("digits", False, 0.05), ("mnist", True, 0.03)])
def test_where_and_how_large_a_digit_is_drawn_hardly_matters(page, data, smooth, margin, request):
    test = DIGITS[1] if data == "digits" else request.getfixturevalue("mnist")[1]
    net = request.getfixturevalue(f"{data}_net")
    rng = np.random.default_rng(0)
    sizes = rng.uniform(0.4, 1, 300)
    places = np.transpose([*(rng.uniform(size=(2, 300)) * (1 - sizes)), sizes, sizes])
    images, labels = test.images[:300], test.labels[:300]
    seen = page.open(net).see_images(images, places, smooth)
    as_it_is, drawn = net.accuracy(images, labels), net.accuracy(seen, labels)
    print(f"{data}: accuracy {as_it_is:.4f} as it is, {drawn:.4f} drawn anywhere")
    assert drawn > as_it_is - margin


def test_a_single_touch_is_a_dot_and_a_fast_stroke_has_no_gaps(page, digits_net):
    page.open(digits_net).touch("touchStart", (0.5, 0.5))
    assert page.ink().sum() / 255 == pytest.approx(math.pi * (560 / 24) ** 2, rel=0.03)
    page.touch("touchEnd")
    page.clear()
    page.draw([[(0.1, 0.5), (0.9, 0.5)]])
    assert page.ink()[280, 60:500].min() == 255


def test_clear_by_mouse_and_by_keyboard(page, digits_net):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    empty = [[str(k), 0, 0, ""] for k in range(10)]
    page.open(digits_net)
    assert (page.answer, page.rows) == ("Nothing is drawn yet.", empty)
    for clear in (page.clear, lambda: ActionChains(page.browser).send_keys(Keys.TAB, Keys.ENTER).perform()):
        page.open(digits_net).draw(STROKES[1])
        assert page.see().any()
        assert page.answer.startswith("The network says ")
        clear()
        assert not page.see().any()
        assert (page.answer, page.rows) == ("Nothing is drawn yet.", empty)


def test_screen_readers_hear_of_a_stroke_once(page, digits_net):
    page.open(digits_net).run(
        "window.said = 0; new MutationObserver((all) => said++).observe(answer, { childList: true, subtree: true })"
    )
    page.draw(STROKES[4])
    assert page.run("return said") == 2
    assert page.run("return document.querySelector('[role=status]').id") == "answer"


def hold(page, *moves):
    """Move a mouse through places in the window; the button goes down and up where "down" and "up" stand."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    actions = ActionBuilder(page.browser, mouse=PointerInput("mouse", "mouse"), duration=8)
    for move in moves:
        if isinstance(move, str):
            getattr(actions.pointer_action, f"pointer_{move}")()
        else:
            actions.pointer_action.move_to_location(*move)
    actions.perform()


def test_a_stroke_ends_where_the_pointer_is_released_also_beside_the_paper(page, digits_net):
    place = page.open(digits_net).place
    hold(page, place(0.5, 0.2), "down", place(0.9, 0.2), place(1.3, 0.2), "up", place(0.9, 0.8), place(0.1, 0.8))
    assert page.ink()[112, 280:550].min() == 255
    assert page.ink()[200:].max() == 0
    assert page.answer.startswith("The network says ")


def test_clear_ends_a_stroke_and_the_next_one_draws(page, digits_net):
    place = page.open(digits_net).place
    hold(page, place(0.2, 0.2), "down", place(0.5, 0.2))
    page.run("document.getElementById('clear').click()")  # as by a second finger, or the keyboard
    hold(page, place(0.8, 0.2), "up")
    assert page.answer == "Nothing is drawn yet."
    assert not page.see().any()
    page.draw(STROKES[1])
    assert page.see().any()


def test_a_stroke_that_the_browser_cancels_has_ended(page, digits_net):
    page.open(digits_net).touch("touchStart", (0.5, 0.5))
    page.touch("touchCancel")
    assert page.answer.startswith("The network says ")
    page.clear()
    page.draw(STROKES[1])
    assert page.see().any()


def test_only_the_main_button_draws(page, digits_net):
    page.open(digits_net).draw(STROKES[1], button=2)
    assert not page.see().any()


def test_a_second_finger_does_not_draw(page, digits_net):
    page.open(digits_net)
    page.touch("touchStart", (0.2, 0.1))
    page.touch("touchStart", (0.2, 0.1), (0.2, 0.8))
    page.touch("touchMove", (0.8, 0.1), (0.8, 0.8))
    page.touch("touchEnd")
    assert page.ink()[56, 112:449].min() == 255
    assert page.ink()[120:].max() == 0


@pytest.mark.parametrize(
    ("layers", "values", "answer", "texts", "bars"),
    [
        ([nn.Linear], [-1, 0, 3], "2 has the largest output.", ["-1", "0", "3"], [(0.25, 0), (0, 0.25), (0.75, 0.25)]),
        ([nn.Linear], [0.12345], "The output is 0.123.", ["0.123"], [(1, 0)]),
        ([nn.Linear, nn.ReLU], [-1, -2], "0 has the largest output.", ["0", "0"], [(0, 0), (0, 0)]),
        ([nn.Linear, nn.Sigmoid], [math.log(3)], "The network says yes, with 75.0 %.", ["75.0 %"], [(0.75, 0)]),
        ([nn.Linear, nn.Sigmoid], [-math.log(3)], "The network says no, with 75.0 %.", ["25.0 %"], [(0.25, 0)]),
        ([nn.Linear, nn.Sigmoid], [0, math.log(3)], "The network says 1, with 75.0 %.", None, [(0.5, 0), (0.75, 0)]),
    ],
)
def test_other_outputs_are_shown_as_what_they_are(page, layers, values, answer, texts, bars):
    net = nn.Sequential(*(kind(9, len(values)) if kind is nn.Linear else kind() for kind in layers))
    net.parameters = 0
    net.layers[0].bias = values
    page.open(net).draw(STROKES[1])
    rows = page.rows
    assert page.answer == answer
    assert texts is None or [row[3] for row in rows] == texts
    np.testing.assert_allclose([row[1:3] for row in rows], bars, atol=1e-3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_where_drawing_does_not_scroll(page, digits_net, scheme):
    command = page.browser.execute_cdp_cmd
    phone = {"width": 390, "height": 600, "deviceScaleFactor": 2, "mobile": True}
    try:
        command("Emulation.setDeviceMetricsOverride", phone)
        command("Emulation.setTouchEmulationEnabled", {"enabled": True})
        command("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        page.open(digits_net).draw([[(0.5, 0.9), (0.5, 0.6), (0.5, 0.3), (0.5, 0.1)]], "touch")
        assert page.answer == "The network says 1, with " + page.rows[1][3] + "."
        width, scrolled = page.run("return [document.documentElement.scrollWidth, scrollY]")
        assert (width, scrolled) == (390, 0)
        ground = page.run("return getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
        assert (max(ground) < 64) if scheme == "dark" else (min(ground) > 192)
    finally:
        command("Emulation.clearDeviceMetricsOverride", {})
        command("Emulation.setTouchEmulationEnabled", {"enabled": False})
        command("Emulation.setEmulatedMedia", {"features": []})


def test_the_policy_lets_nothing_be_loaded(page, digits_net):
    fetch = "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('loaded'), (e) => done(e.name))"
    assert page.open(digits_net).browser.execute_async_script(fetch) == "TypeError"
    errors = page.errors()
    assert errors
    assert "violates the following Content Security Policy directive" in errors[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_frame_it_is_as_light_as_the_frame_and_leaves_the_heading_to_the_page_around(page, digits_net, scheme):
    page.open(digits_net)
    assert page.browser.find_element("tag name", "h1").is_displayed()
    around = page.path.with_name("around.html")
    around.write_text(f"<!doctype html><iframe src='draw.html' style='color-scheme: {scheme}'></iframe>")
    page.browser.get(around.as_uri())
    page.opened.add(around.as_uri())
    page.browser.switch_to.frame(0)
    ground = page.run("return getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
    assert (max(ground) < 64) if scheme == "dark" else (min(ground) > 192)
    hidden = page.browser.find_elements("css selector", "h1, h1 + p, .about p")
    assert len(hidden) == 4
    assert not any(element.is_displayed() for element in hidden)
    assert page.browser.find_element("id", "paper").is_displayed()


def test_a_file_that_is_no_page_is_replaced_only_if_somebody_says_so(tmp_path):
    net, path = nn.Sequential(nn.Linear(4, 2), nn.Softmax(), seed=0), tmp_path / "draw.html"
    path.write_text("a page of somebody else's")
    with pytest.raises(FileExistsError, match="is there already, and is no numnet page, or is damaged"):
        nn.export_html(net, path)
    nn.export_html(net, path, overwrite=True)
    nn.export_html(net, path)
