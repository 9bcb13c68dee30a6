"""Images and their labels, as one object."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from typing import Any, NoReturn, overload

import numpy as np
import numpy.typing as npt

from .. import backend, checks
from ..backend import Array
from ..notebook import dataset_html

_INDICES = (int, np.integer, slice, list, type(None), type(...))  # which NumPy reads otherwise than as arrays
_NUMBERED_CLASSES = 200  # more different numbers than this are measurements, unless they count from 0 without a gap


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
    classes : sequence of str, optional
        The names of the classes: ``classes[k]`` is the name of label k.

    Attributes
    ----------
    images, labels, name
        As given. Of an array of another library, such as a tensor or a DataFrame, a NumPy array over the same memory if
        the library allows that.
    classes : tuple of str, or None
        The names of the classes; None if there are none.

    Raises
    ------
    ValueError
        If there is no image, the numbers of images and labels differ, the labels are not a vector of integers from 0
        up, or `classes` are not different names, at least one for each label.

    See Also
    --------
    Dataset.from_arrays : Takes tables, lists, and labels that are words or other numbers.

    Notes
    -----
    An integer gives one image with its label. A slice, a boolean mask, or an array of integers gives a data set with
    the same name and classes. Its arrays are views if NumPy gives views, as it does for slices. Iteration gives one
    image after another, each with its label.

    Examples
    --------
    >>> import numpy as np
    >>> from numnet.datasets import Dataset
    >>> images = np.zeros((3, 28, 28), dtype=np.uint8)
    >>> data = Dataset(images, np.array([0, 1, 1]), "blank")
    >>> data
    Dataset('blank', 3 images of 28 x 28, 2 classes)
    >>> len(data)
    3
    >>> image, label = data[0]
    >>> image.shape
    (28, 28)
    >>> data[1:]
    Dataset('blank', 2 images of 28 x 28, 1 classes)
    >>> data[data.labels == 0]
    Dataset('blank', 1 images of 28 x 28, 1 classes)
    >>> for image, label in data:
    ...     print(label)
    0
    1
    1
    """

    def __init__(
        self, images: npt.NDArray[Any], labels: npt.NDArray[Any], name: str = "", classes: Sequence[str] | None = None
    ) -> None:
        images, labels = _kept("images", images), _kept("labels", labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            hint = ": Dataset.from_arrays(images, labels) numbers the classes" if labels.ndim else ""
            raise ValueError(
                f"labels must be a vector of integers, one class for each image; got shape {labels.shape} and type "
                f"{labels.dtype}{hint}"
            )
        if images.ndim == 0 or len(images) != len(labels):
            raise ValueError(f"each image needs one label; got images {images.shape} and labels {labels.shape}")
        if len(labels) == 0:
            raise ValueError("a data set needs at least one image; got none")
        if labels.min() < 0:
            raise ValueError(
                f"labels count the classes from 0 up; got {labels.min()}: Dataset.from_arrays(images, labels) numbers "
                "the classes"
            )
        self.images = images
        self.labels = labels
        self.name = name
        self.classes = None if classes is None else _names(classes, at_least=int(labels.max()) + 1)

    @classmethod
    def from_arrays(
        cls, x: npt.ArrayLike, t: npt.ArrayLike, name: str = "", classes: Sequence[str] | None = None
    ) -> Dataset:
        """Return the data set of whatever NumPy takes for an array: lists, tables, labels that are words.

        Parameters
        ----------
        x : array_like
            One row of numbers for each sample, of any shape: an array, lists, or a DataFrame. A vector is one feature.
        t : array_like
            The class of each sample, as one of these:

            - Whole numbers or strings. The labels are the places of these values among the different values in the
              order of `numpy.unique`, and `classes` are these values as strings. So labels that are 0 to k - 1 already
              stay as they are.
            - One-hot rows. The label is the column that has the 1. If `t` is a DataFrame, `classes` are the names of
              its columns.
        name : str, optional
            The name with which the data set is shown.
        classes : sequence of str, optional
            The names of the classes, in the order of the labels. If all values of `t`, as strings, are among these
            names, then the labels are the places of the values among the names. So ``classes=train.classes`` gives test
            data the labels of the training data, also if a class does not occur in them. Otherwise the values must be
            numbers from 0 to ``len(classes) - 1``.

        Returns
        -------
        Dataset
            The arrays are not copied if NumPy need not convert them.

        Raises
        ------
        ValueError
            If x has anything but numbers, or t has anything but classes. The message names the column. Targets of a
            regression are no classes: for a regression give the pair ``(x, t)`` to `numnet.Trainer.fit`.

        Examples
        --------
        >>> from numnet.datasets import Dataset
        >>> flowers = [[5.1, 3.5], [6.7, 3.0], [5.0, 3.4]]
        >>> data = Dataset.from_arrays(flowers, ["setosa", "virginica", "setosa"])
        >>> data
        Dataset(3 samples of 2 numbers, 2 classes)
        >>> data.labels
        array([0, 1, 0])
        >>> data.classes
        ('setosa', 'virginica')
        """
        labels, names = _classes(t, None if classes is None else _names(classes))
        return cls(_numbers(x), labels, name, names)

    def split(self, fraction: float, seed: int | None) -> tuple[Dataset, Dataset]:
        """Split the data set into two parts at random, each with all classes in the same proportion.

        Parameters
        ----------
        fraction : float
            The share of the second part, between 0 and 1.
        seed : int or None
            The same seed gives the same parts. None gives other parts each time.

        Returns
        -------
        first, second : Dataset
            Each image is in one of the two, and the order of the images is kept. The second part has `fraction` of the
            images of each class, rounded up or down. Of a class with two or more images, each part has at least one. A
            single image of a class goes to the first part.

        Raises
        ------
        ValueError
            If `fraction` is not between 0 and 1, or no class has two images.

        Examples
        --------
        >>> import numnet as nn
        >>> data, test = nn.datasets.digits()
        >>> train, validation = data.split(0.2, seed=0)
        >>> train
        Dataset('digits train', 1150 images of 8 x 8, 10 classes)
        >>> validation
        Dataset('digits train', 287 images of 8 x 8, 10 classes)
        """
        if not checks.is_finite(fraction) or not 0 < fraction < 1:
            raise ValueError(
                f"split: fraction must be a number between 0 and 1, the share of the second part, got {fraction!r}"
            )
        labels = backend.to(self.labels, "cpu")
        counts = np.unique(labels, return_counts=True)[1]
        if counts.max() == 1:
            raise ValueError("split: a class with one image cannot be split, and here no class has more than one")
        # Rounded sums, rather than rounded shares, so that all classes together have their share too.
        wanted = np.diff(np.rint(fraction * np.cumsum(counts)), prepend=0)
        wanted = np.clip(wanted, np.minimum(1, counts - 1), counts - 1)
        order = checks.generator(seed).permutation(len(labels))
        order = order[np.argsort(labels[order], kind="stable")]  # class by class, each in random order
        place = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)  # of each image in its class
        second = np.zeros(len(labels), bool)
        second[order[place < np.repeat(wanted, counts)]] = True
        return self[np.flatnonzero(~second)], self[np.flatnonzero(second)]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> tuple[Any, Any]: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | npt.NDArray[Any]) -> Dataset: ...
    def __getitem__(self, index: Any) -> Any:
        """Return one image and its label for an integer, and a data set for a slice, a mask or an array of integers."""
        if isinstance(index, tuple):
            raise IndexError(
                "a data set has one index, the number of the image: to cut all images, cut data.images and make a "
                "Dataset of the result"
            )
        if not isinstance(index, _INDICES):
            index = backend.asarray("index", index)
        labels, images = self.labels[index], self.images[index]
        return (images, labels) if labels.ndim == 0 else Dataset(images, labels, self.name, self.classes)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Return an iterator over the images, each with its label."""
        return zip(self.images, self.labels, strict=True)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        """Refuse to become an array, of which NumPy would otherwise make one of pairs."""
        raise ValueError("a Dataset is not an array: give its images, data.images, or its labels, data.labels")

    def __repr__(self) -> str:
        """Return the name, the number and size of the images and the number of classes, on one line."""
        name = f"{self.name!r}, " if self.name else ""
        size = " x ".join(map(str, self.images.shape[1:])) or "1"
        kind = f"images of {size}" if self.images.ndim > 2 else f"samples of {size} numbers"
        present, known = len(np.unique(self.labels)), len(self.classes or ())
        return f"Dataset({name}{len(self)} {kind}, {present}{f' of {known}' * (known > present)} classes)"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the classes, with counts and sample images."""
        return dataset_html(self)


def _kept(what: str, given: Any) -> Array:
    """Return an array as it is, or that of another library as NumPy's; refuse lists."""
    if isinstance(given, (list, tuple)):
        raise ValueError(
            f"{what} must be an array, not {type(given).__name__}; convert it with np.asarray, or give both to "
            "Dataset.from_arrays"
        )
    found = backend.asarray(what, given)
    return given if isinstance(given, np.memmap) else found


def _names(classes: Sequence[str], at_least: int = 1) -> tuple[str, ...]:
    """Return the names of classes; ValueError if they are too few, not strings, or not different."""
    if isinstance(classes, str):
        raise ValueError(f"classes must be a sequence of names, got one string, {classes!r}: write [{classes!r}, ...]")
    names = tuple(classes)
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"classes must be names, strings, got {name!r}: write list(map(str, classes))")
    if len(set(names)) < len(names):
        twice = max(names, key=names.count)
        raise ValueError(f"classes must be different names, but {str(twice)!r} is there {names.count(twice)} times")
    if len(names) < at_least:
        raise ValueError(f"classes must name all labels from 0 to {at_least - 1}, got {len(names)} names")
    return tuple(map(str, names))  # of NumPy's strings, Python's


# What from_arrays takes


def _array(what: str, given: Any) -> Array:
    """Return what was given as an array with at least one dimension."""
    with checks.named("from_arrays"):
        array = checks.array(what, given)
    if array.dtype.kind == "U" and isinstance(given, (list, tuple)):
        array = np.asarray(given, dtype=object)  # NumPy has written numbers, and nan, as strings
    if array.ndim == 0:
        raise ValueError(f"from_arrays: {what} must have a row for each sample, got {type(given).__name__}")
    return array


def _numbers(x: Any) -> Array:
    """Return the inputs as an array of real numbers with at least two dimensions."""
    array = _array("x", x)
    array = array[:, None] if array.ndim == 1 else array
    if array.dtype.kind not in "biuf":  # a table of columns of several types is an array of Python objects
        checks.columns_of_numbers("from_arrays: x", x, array)
        array = array.astype(np.float64)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
        name = (checks.columns(x) or range(array.shape[1]))[place[1]]
        found, remedy = f"of row {place[0]} is {array[place]}", "leave out rows with missing values, or fill them in"
        if len(array) > 1 and np.isnan(array[:, place[1]]).all():
            found, remedy = "is nan in every row", "leave the column out"
        raise ValueError(f"from_arrays: x must be finite, but column {name!r} {found}: {remedy}")
    return array


def _classes(t: Any, names: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...]]:
    """Return labels from 0 up, and the names of their classes."""
    array = _array("t", t)
    columns = checks.columns(t)
    if array.ndim > 2:
        raise ValueError(f"from_arrays: t must be one label or one row for each sample, got shape {array.shape}")
    if array.ndim == 2 and array.shape[1] != 1:
        return _of_rows(array, columns or range(array.shape[1]), names)
    where = f" in column {columns[0]!r}" if columns else ""
    values = _of_one_kind(array.reshape(len(array)), where)
    unique, labels = np.unique(values, return_inverse=True)
    written = [f"{value:.0f}" if values.dtype.kind == "f" else str(value) for value in unique.tolist()]
    numbers, counted = values.dtype.kind in "biuf", np.array_equal(unique, np.arange(len(unique)))
    if names is not None:
        if set(written) <= set(names):
            place = {value: i for i, value in enumerate(names)}
            return np.array([place[value] for value in written], np.intp)[labels], names
        if numbers and unique[0] >= 0 and unique[-1] < len(names):
            return unique.astype(np.intp)[labels], names
        wrong = next(value for value in written if value not in names)
        labels_are = f"labels from {written[0]} to {written[-1]}" if numbers else f"the label {wrong!r}"
        raise ValueError(
            f"from_arrays: t has {labels_are}{where}, but the classes are {len(names)} names: give all names, in the "
            "order of the labels from 0 up"
        )
    if numbers and not counted and len(unique) > _NUMBERED_CLASSES:
        raise ValueError(
            f"from_arrays: t has {len(unique)} different numbers{where}, from {written[0]} to {written[-1]}: for a "
            "regression give the pair (x, t) to fit. If they are classes, give np.asarray(t, str)"
        )
    return values if counted and values.dtype.kind in "iu" else labels, tuple(written)


def _of_one_kind(values: Array, where: str) -> Array:
    """Return labels as an array of booleans, whole numbers or strings; ValueError if they are none of these."""
    if values.dtype.kind in "OT":
        given = values.tolist()
        kind = Real if given and isinstance(given[0], Real) else str
        for i, value in enumerate(given):
            if not isinstance(value, kind) or value != value:  # nan is a number that differs from itself
                raise ValueError(
                    f"from_arrays: label {i}{where} is {value!r}: labels must be all whole numbers or all strings. "
                    "Leave out samples without a label"
                )
        values = np.array(given)
    if values.dtype.kind == "S":
        values = values.astype(np.str_)
    if values.dtype.kind not in "biufU":
        raise ValueError(f"from_arrays: labels must be whole numbers or strings, got dtype {values.dtype}{where}")
    if values.dtype.kind == "f":
        for i in np.flatnonzero(~np.isfinite(values) | (values != np.rint(values)))[:1]:
            missing = np.isnan(values[i])
            remedy = "leave out samples without a label" if missing else "for a regression give the pair (x, t) to fit"
            raise ValueError(
                f"from_arrays: t must be classes, but label {i}{where} is {values[i]}, no whole number: {remedy}"
            )
    return values


def _of_rows(rows: Array, columns: Iterable[Any], names: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...]]:
    """Return the labels of one-hot rows, and the names of their classes."""
    if rows.dtype.kind not in "biufO":
        hint = "" if checks.floats(rows) is None else ": give np.asarray(t, float)"
        raise ValueError(f"from_arrays: t of shape {rows.shape} must be one-hot rows, got dtype {rows.dtype}{hint}")
    ones = rows == 1
    wrong = np.flatnonzero((ones.sum(axis=1) != 1) | ((rows != 0) & ~ones).any(axis=1))
    if wrong.size:
        raise ValueError(
            f"from_arrays: t of shape {rows.shape} must be one-hot rows, with a single 1 and zeros, but row {wrong[0]} "
            f"is {reprlib.repr(rows[wrong[0]].tolist())}: for several numbers for each sample give the pair (x, t) to "
            "fit"
        )
    if names is not None and len(names) != rows.shape[1]:
        raise ValueError(f"from_arrays: t has {rows.shape[1]} columns, but there are {len(names)} classes")
    return ones.argmax(axis=1), names or tuple(map(str, columns))
