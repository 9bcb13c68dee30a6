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
def test_a_centre_between_two_places_is_moved_down_and_to_the_right(side: int) -> None:
    rows, columns = np.nonzero(as_mnist(np.pad(np.ones((side, side)), 1)))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 24, 5, 24)


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
        ("five.png", "image must be an array of numbers, got dtype <U8: read a file with matplotlib.pyplot.imread"),
        (np.ones((3, 3)) * 1j, "image must be an array of numbers, got dtype complex128"),
        ([[0, 1], [np.nan, 0]], "image must be finite"),
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
