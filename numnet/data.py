"""Samples in a new order each epoch, gathered in blocks of batches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from . import backend, checks, mapped
from .backend import Array
from .costs import Pair
from .datasets import Dataset
from .network import Sequential, classes

Data: TypeAlias = Dataset | tuple[npt.ArrayLike, npt.ArrayLike]

_SPREAD = 1000  # samples, or fewer if they are so large that they would take much memory
BLOCK_BATCHES = 64  # at most in a block: few enough for a progress bar that moves, and to notice divergence soon


@checks.quiet
def checked(net: Sequential, pair: Pair, data: Data, name: str) -> tuple[Array, Array]:
    """Return inputs of shape (n, features), and class indices of shape (n,) or targets of shape (n, outputs)."""
    with checks.named(name):
        x, t = checks.images_and_labels(data)
        x = checks.inputs(x, net, in_fit=name in ("train", "test"))
        t = t if type(t) is np.ndarray else backend.to(net.operations.asarray("targets", t), "cpu")
        mapped.refuse_cut("targets", t)
        checks.samples(x, t, net.parameters.dtype)
        outputs = net.outputs or x.shape[1]
        if t.ndim == 1 and outputs > 1:
            return x, checks.labels(t, outputs)
        t = checks.targets(t, outputs, net.parameters.dtype)
        checks.suitable(t, pair)
        return x, t


def one_hot(net: Sequential, labels: Array, classes: Array) -> Array:
    """Return the rows of targets that class indices stand for: t_ij = [label i = class j]."""
    return np.equal(labels[:, None], classes, out=net.empty(len(labels), len(classes)))


class Samples:
    """Checked inputs and targets, on the network's device. Bytes stay bytes until a block of them is trained on.

    Attributes
    ----------
    x : ndarray of shape (n, features)
    labels : ndarray of shape (n,), or None
        Class indices; None if the targets have no classes.
    targets : ndarray of shape (n, outputs), or None
        Targets that were given as rows; None if they were given as class indices.
    shape : tuple of int
        The shape of one input as it was given, such as (28, 28) for an image; empty for a list.
    names : tuple of str, or None
        The names of the classes.
    weight : ndarray of shape (n,), or None
        How much each sample counts; the mean is 1.
    size : int
    spread : ndarray of int
        The row numbers of about a thousand samples, spread evenly.
    files : list of tuple
        The files that the inputs and targets are mapped from, each with its state.
    """

    @checks.quiet
    def __init__(self, net: Sequential, pair: Pair, data: Data, name: str, weight: npt.ArrayLike | None = None) -> None:
        self.net, self.pair, self.operations = net, pair, net.operations
        self.name, self.names = f"{name} has changed while in use", getattr(data, "classes", None)
        self.x, t = checked(net, pair, data, name)
        self.shape = getattr(checks.images_and_labels(data)[0], "shape", ())[1:]
        self.size, self.outputs = len(self.x), net.outputs or self.x.shape[1]
        self.weight = None if weight is None else self._normalized(checks.sample_weight(weight, self.size))
        self.files = [(path, checks.file_state(path)) for array in (self.x, t) if (path := mapped.file_of(array))]
        self.targets = None if t.ndim == 1 else t
        self.labels: Array | None = t if t.ndim == 1 else checks.target_classes(t, pair.layer)
        rows = min(_SPREAD, max(64, 8_000_000 // (self.x.shape[1] + self.outputs)))
        self.spread = self.operations.place(np.arange(0, self.size, max(1, self.size // rows)))
        place = self.operations.place
        x, self.x, self._classes = self.x, place(self.x), place(np.arange(self.outputs))
        self.targets, self.labels = (None if a is None else place(a) for a in (self.targets, self.labels))
        self._lent = self.x is x  # no copy, so somebody may change it, and likewise the targets
        self._arrays: dict[str, Array] = {}

    def _normalized(self, weight: Array) -> Array:
        weight = weight / weight.max()  # first: a sum could overflow
        return self.operations.place((weight / weight.mean()).astype(self.net.dtype))

    def blocks(self, rng: np.random.Generator, batch_size: int, start: int = 0) -> Iterator[npt.NDArray[np.intp]]:
        """Yield row numbers in a new order, in blocks of whole batches; skip the first `start` row numbers."""
        order = self.operations.place(rng.permutation(self.size))
        features = self.x.shape[1] + 4 * self.outputs  # x, t, z, y, and what the cost needs
        batches = max(1, self.operations.block // (batch_size * features))
        size = batch_size * min(batches, BLOCK_BATCHES)
        for first in range(start, self.size, size):
            yield order[first : first + size]

    def take(self, rows: Array) -> tuple[Array, Array, Array | None]:
        """Return inputs, targets and class indices (if any) of the samples with these row numbers.

        The data may have changed since they were checked, in their file or in memory. So what is taken is checked. The
        next call reuses the arrays, except that of one-hot targets.
        """
        with checks.named(self.name):
            # First, since to touch what a file no longer has would end the process.
            checks.unchanged(self.files)
            x = self._gathered("x", self.x, rows)
            if x.dtype != self.net.parameters.dtype:
                floats = self._kept("floats", x.shape, self.net.parameters.dtype)
                x = self.net.scaled(x, out=floats)
            targets = self.labels if self.targets is None else self.targets
            t = self._gathered("t", targets, rows)  # type: ignore[arg-type]
            if self._lent and len(rows):  # a rank may have no sample of a block
                checks.again(self, rows, x, t)
        if self.targets is None:
            return x, one_hot(self.net, t, self._classes), t
        return x, t, None if self.labels is None else classes(t, self.pair.layer)

    def evaluate(self, rows: Array | None = None) -> tuple[float, float]:
        """Return the mean cost of all samples or of some, and the share that the network classifies rightly."""
        rows = self.operations.place(np.arange(self.size)) if rows is None else rows
        cost, right = 0.0, 0.0
        for part in checks.parts(len(rows), self.x.shape[1], *self.net.widths):
            with self.operations.quiet():
                x, t, labels = self.take(rows[part])
                z, y = self.net.infer(x)
                checks.layer_output(self.pair.layer, y, t.shape)
                cost += float(self.pair.value(z, y, t)) * len(x)
                right += math.nan if labels is None else int(np.count_nonzero(classes(y, self.pair.layer) == labels))
        return cost / len(rows), right / len(rows)

    def _gathered(self, name: str, array: Array, rows: Array) -> Array:
        out = self._kept(name, (len(rows), *array.shape[1:]), array.dtype)
        if isinstance(array, np.ndarray) and not (array.flags.c_contiguous and array.flags.aligned):
            out[...] = array[rows]  # of such an array, np.take would first copy the whole
        else:
            self.operations.gather(array, rows, out=out)
        return out

    def _kept(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array that is kept under this name; a smaller shape takes a part of it."""
        kept = self._arrays.get(name)
        if kept is None or len(kept) < shape[0]:
            kept = self._arrays[name] = np.empty(shape, dtype, like=self.net.parameters)
        return kept[: shape[0]]
