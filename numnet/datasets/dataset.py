"""Images and their labels, as one object."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..notebook import dataset_html


class Dataset:
    """Images and their labels.

    Parameters
    ----------
    images : array
        Any array with one row for each image. The usual shape is (n, height, width), and the usual type is uint8, whose
        intensities from 0 to 255 the network takes as 0 to 1. The array is kept as it is, not copied.
    labels : array of shape (n,)
        The class of each image, an integer from 0 up. The array is kept as it is.
    name : str, optional
        The name with which the data set is shown.

    Attributes
    ----------
    images, labels, name
        As given.

    Raises
    ------
    ValueError
        If there is no image, the numbers of images and labels differ, or the labels are not a vector of integers from
        0 up.

    Examples
    --------
    >>> import numpy as np
    >>> from numnet.datasets import Dataset
    >>> data = Dataset(np.zeros((3, 28, 28), dtype=np.uint8), np.array([0, 1, 1]), "blank")
    >>> data
    Dataset('blank', 3 images of 28 x 28, 2 classes)
    >>> len(data)
    3
    """

    def __init__(self, images: NDArray[Any], labels: NDArray[Any], name: str = "") -> None:
        for what, given in ("images", images), ("labels", labels):
            if not hasattr(given, "shape"):
                raise ValueError(f"{what} must be an array, not {type(given).__name__}; convert it with np.asarray")
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(
                f"labels must be a vector of integers, one class for each image; "
                f"got shape {labels.shape} and type {labels.dtype}"
            )
        if images.ndim == 0 or len(images) != len(labels):
            raise ValueError(f"each image needs one label; got images {images.shape} and labels {labels.shape}")
        if len(labels) == 0:
            raise ValueError("a data set needs at least one image; got none")
        if labels.min() < 0:
            raise ValueError(f"labels count the classes from 0 up; got {labels.min()}")
        self.images = images
        self.labels = labels
        self.name = name

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __repr__(self) -> str:
        """Return the name, the number and size of the images and the number of classes, on one line."""
        name = f"{self.name!r}, " if self.name else ""
        size = " x ".join(map(str, self.images.shape[1:])) or "1"
        return f"Dataset({name}{len(self)} images of {size}, {len(np.unique(self.labels))} classes)"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the classes, with counts and sample images."""
        return dataset_html(self)
