"""The samples of a training, checked, in a random order, gathered in blocks of batches."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import backend
from .backend import Array
from .costs import Pair, as_targets, check_labels
from .layers import Scratch
from .network import CHUNK, Sequential, classes, row_classes

if TYPE_CHECKING:
    from .datasets import Dataset

    Data = Dataset | tuple[npt.ArrayLike, npt.ArrayLike]

# Numbers at hand at a time: 2 MB of float32, which a processor's cache still holds, and 32 MB, as a large GPU's does.
_BLOCK = {"cpu": 1 << 19, "gpu": 1 << 23}
# At most: few enough for the progress bar, and on a CPU for divergence to be noticed soon.
_BLOCK_BATCHES = {"cpu": 16, "gpu": 64}
_KEPT_ORDER = 1 << 20  # samples whose order is kept in memory, 8 MB


class Samples:
    """Checked inputs and targets where the network is, gathered in parts: bytes stay bytes until they are in one."""

    def __init__(self, net: Sequential, pair: Pair, data: Data, name: str) -> None:
        self.net = net
        self.device = net.device
        try:
            x, t = _inputs_and_targets(data)
            backend.check_together("targets", t, net.device)
            self.x, t = net.check_inputs(x), backend.to(t, "cpu")
            outputs = net.outputs or self.x.shape[1]
            if len(self.x) == 0 or t.ndim == 0 or len(self.x) != len(t):
                raise ValueError(
                    f"one target for each of at least one sample is needed, got {len(self.x)} samples and targets "
                    f"of shape {t.shape}"
                )
            self.rows: Array | None = None
            self.labels: Array | None = None
            self.one_hot = np.eye(outputs, dtype=net.dtype)
            if t.ndim == 1 and outputs > 1:
                self.labels = check_labels(t, outputs)
            else:
                self.rows = as_targets(t, outputs, net.dtype)
                pair.check(self.rows)
                if outputs > 1 or pair.layer.probabilities is not None:
                    self.labels = row_classes(self.rows)
        except ValueError as error:
            kind = backend.DeviceError if isinstance(error, backend.DeviceError) else ValueError
            raise kind(f"{name}: {error}") from None
        self.outputs = outputs
        self._scratch = Scratch()
        self.file = _mapped_file(x)
        self._file_state = None if self.file is None else _file_state(self.file)
        if net.device == "gpu":
            self.x = backend.to(self.x, "gpu")
            self.one_hot = backend.to(self.one_hot, "gpu")
            self.rows = None if self.rows is None else backend.to(self.rows, "gpu")
            self.labels = None if self.labels is None else backend.to(self.labels.astype(np.intp), "gpu")

    def __len__(self) -> int:
        return len(self.x)

    def _check_file(self) -> None:
        """Raise ValueError where the file that the inputs are mapped from is no longer what it was."""
        if self.file is not None and _file_state(self.file) not in (self._file_state, None):
            raise ValueError(
                f"train: the file {self.file} has changed during training: start again with what it is now"
            )

    def blocks(self, rng: np.random.Generator, batch_size: int, start: int = 0) -> Iterator[npt.NDArray[np.intp]]:
        """Yield the samples' numbers in a new order, in blocks of whole batches; without the first `start` of them."""
        numbers = batch_size * (self.x.shape[1] + 4 * self.outputs)  # x, t, z, y, and what the cost needs
        device = self.net.device
        size = batch_size * min(max(1, _BLOCK[device] // numbers), _BLOCK_BATCHES[device])
        order = shuffled(len(self), rng)
        if device == "gpu" and len(self) <= _KEPT_ORDER:
            kept = backend.to(order(0, len(self)), device)  # one journey for the epoch
            order = lambda start, stop: kept[start:stop]  # noqa: E731
        for first in range(start, len(self), size):
            self._check_file()
            yield backend.to(order(first, min(first + size, len(self))), device)

    def take(self, rows: Array) -> tuple[Array, Array, Array | None]:
        """Return inputs, targets and class indices (if any) of some samples, in arrays that the next call reuses."""
        n, features, like = len(rows), self.x.shape[1], self.net.parameters
        x, t, labels = self._scratch("x", (n, features), like), self._scratch("t", (n, self.outputs), like), None
        if backend.on_gpu(rows):
            backend.gather(self.x, rows, 1 / 255 if self.x.dtype == np.uint8 else 1.0, x)
            labels = None if self.labels is None else self.labels[rows]
            source, chosen = (self.one_hot, labels) if self.rows is None else (self.rows, rows)
            backend.gather(source, chosen, 1.0, t)
            return x, t, labels
        raw = x if self.x.dtype == x.dtype else self._scratch("raw", x.shape, self.x)
        _gather(self.x, rows, raw)
        if raw is not x:
            self.net.scaled(raw, out=x)
        if self.rows is not None:
            _gather(self.rows, rows, t)
        if self.labels is not None:
            labels = self._scratch("labels", (n,), rows)
            labels[...] = _gather(self.labels, rows, self._scratch("raw labels", (n,), self.labels))
            if self.rows is None:
                _gather(self.one_hot, labels, t)
        return x, t, labels

    def accuracy(self) -> float:
        """Return the share of samples that the network classifies as their targets; nan where these have no classes."""
        if self.labels is None:
            return math.nan
        parts = (slice(start, start + CHUNK) for start in range(0, len(self), CHUNK))
        correct = [np.count_nonzero(classes(self.net.infer(self.x[part])) == self.labels[part]) for part in parts]
        return sum(backend.numbers(correct)) / len(self)


def _mapped_file(array: Any) -> str | None:
    """Return the file that an array, or the one that it is a view of, is mapped from."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and array.filename is not None:
            return os.fspath(array.filename)
        array = array.base
    return None


def _file_state(path: str) -> tuple[int, int] | None:
    """Return size and time of a file; None for one that is gone, of which a mapping keeps the contents."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def _gather(array: Array, rows: npt.NDArray[np.intp], out: Array) -> Array:
    """Write some rows of an array to `out`."""
    if array.flags.c_contiguous and array.flags.aligned:
        return array.take(rows, axis=0, out=out, mode="clip")  # with any other mode NumPy makes a copy of `out` first
    out[...] = array[rows]  # of this array, take would make a copy first
    return out


def shuffled(n: int, rng: np.random.Generator) -> Callable[[int, int], npt.NDArray[np.intp]]:
    """Return a function that gives any part, from start to stop, of a random order of n samples.

    Orders of many samples are not kept in memory but computed, by a Feistel network of four random functions (M. Luby
    and C. Rackoff, How to construct pseudorandom permutations from pseudorandom functions, 1988, doi:10.1137/0217022).
    """
    if n <= _KEPT_ORDER:
        order = rng.permutation(n)
        return lambda start, stop: order[start:stop]
    side = math.isqrt(n - 1) + 1
    functions = rng.integers(side, size=(4, side))

    def moved(i: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        high, low = np.divmod(i, side)
        for function in functions:  # each round can be taken back, so no two numbers become the same
            high, low = low, (high + function[low]) % side
        return high * side + low

    def part(start: int, stop: int) -> npt.NDArray[np.intp]:
        i = moved(np.arange(start, stop))
        while (outside := i >= n).any():  # the square has up to 2 sqrt(n) more places: go on from there
            i[outside] = moved(i[outside])
        return i

    return part


def _inputs_and_targets(data: Any) -> tuple[Any, Any]:
    if hasattr(data, "images") and hasattr(data, "labels"):
        return data.images, data.labels
    if isinstance(data, (tuple, list)) and len(data) == 2:
        if hasattr(data[0], "images"):
            raise ValueError(
                "data must be one Dataset, got a pair of them: unpack it, train, test = ..., and give each"
            )
        return data[0], data[1]
    raise ValueError(f"data must be a Dataset or a pair of arrays (x, t), got {type(data).__name__}")
