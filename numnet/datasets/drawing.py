"""A drawing or a photograph of a digit, made into an image as those of MNIST are."""

import numpy as np
import numpy.typing as npt

from .. import checks
from ..backend import Array


def as_mnist(image: npt.ArrayLike, size: int = 28) -> npt.NDArray[np.uint8]:
    """Return an image of a digit in the form of MNIST's images: bright ink on ground 0, scaled and centred.

    Parameters
    ----------
    image : array_like of shape (height, width) or (height, width, channels)
        One image of any size, such as ``matplotlib.pyplot.imread`` returns: numbers of any range, dark ink on light
        ground or light ink on dark ground. One channel is grey, three are red, green and blue. A second or a fourth
        channel says how opaque each pixel is, and what is transparent is taken for white.
    size : int, optional
        The height and width of the result. 28 is for MNIST, and 8 for `digits`.

    Returns
    -------
    ndarray of shape (size, size), uint8
        For several images: ``np.stack([as_mnist(image) for image in images])``.

    Raises
    ------
    ValueError
        If the image has another shape, something but finite numbers, or nothing on it.

    See Also
    --------
    numnet.export_html : Writes a page to draw on, which does the same to a drawing.

    Notes
    -----
    The ground is what most of the image's border shows. If the median of the pixels on the border is nearer to the
    lightest pixel of the image than to the darkest, the ground is light, and the ink is what is darker. Otherwise the
    ink is what is lighter. The ground's shade is the median of those pixels on the border that are light (or dark).
    The pixel that is farthest from this shade is full ink, and gets 255.

    The paper of a photograph is not of one shade. A pixel that differs from the ground by at most six times the
    standard deviation of the ground has no ink. This deviation is taken from the border, and pixels there that differ
    by more than a quarter of full ink do not count, since they may be ink. Differences of less than half a level of 255
    are no ink either.

    Then follows what `numnet.export_html` describes. The ink is cut out and fitted into 20 x 20 pixels with its
    proportions kept. It is moved by whole pixels, so that its centre of mass is in the middle of pixel 14, counted from
    0, or as near to there as it fits: http://yann.lecun.com/exdb/mnist/. Other sizes are treated in proportion, except
    8 x 8, where the ink fills the height, is at most 5 pixels wide, and is not moved by whole pixels.

    Grey is 0.299 red + 0.587 green + 0.114 blue: https://www.itu.int/rec/R-REC-BT.601.

    Examples
    --------
    >>> import numpy as np
    >>> from numnet.datasets import as_mnist
    >>> image = np.full((90, 60), 255, dtype=np.uint8)  # white paper
    >>> image[10:70, 20:32] = 0  # with a black bar
    >>> seen = as_mnist(image)
    >>> seen.shape, int(seen.max())
    ((28, 28), 255)
    >>> rows, columns = np.nonzero(seen)
    >>> np.unique(rows).size, np.unique(columns).size
    (20, 4)
    >>> np.array_equal(as_mnist(255 - image), seen)
    True
    """
    checks.whole_numbers("as_mnist", size=size)
    with checks.named("as_mnist"):
        array = checks.array("image", image)
    ink = _ink(_grey(array))
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = ink.shape
    scale_y = scale_x = 20 / 28 * size / max(height, width)
    if size == 8:
        scale_y = 8 / height
        scale_x = min(scale_y, 5 / width)
    down, across = _means(ink.sum(axis=1), scale_y, size), _means(ink.sum(axis=0), scale_x, size)
    return np.rint(255 * (down @ ink @ across.T)).astype(np.uint8)


def _grey(image: Array) -> npt.NDArray[np.float64]:
    """Return an image as a matrix of shades, with transparent pixels white; ValueError if there is no image."""
    if image.dtype.kind not in "biuf":
        raise ValueError(
            f"as_mnist: image must be an array of numbers, got dtype {image.dtype}: read a file with "
            "matplotlib.pyplot.imread"
        )
    image = image[..., None] if image.ndim == 2 else image
    if image.ndim != 3 or image.shape[2] not in (1, 2, 3, 4) or not image.size:
        raise ValueError(
            f"as_mnist: image must have the shape (height, width) or (height, width, channels) with 1 to 4 channels, "
            f"got {image.shape}: for several images give np.stack([as_mnist(image) for image in images])"
        )
    image = image.astype(np.float64)
    if not np.isfinite(image).all():
        raise ValueError("as_mnist: image must be finite, but has values that are not")
    channels: npt.NDArray[np.float64] = np.moveaxis(image, -1, 0)
    # No product of matrices: pixels of one colour must become exactly one grey.
    grey = channels[0] if len(channels) < 3 else 0.299 * channels[0] + 0.587 * channels[1] + 0.114 * channels[2]
    if len(channels) in (2, 4):  # white shows through: its number is also that of an opaque pixel
        grey = channels[-1] * (grey - channels[-1].max())
    return np.asarray(grey)


def _ink(grey: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how much ink is on each pixel, from 0 to 1; ValueError if there is none."""
    border = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    middle = (grey.min() + grey.max()) / 2
    light = np.median(border) > middle
    border = border[(border > middle) == light]
    ground = np.median(border)
    ink = np.maximum(ground - grey if light else grey - ground, 0)
    off = np.abs(border - ground)
    off[off > ink.max() / 4] = 0
    ink[ink <= max(6 * np.sqrt(np.mean(off**2)), ink.max() / 510)] = 0
    if not ink.any():
        raise ValueError(
            "as_mnist: the image is blank: nothing stands out from the shade of its border. If light ink is on a "
            "transparent ground, give image[..., -1]"
        )
    return ink / ink.max()  # type: ignore[no-any-return]


def _means(profile: npt.NDArray[np.float64], scale: float, size: int) -> npt.NDArray[np.float64]:
    """Return the matrix that turns a line of pixels into `size` pixels, each the mean of what it covers.

    `profile` is the ink of each pixel of the line, and `scale` the length of such a pixel in the result.
    """
    pixels = np.arange(len(profile))
    centre = profile @ (pixels + 0.5) / profile.sum() * scale
    # A centre exactly between two places, as symmetric drawings have it, must not be decided by rounding errors.
    start = size / 2 - centre if size == 8 else np.floor(size // 2 + 1 - centre + 1e-6)
    start = min(max(start, 0), size - len(profile) * scale)
    edges = (np.arange(size + 1) - start) / scale
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.maximum(covered, 0) * scale)
