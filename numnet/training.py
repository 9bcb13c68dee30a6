"""Trainer: the loop over epochs and batches, and History, what it recorded."""

from __future__ import annotations

import copy
import csv
import functools
import io
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import backend
from .backend import Array
from .costs import Cost, as_targets, check_labels
from .layers import Scratch
from .network import CHUNK, Sequential, classes, generator, row_classes
from .optimizers import SGD

if TYPE_CHECKING:
    from .datasets import Dataset

    Data = Dataset | tuple[npt.ArrayLike, npt.ArrayLike]

# Numbers at hand at a time: 2 MB of float32, which a processor's cache still holds, and 32 MB, as a large GPU's does.
_BLOCK = {"cpu": 1 << 19, "gpu": 1 << 23}
# At most: few enough for the progress bar, and on a CPU for divergence to be noticed soon.
_BLOCK_BATCHES = {"cpu": 16, "gpu": 64}
_KEPT_ORDER = 1 << 20  # samples whose order is kept in memory, 8 MB


class DivergenceError(ValueError):
    """The training cost or a parameter became NaN or infinite."""


class Epoch(NamedTuple):
    """What was recorded of one epoch; see `History`."""

    epoch: int
    train_cost: float
    train_accuracy: float
    test_accuracy: float
    seconds: float


class History:
    """What was recorded of each epoch: iterate over it for rows, or take a column by its name.

    Attributes
    ----------
    epoch : list of int
        1 for the first.
    train_cost : list of float
        Mean over the epoch's samples, each before the update that its batch led to.
    train_accuracy : list of float
        Likewise; nan where targets have no classes.
    test_accuracy : list of float
        After the epoch; nan without test data.
    seconds : list of float
        Time to train the epoch, without the test.

    Examples
    --------
    >>> import numnet as nn
    >>> history = nn.History([nn.Epoch(1, 0.5, 0.8, 0.9, 0.1)])
    >>> history.test_accuracy[-1], len(history)
    (0.9, 1)
    >>> print(history.to_csv(), end="")
    epoch,train_cost,train_accuracy,test_accuracy,seconds
    1,0.5,0.8,0.9,0.1
    """

    def __init__(self, epochs: Iterable[Epoch] = ()) -> None:
        self._epochs = list(epochs)

    @property
    def epoch(self) -> list[int]:
        return [epoch.epoch for epoch in self._epochs]

    @property
    def train_cost(self) -> list[float]:
        return [epoch.train_cost for epoch in self._epochs]

    @property
    def train_accuracy(self) -> list[float]:
        return [epoch.train_accuracy for epoch in self._epochs]

    @property
    def test_accuracy(self) -> list[float]:
        return [epoch.test_accuracy for epoch in self._epochs]

    @property
    def seconds(self) -> list[float]:
        return [epoch.seconds for epoch in self._epochs]

    def append(self, epoch: Epoch) -> None:
        """Add one epoch."""
        self._epochs.append(epoch)

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the columns by name."""
        return {name: getattr(self, name) for name in Epoch._fields}

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the table as CSV, a header line first; written to `path` as well where one is given."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([Epoch._fields, *self._epochs])
        if path is not None:
            Path(path).write_text(text.getvalue(), encoding="utf-8")
        return text.getvalue()

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self._epochs)

    def __len__(self) -> int:
        return len(self._epochs)

    def __getitem__(self, index: int) -> Epoch:
        return self._epochs[index]

    def __repr__(self) -> str:
        lines = ["epoch  train cost  train accuracy  test accuracy  seconds"]
        lines += [f"{e:5}  {cost:10.4f}  {train:14.4f}  {test:13.4f}  {s:7.2f}" for e, cost, train, test, s in self]
        return "\n".join(lines)


class Trainer:
    """One run: trains a network on a cost with an optimizer, batch by batch.

    Parameters
    ----------
    net : Sequential
    cost : Cost
    optimizer : SGD
        Copied, with its velocity at 0: `trainer.optimizer` is the one at work.
    seed : int, optional
        Of the generator that shuffles; the same seeds give the same bits.

    Attributes
    ----------
    history : History
        Of all epochs so far, over several calls of `fit`.

    Raises
    ------
    ValueError
        If the cost cannot follow from the network's last layers: cross-entropy over outputs that are no probabilities,
        or over a softmax taken twice.

    Examples
    --------
    >>> import numnet as nn
    >>> train, test = nn.datasets.digits()
    >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    >>> trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
    >>> history = trainer.fit(train, epochs=5, batch_size=64, test=test)
    >>> history.test_accuracy[-1] > 0.9
    True
    """

    def __init__(self, net: Sequential, cost: Cost, optimizer: SGD, seed: int | None = None) -> None:
        for name, value, kind in (("net", net, Sequential), ("cost", cost, Cost), ("optimizer", optimizer, SGD)):
            if not isinstance(value, kind):
                raise ValueError(f"Trainer: {name} must be a {kind.__name__}, got {value!r}")
        if net.dtype.kind == "c":
            raise ValueError("Trainer: a complex network is for gradcheck; train one of float32 or float64")
        self.net, self.cost = net, cost
        self.pair = cost.pair(net.layers)
        self.optimizer = copy.copy(optimizer)
        self.optimizer.start(net)
        self.rng = generator(seed)
        self.history = History()
        self._scratch = Scratch()

    def step(self, x: npt.ArrayLike, t: npt.ArrayLike) -> float:
        """Train on one batch: forward, backward, update.

        Parameters
        ----------
        x : array_like of shape (n, ...)
            As for a call of the network.
        t : array_like of shape (n,) or (n, outputs)
            Class indices or rows.

        Returns
        -------
        float
            The mean cost before the update.

        Raises
        ------
        ValueError
            If x or t do not fit; nothing is changed then.
        DivergenceError
            If the cost is NaN or infinite; the parameters are left as they were before the step.
        """
        samples = _Samples(self, (x, t), "step")
        lr = self.optimizer.learning_rate(len(self.history) + 1)
        self._follow()
        with _quiet(), backend.advice():
            x, t, _ = samples.take(backend.to(np.arange(len(samples)), self.net.device))
            z, y = self.net.backpropagate(self.pair, x, t)
            cost = float(self.pair.value(z, y, t))
            if not math.isfinite(cost):
                raise DivergenceError(_divergence("the training cost", cost, "in this step", lr))
            self.optimizer.update(self.net.parameters, self.net.gradients, lr)
        return cost

    def fit(
        self,
        train: Data,
        epochs: int,
        batch_size: int,
        test: Data | None = None,
        callbacks: Sequence[Callable[[Trainer], object]] = (),
        progress: bool = True,
    ) -> History:
        """Train for some epochs, in each on all samples in a new order.

        Parameters
        ----------
        train : Dataset or (x, t)
            Images and labels, or arrays as for `step`.
        epochs : int
            At least 1. A further call goes on where the last one stopped.
        batch_size : int
            At least 1. The last batch of an epoch has what is left.
        test : Dataset or (x, t), optional
            For the accuracy after each epoch.
        callbacks : list of callable
            Each is called with the trainer after each epoch.
        progress : bool, default True
            Show a bar, on a terminal or in a notebook.

        Returns
        -------
        History
            That of the trainer.

        Raises
        ------
        ValueError
            If an argument or the data is not usable; nothing is changed then.
        DivergenceError
            If the training cost becomes NaN or infinite; `history` keeps the epochs before. It may be noticed some
            batches late, so the parameters are of no use then.
        """
        for name, value in (("epochs", epochs), ("batch_size", batch_size)):
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                raise ValueError(f"fit: {name} must be a whole number of at least 1, got {value!r}")
        epochs, batch_size = int(epochs), int(batch_size)  # NumPy's own integers can overflow
        if not isinstance(callbacks, (list, tuple)) or not all(map(callable, callbacks)):
            raise ValueError(f"fit: callbacks must be a list of functions of the trainer, got {callbacks!r}")
        samples = _Samples(self, train, "train")
        tests = None if test is None else _Samples(self, test, "test")
        batches = math.ceil(len(samples) / batch_size)
        first = len(self.history) + 1
        lrs = {epoch: self.optimizer.learning_rate(epoch) for epoch in range(first, first + epochs)}
        self._follow()
        last: tuple[Any, ...] = ()
        with _bar(epochs * batches, progress) as bar, backend.advice():
            for epoch, lr in lrs.items():
                started = time.perf_counter()
                if last != (lr, id(self.net.parameters)):  # these are recorded where anything is
                    last = lr, id(self.net.parameters)
                    train_block = backend.repeated(
                        functools.partial(self._train_block, samples, batch_size, lr), self.net.device
                    )
                with _quiet():
                    cost, accuracy = self._train_epoch(samples, train_block, batch_size, lr, epoch, bar)
                seconds = time.perf_counter() - started
                test_accuracy = math.nan if tests is None else tests.accuracy()
                self.history.append(Epoch(epoch, cost, accuracy, test_accuracy, seconds))
                if bar is not None:
                    bar.set_postfix(epoch=epoch, cost=f"{cost:.4f}", test=f"{test_accuracy:.4f}")
                for callback in callbacks:
                    callback(self)
        return self.history

    def _follow(self) -> None:
        """Be where the network is now."""
        if backend.device_of(self.optimizer.velocity) != self.net.device:
            self.optimizer.to(self.net.device)

    def _train_epoch(
        self, samples: _Samples, train_block: Any, batch_size: int, lr: float, epoch: int, bar: Any
    ) -> tuple[float, float]:
        """Return the mean cost and the accuracy over an epoch; both are taken a block at a time, in far fewer calls."""
        on_cpu = self.net.device == "cpu"
        costs, rights, sizes, batches = [], [], [], 0
        for rows in samples.blocks(self.rng, batch_size):
            cost, right = train_block(rows)
            if on_cpu and not math.isfinite(cost):  # in one of the batches, or only in the sum over them
                cost = self._cost_of_batches(batch_size, lr, epoch, batches)
            costs.append(cost)
            rights.append(right)
            sizes.append(len(rows))
            batches += math.ceil(len(rows) / batch_size)
            if bar is not None:
                bar.update(math.ceil(len(rows) / batch_size))
        costs, rights = backend.numbers(costs), backend.numbers(rights)  # all that a GPU sends back
        if not math.isfinite(sum(costs)):
            block = next(i for i, cost in enumerate(costs) if not math.isfinite(cost))
            first, count = sum(math.ceil(size / batch_size) for size in sizes[:block]) + 1, sizes[block] / batch_size
            where = f"in epoch {epoch}, in one of the batches {first} to {first + math.ceil(count) - 1}"
            raise DivergenceError(_divergence("the training cost", costs[block], where, lr))
        if not np.isfinite(self.net.parameters).all():
            raise DivergenceError(_divergence("a parameter", "not finite", f"after epoch {epoch}", lr))
        total = math.fsum(cost * size for cost, size in zip(costs, sizes, strict=True))
        return total / len(samples), sum(rights) / len(samples)

    def _train_block(self, samples: _Samples, batch_size: int, lr: float, rows: Array) -> tuple[Any, Any]:
        """Train on some samples in batches; return their mean cost and how many were classified rightly before."""
        net, pair, update = self.net, self.pair, self.optimizer.update
        parameters, gradients = net.parameters, net.gradients
        on_cpu = net.device == "cpu"
        x, t, labels = samples.take(rows)
        z, y = self._scratch("z", t.shape, t), self._scratch("y", t.shape, t)
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            if on_cpu:
                last_z, y[part] = net.backpropagate(pair, x[part], t[part])
                if pair.value_from_z:
                    z[part] = last_z
            else:  # a copy is one more kernel, and the layers' own arrays are no faster to work in
                ends = (z[part], y[part]) if pair.value_from_z else (y[part],)
                last_z, _ = net.backpropagate(pair, x[part], t[part], out=ends)
                if pair.value_from_z and len(net.layers) == 1:
                    z[part] = last_z
            update(parameters, gradients, lr)
        self._block = z, y, t
        right: Any = math.nan
        if labels is not None:
            found = classes(y, out=self._scratch("classes", labels.shape, labels))
            right = np.count_nonzero(np.equal(found, labels, out=self._scratch("right", found.shape, found, bool)))
        return pair.value(z, y, t), right

    def _cost_of_batches(self, batch_size: int, lr: float, epoch: int, before: int) -> float:
        """Return the mean cost of the last block, from its batches; DivergenceError where one of them has none."""
        z, y, t = self._block
        total = 0.0
        for batch, start in enumerate(range(0, len(t), batch_size), before + 1):
            part = slice(start, start + batch_size)
            cost = float(self.pair.value(z[part], y[part], t[part]))
            if not math.isfinite(cost):
                where = f"in epoch {epoch}, batch {batch}"
                raise DivergenceError(_divergence("the training cost", cost, where, lr))
            total += cost * len(t[part]) / len(t)
        return total


class _Samples:
    """Checked inputs and targets where the network is, gathered in parts: bytes stay bytes until they are in one."""

    def __init__(self, trainer: Trainer, data: Data, name: str) -> None:
        self.net = net = trainer.net
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
                trainer.pair.check(self.rows)
                if outputs > 1 or trainer.pair.layer.probabilities is not None:
                    self.labels = row_classes(self.rows)
        except ValueError as error:
            kind = backend.DeviceError if isinstance(error, backend.DeviceError) else ValueError
            raise kind(f"{name}: {error}") from None
        self.outputs = outputs
        self._scratch = Scratch()
        if net.device == "gpu":
            self.x = backend.to(self.x, "gpu")
            self.one_hot = backend.to(self.one_hot, "gpu")
            self.rows = None if self.rows is None else backend.to(self.rows, "gpu")
            self.labels = None if self.labels is None else backend.to(self.labels.astype(np.intp), "gpu")

    def __len__(self) -> int:
        return len(self.x)

    def blocks(self, rng: np.random.Generator, batch_size: int) -> Iterator[npt.NDArray[np.intp]]:
        """Yield the samples' numbers in a new order, in blocks of whole batches."""
        numbers = batch_size * (self.x.shape[1] + 4 * self.outputs)  # x, t, z, y, and what the cost needs
        device = self.net.device
        size = batch_size * min(max(1, _BLOCK[device] // numbers), _BLOCK_BATCHES[device])
        order = shuffled(len(self), rng)
        if device == "gpu" and len(self) <= _KEPT_ORDER:
            kept = backend.to(order(0, len(self)), device)  # one journey for the epoch
            for start in range(0, len(self), size):
                yield kept[start : start + size]
            return
        for start in range(0, len(self), size):
            yield backend.to(order(start, min(start + size, len(self))), device)

    def take(self, rows: Array) -> tuple[Array, Array, Array | None]:
        """Return inputs, targets and class indices (if any) of some samples, in arrays that the next call reuses."""
        n, features, like = len(rows), self.x.shape[1], self.net.parameters
        x, t, labels = self._scratch("x", (n, features), like), self._scratch("t", (n, self.outputs), like), None
        if backend.on_gpu(rows):
            backend.gather(self.x, rows, 1 / 255 if self.x.dtype == np.uint8 else 1.0, x)
            labels = None if self.labels is None else self.labels[rows]
            one_hot = self.rows is None
            backend.gather(self.one_hot if one_hot else self.rows, labels if one_hot else rows, 1.0, t)
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


def _quiet() -> AbstractContextManager[Any]:
    """Keep NumPy from warning of overflow: a DivergenceError says it once, and what to do."""
    return np.errstate(over="ignore", invalid="ignore")


def _divergence(what: str, value: object, where: str, lr: float) -> str:
    return (
        f"{what} became {value} {where}: training has diverged. Try a smaller learning rate than {lr:g}, or clip the "
        "gradient with SGD(clip_norm=...); the history up to the last whole epoch is in trainer.history"
    )


def _bar(steps: int, progress: bool) -> AbstractContextManager[Any]:
    """Return a progress bar where somebody can see one: on a terminal, or in a notebook."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if not progress or not (terminal or "ipykernel" in sys.modules):
        return nullcontext()
    from tqdm.auto import tqdm

    return tqdm(total=steps, unit="batch")
