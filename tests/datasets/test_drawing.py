"""as_mnist: what people draw and photograph, in the form of MNIST's images.

tests/test_export.py compares it with the exported page.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import numnet as nn
from numnet.datasets import as_mnist, digits

SIZES = [28, 8, 20, 5]


@st.composite
def drawings(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Draw some ink on ground 0: at least a pixel of full ink, and an empty border."""
    shape = st.tuples(st.integers(1, 25), st.integers(1, 25))
    ink = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 255]) | st.integers(0, 255)))
    ink[draw(st.integers(0, len(ink) - 1)), draw(st.integers(0, ink.shape[1] - 1))] = 255
    return np.pad(ink, 1)


def off(a: Any, b: Any) -> int:
    """Return the largest difference between two images of bytes."""
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize("size", SIZES)
@given(image=drawings())
def test_ink_is_on_ground_0_and_none_is_lost(size: int, image: np.ndarray[Any, Any]) -> None:
    seen = as_mnist(image, size)
    assert (seen.dtype, seen.shape) == (np.uint8, (size, size))
    height, width = (1 + np.ptp(np.flatnonzero(image.any(axis))) for axis in (1, 0))
    scale_x = scale_y = size * 20 / 28 / max(height, width)
    if size == 8:
        scale_y = 8 / height
        scale_x = min(scale_y, 5 / width)
    assert seen.sum() == pytest.approx(image.sum() * scale_x * scale_y, abs=0.5 * size**2)


@pytest.mark.parametrize("size", SIZES)
@given(image=drawings(), draw=st.data())
def test_ground_range_size_and_place_do_not_matter(size: int, image: np.ndarray[Any, Any], draw: st.DataObject) -> None:
    seen = as_mnist(image, size)
    np.testing.assert_array_equal(as_mnist(255 - image, size), seen)
    margins = draw.draw(st.tuples(*[st.integers(0, 9)] * 4))
    np.testing.assert_array_equal(as_mnist(np.pad(image, (margins[:2], margins[2:])), size), seen)
    larger = np.kron(image, np.ones((draw.draw(st.integers(1, 4)),) * 2, np.uint8))
    assert off(as_mnist(larger, size), seen) <= 1
    low, high = draw.draw(st.tuples(st.floats(-10, 10), st.floats(-10, 10)).filter(lambda pair: pair[0] != pair[1]))
    if abs(high - low) > 1e-6:
        assert off(as_mnist(low + (high - low) / 255 * image, size), seen) <= 1


@given(image=drawings())
def test_colours_and_transparency(image: np.ndarray[Any, Any]) -> None:
    seen = as_mnist(image)
    white, opaque = np.full_like(image, 255), np.full_like(image, 255)
    for form in (
        image[..., None],
        np.stack([image] * 3, axis=-1),
        np.stack([255 - image, opaque], axis=-1),
        np.stack([image] * 3 + [opaque], axis=-1) / 255,
        np.stack([image * 0, image], axis=-1),
        np.stack([image * 0] * 3 + [image], axis=-1),  # as a canvas has it: black ink, transparent where there is none
        np.stack([white, 255 - image, 255 - image], axis=-1),  # red on white
        np.stack([image * 0, image, image * 0], axis=-1).astype(float),  # green on black
    ):
        assert off(as_mnist(form), seen) <= 1


def test_what_is_transparent_shows_white_paper() -> None:
    shade, opacity = np.random.default_rng(0).integers(0, 256, (2, 12, 9))
    opacity[[0, -1]] = opacity[:, [0, -1]] = 0
    opacity[5, 5] = 255
    seen = as_mnist(255 * (255 - opacity) + shade * opacity)
    np.testing.assert_array_equal(as_mnist(np.dstack([shade, opacity])), seen)
    assert off(as_mnist(np.dstack([shade, shade, shade, opacity])), seen) <= 1


@pytest.mark.parametrize("kind", [bool, np.int8, np.uint16, np.float16, np.longdouble])
def test_numbers_of_every_type(kind: type) -> None:
    image = np.zeros((30, 20, 3))
    image[5:20, 6:9] = image[5:8, 6:15] = 1
    for form in image[..., 0], image, np.dstack([image, image[..., 0]]), 1 - image:
        np.testing.assert_array_equal(as_mnist(form.astype(kind)), as_mnist(form))


def test_grey_is_the_luma_of_a_colour() -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    image[2:7, 2:4, 1], image[2:7, 4:5, 0], image[2:7, 5:7, 2] = 200, 200, 200
    grey = np.zeros((9, 9))
    grey[2:7, 2:4], grey[2:7, 4:5], grey[2:7, 5:7] = 0.587, 0.299, 0.114
    np.testing.assert_array_equal(as_mnist(image), as_mnist(grey))


def test_mnists_images_stay_as_they_are(mnist: Any) -> None:
    images = mnist[1].images[:1000]
    seen = np.stack([as_mnist(image) for image in images])
    usual = (
        (images.max(axis=(1, 2)) == 255)
        & ~images[:, [0, -1]].any(axis=(1, 2))
        & ~images[:, :, [0, -1]].any(axis=(1, 2))
    )
    assert usual.mean() > 0.85
    np.testing.assert_array_equal(seen[usual], images[usual])


@pytest.mark.parametrize("noise", [0.3, 1, 5, 10])
def test_noise_of_the_paper_is_no_ink(noise: float) -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((200, 150))
    image[40:120, 60:75] = image[40:55, 60:120] = 1
    photograph = np.clip(np.rint(200 - 140 * image + rng.normal(0, noise, image.shape)), 0, 255).astype(np.uint8)
    # Full ink is the darkest pixel, so noise makes the others somewhat paler.
    assert off(as_mnist(photograph), as_mnist(image)) <= 2 + 255 * 4.5 * noise / 140


def rim_of(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return where the border of an image is, of at least 2 x 2 pixels."""
    rim = np.ones(image.shape, bool)
    rim[1:-1, 1:-1] = False
    return rim


def ink_by_the_book(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the ink of a grey image by the words of the documentation."""
    border, middle = image[rim_of(image)], (image.min() + image.max()) / 2
    light = np.median(border) > middle
    paper = [shade for shade in border if (shade > middle) == light]
    ground = np.median(paper)
    ink = (ground - image if light else image - ground).clip(0)
    noise = [shade - ground if abs(shade - ground) <= ink.max() / 4 else 0 for shade in paper]
    ink[ink <= 6 * np.sqrt(np.mean(np.square(noise)))] = 0
    ink[ink <= ink.max() / 2 / 255] = 0
    return ink


@pytest.mark.parametrize("kind", ["noise", "shades in the middle", "faint", "as faint as the noise", "in the border"])
def test_what_is_ink_is_as_the_documentation_has_it(kind: str) -> None:
    rng = np.random.default_rng(0)
    for shape in rng.integers(3, 9, (40, 2)):
        image = rng.integers(0, rng.integers(1, 7), shape) + (rng.random(shape) < 0.2) * rng.integers(0, 50, shape)
        if kind == "shades in the middle":
            image = rng.choice([0, 4, 4, 8], shape)
        elif kind != "noise":
            image[rim_of(image)] = np.resize([-1, 1] if kind == "as faint as the noise" else 0, rim_of(image).sum())
            image[1:-1, 1:-1] = rng.choice([0, 0, 1, 6], shape - 2)
        full = {"faint": rng.choice([510, 510.5]), "in the border": 100}.get(kind, rng.choice([60, 255]))
        image = image * 1.0
        if kind != "shades in the middle":
            image[1 + rng.integers(shape[0] - 2), 1 + rng.integers(shape[1] - 2)] = full
        if kind == "in the border":
            image[1:-1, 1:-1] += rng.integers(0, 50, shape - 2)
            image[0, 0] = image.max() / 4
        for paper in image, -image:
            np.testing.assert_array_equal(as_mnist(paper), as_mnist(np.pad(ink_by_the_book(paper), 1)))


def test_ink_may_touch_the_border() -> None:
    line = np.zeros(20, np.uint8)
    line[5:11], line[[3, 4, 11, 12, 13]] = 255, 90  # less than half of the border is of the ground's shade
    image = np.maximum(line, line[:, None])
    expected = as_mnist(np.pad(image, 5))
    np.testing.assert_array_equal(as_mnist(image), expected)
    np.testing.assert_array_equal(as_mnist(255 - image), expected)


def test_glare_and_remainders_are_no_ink() -> None:
    image = np.full((40, 40), 200.0)
    image[10:30, 15:20] = 60
    expected = as_mnist(image)
    image[3:6, 3:6] = 255  # lighter than the light ground
    image[35, 35] -= 1e-9
    np.testing.assert_array_equal(as_mnist(image), expected)


@pytest.mark.parametrize("side", [1, 2, 3, 20, 147])  # of 147 pixels, the rounded centre would be on the other side
@pytest.mark.parametrize(("size", "first", "last"), [(28, 5, 24), (14, 3, 12), (7, 1, 5), (21, 3, 17)])
def test_a_centre_between_two_places_is_moved_down_and_to_the_right(
    side: int, size: int, first: int, last: int
) -> None:
    rows, columns = np.nonzero(as_mnist(np.pad(np.ones((side, side)), 1), size))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (first, last, first, last)


def test_ink_whose_centre_is_near_an_end_stays_in_the_image() -> None:
    image = np.zeros((22, 22))
    image[1:21, 10], image[20, 1:21] = 0.1, 1  # nearly all of the ink is in the last row
    for turned, rows, columns in (
        (image, (0, 19), (5, 24)),
        (image[::-1], (8, 27), (5, 24)),
        (image.T, (5, 24), (0, 19)),
        (image.T[:, ::-1], (5, 24), (8, 27)),
    ):
        inked = np.nonzero(as_mnist(turned))
        assert [(place.min(), place.max()) for place in inked] == [rows, columns]


def test_of_8_pixels_the_ink_fills_the_height_and_is_in_the_middle() -> None:
    for height, width in (1, 1), (8, 5), (9, 40), (30, 2), (30, 13):
        across = min(8 / height * width, 5)
        inked = np.minimum(np.arange(1, 9), 4 + across / 2) - np.maximum(np.arange(8), 4 - across / 2)
        seen = as_mnist(np.pad(np.ones((height, width)), 1), 8)
        np.testing.assert_allclose(seen, np.tile(255 * inked.clip(0), (8, 1)), rtol=0, atol=0.5 + 1e-9)
    left = np.zeros((10, 7))
    left[1:9, 1], left[1, 1:6] = 1, 0.1
    assert as_mnist(left, 8)[1:].argmax(axis=1).tolist() == [3] * 7


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((28, 28)), "the image is blank: nothing stands out from the shade of its border"),
        (np.full((28, 28, 3), 7, np.uint8), "the image is blank"),
        (np.zeros((28, 28, 4), np.uint8), "the image is blank"),
        (np.full((2, 2), 0.1), "the image is blank"),
        (np.ones((5, 28, 28)), r"image must have the shape .*, got \(5, 28, 28\): for several images give np.stack"),
        (np.ones(784), r"image must have the shape .*, got \(784,\)"),
        (np.ones((0, 5)), r"image must have the shape .*, got \(0, 5, 1\)"),
        ("five.png", "image must be an array, got 'five.png': read the file first"),
        (np.array("five.png"), "image must be an array of numbers, got dtype <U8: read a file with matplotlib.pyplot"),
        (np.ones((3, 3)) * 1j, "image must be an array of numbers, got dtype complex128"),
        ([[0, 1], [np.nan, 0]], "image must be finite"),
        ({1}, "image must be an array, but NumPy makes none of this set"),
    ],
)
def test_what_is_no_image_of_a_digit_is_refused(image: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^as_mnist: {message}"):
        as_mnist(image)


@pytest.mark.parametrize("size", [0, 2.5, (28, 28)])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=r"^as_mnist: size must be a whole number of at least 1, got"):
        as_mnist(np.eye(5), size)


def elsewhere(images: Any, times: int, light: bool) -> list[Any]:
    """Return images enlarged, each somewhere on larger paper, light or dark."""
    rng = np.random.default_rng(0)
    side = images.shape[1] * times
    papers = np.zeros((len(images), 2 * side, 2 * side), np.uint8)
    for paper, image in zip(papers, images, strict=True):
        y, x = rng.integers(0, side + 1, 2)
        paper[y : y + side, x : x + side] = np.kron(image, np.ones((times, times), np.uint8))
    return list(255 - papers if light else papers)


@pytest.mark.parametrize(("name", "margin"), [("mnist", 0.005), ("digits", 0.05)])
def test_a_network_reads_what_is_inverted_enlarged_and_shifted(name: str, margin: float, request: Any) -> None:
    train, test = request.getfixturevalue("mnist") if name == "mnist" else digits()
    test = test[:500]
    side = train.images.shape[1]
    net = nn.Sequential(nn.Linear(side**2, 10), nn.Softmax(), seed=0)
    nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5), seed=0).fit(train[:10_000], 5, 64, progress=False)
    as_it_is = net.accuracy(test.images, test.labels)
    assert as_it_is > 0.85
    assert net.accuracy(255 - test.images, test.labels) < 0.2
    for light in False, True:
        seen = np.stack([as_mnist(image, side) for image in elsewhere(test.images, 3, light)])
        assert net.accuracy(seen, test.labels) > as_it_is - margin
