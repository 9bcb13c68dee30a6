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
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from . import backend
from .backend import Array
from .checkpoint import CheckpointError, Left, Saver, blamed, load_run, number
from .costs import Cost
from .layers import Layer, Scratch
from .network import Sequential, classes, generator
from .notebook import history_html, in_notebook
from .optimizers import SGD
from .samples import Samples

if TYPE_CHECKING:
    from .samples import Data


_FORESEEN = 10_000  # epochs at most whose learning rates are tried before the first


class DivergenceError(ValueError):
    """The training cost or a parameter became NaN or infinite.

    Examples
    --------
    >>> import numnet as nn
    >>> train, test = nn.datasets.digits()
    >>> net = nn.Sequential(nn.Linear(64, 10), seed=0)
    >>> trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(lr=1.0), seed=0)
    >>> try:
    ...     trainer.fit(train, epochs=10, batch_size=64)
    ... except nn.DivergenceError as error:
    ...     print(str(error).partition(":")[0])
    the training cost became inf in epoch 1, batch 20
    """


class Epoch(NamedTuple):
    """What was recorded of one epoch; `History` says what each number is.

    Attributes
    ----------
    epoch : int
    train_cost, train_accuracy, test_accuracy, seconds : float

    Examples
    --------
    >>> import numnet as nn
    >>> epoch = nn.Epoch(epoch=1, train_cost=0.5, train_accuracy=0.8, test_accuracy=0.9, seconds=0.1)
    >>> epoch.test_accuracy
    0.9
    """

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

    def _repr_html_(self) -> str:
        """Return the curves and the table that a notebook shows."""
        return history_html(self)


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
                hint = f": write {value.__name__}(...)" if isinstance(value, type) and issubclass(value, kind) else ""
                a = "an" if kind is SGD else "a"
                raise ValueError(f"Trainer: {name} must be {a} {kind.__name__}, got {value!r}{hint}")
        if net.dtype.kind == "c":
            raise ValueError("Trainer: a complex network is for gradcheck; train one of float32 or float64")
        self.net, self.cost = net, cost
        self.pair = cost.pair(net.layers)
        self.optimizer = copy.copy(optimizer)
        self.optimizer.start(net)
        self.rng = generator(seed)
        self.history = History()
        self._left: Left | None = None
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
            If the cost is NaN or infinite; the parameters are left as they were before the step. (Ctrl-C may come in
            the middle of an update.)
        """
        samples = Samples(self.net, self.pair, (x, t), "step")
        lr = self.optimizer.learning_rate(len(self.history) + 1)
        self._follow()
        with _quiet(), backend.advice():
            x, t, _ = samples.take(backend.to(np.arange(len(samples)), self.net.device))
            z, y = self.net.backpropagate(self.pair, x, t)
            cost = float(self.pair.value(z, y, t))
            if not math.isfinite(cost):
                raise DivergenceError(_divergence("the training cost", cost, "in this step", lr))
            self.optimizer.update(self.net.parameters, self.net.gradients, self._rate(lr))
        return cost

    def fit(
        self,
        train: Data,
        epochs: int | None = None,
        batch_size: int | None = None,
        test: Data | None = None,
        callbacks: Sequence[Callable[[Trainer], object]] = (),
        progress: bool = True,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | str = 1,
        checkpoint_failure: Literal["raise", "warn"] = "raise",
    ) -> History:
        """Train for some epochs, in each on all samples in a new order.

        An epoch is done whole or not at all: whatever ends it early, an error or Ctrl-C, network, optimizer, generator
        and history are then as they were before it (or, in the middle of an epoch that was resumed, as in the file).

        Parameters
        ----------
        train : Dataset or (x, t)
            Images and labels, or arrays as for `step`.
        epochs : int
            At least 1. A further call goes on where the last one stopped. May be left out, with `batch_size`, to do
            what is left of a run that was interrupted or resumed.
        batch_size : int
            At least 1. The last batch of an epoch has what is left.
        test : Dataset or (x, t), optional
            For the accuracy after each epoch.
        callbacks : list of callable
            Each is called with the trainer after each epoch.
        progress : bool, default True
            Show a bar, on a terminal or in a notebook.
        checkpoint : str or os.PathLike, optional
            A file to write the whole run to, for `Trainer.resume`, again and again: the one before is kept until the
            new one is whole and on the disk.
        checkpoint_every : int or str, default 1
            After how many epochs, or as in "500 batches", after how many of these (and as many as are still computed
            together, 16 at most, on a GPU 64). After the last epoch in any case.
        checkpoint_failure : {"raise", "warn"}
            What to do where it cannot be written: raise the OSError, or warn, go on, and try again the next time.

        Returns
        -------
        History
            That of the trainer.

        Raises
        ------
        ValueError
            If an argument or the data is not usable; nothing is changed then. If a file that the data are mapped from
            has changed since.
        DivergenceError
            If the training cost becomes NaN or infinite.
        OSError
            If a checkpoint cannot be written.
        """
        left = self._left
        if epochs is None and batch_size is None:
            if left is None:
                raise ValueError("fit: epochs and batch_size are needed, since no interrupted run is left to finish")
        elif left is not None and left.sizes:
            raise ValueError(
                f"fit: the run is in the middle of epoch {len(self.history) + 1} of {left.last}, with batches of "
                f"{left.batch_size}: finish it first, by fit without epochs and batch_size"
            )
        else:
            for name, value in (("epochs", epochs), ("batch_size", batch_size)):
                if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                    raise ValueError(f"fit: {name} must be a whole number of at least 1, got {value!r}")
            left = None
        if not isinstance(callbacks, (list, tuple)) or not all(map(callable, callbacks)):
            raise ValueError(f"fit: callbacks must be a list of functions of the trainer, got {callbacks!r}")
        saver = Saver(self, checkpoint, checkpoint_every, checkpoint_failure)
        samples = Samples(self.net, self.pair, train, "train")
        tests = None if test is None else Samples(self.net, self.pair, test, "test")
        if left is None:
            left = Left(len(self.history) + int(epochs or 0), int(batch_size or 0), len(samples))
        elif left.sizes and left.samples != len(samples):
            raise ValueError(
                f"train: the run was interrupted in an epoch over {left.samples} samples, but here are {len(samples)}"
            )
        saver.check_not(samples.file)
        first, batches = len(self.history) + 1, math.ceil(len(samples) / left.batch_size)
        schedule, foreseen = self.optimizer.lr, {}
        if callable(schedule):  # it may raise an error
            foreseen = {e: self.optimizer.learning_rate(e) for e in range(first, min(left.last, first + _FORESEEN) + 1)}
        self._left, left.samples = left, len(samples)
        self._follow()
        trains = _BlockTrainer(self, samples, left.batch_size)
        steps = (left.last - first + 1) * batches - sum(math.ceil(size / left.batch_size) for size in left.sizes)
        with _bar(steps, progress) as bar, backend.advice():
            while (epoch := len(self.history) + 1) <= left.last:  # a callback may itself call fit
                self._left = left
                if samples.device != self.net.device:  # a callback has moved it
                    samples = Samples(self.net, self.pair, train, "train")
                    tests = None if test is None else Samples(self.net, self.pair, test, "test")
                    self._follow()
                    trains = _BlockTrainer(self, samples, left.batch_size)
                foresaw = self.optimizer.lr is schedule and epoch in foreseen  # a callback may have changed it
                lr = foreseen[epoch] if foresaw else self.optimizer.learning_rate(epoch)
                train_block = trains.at(lr)
                before = self._state()
                try:
                    started = time.perf_counter() - left.seconds
                    with _quiet():
                        cost, accuracy = self._train_epoch(samples, train_block, left, lr, epoch, bar, saver, started)
                    seconds = time.perf_counter() - started
                    test_accuracy = math.nan if tests is None else tests.accuracy()
                    self.history.append(Epoch(epoch, cost, accuracy, test_accuracy, seconds))
                    self._left = left = Left(left.last, left.batch_size, left.samples)
                except BaseException:
                    while self._left is not before[-1]:
                        with suppress(KeyboardInterrupt):  # once more: the error that is under way ends all in any case
                            self._set_state(before)
                    raise
                try:
                    if bar is not None:
                        shown = {} if tests is None else {"test": f"{test_accuracy:.4f}"}
                        bar.set_postfix({"epoch": epoch, "cost": f"{cost:.4f}", **shown})
                    for callback in callbacks:
                        callback(self)
                finally:  # with what the callbacks have changed, and also where one of them raises
                    saver.after_epoch(left, epoch)
        return self.history

    @classmethod
    def resume(
        cls, path: str | os.PathLike[str], lr: float | Callable[[int], float] | None = None, device: str = "cpu"
    ) -> Trainer:
        """Return a trainer as it was when `fit` wrote a checkpoint: ``fit(train)`` does what was left.

        It ends with the same bits as if it had not been interrupted, on the same machine and versions, if all that the
        layers remember is in their `parameters`. Data, test data, callbacks, and whether further checkpoints shall be
        written, are not in the file.

        Parameters
        ----------
        path : str or os.PathLike
        lr : float or callable, optional
            In place of the file's; needed where it was a function.
        device : {"cpu", "gpu", "auto"}
            Where the network shall be.

        Raises
        ------
        CheckpointError
            If the file is no such run; it says why.
        OSError
            If it cannot be opened; FileNotFoundError if there is none.

        Examples
        --------
        >>> import os, tempfile
        >>> import numnet as nn
        >>> train, test = nn.datasets.digits()
        >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
        >>> trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "run.npz")
        ...     history = trainer.fit(train, epochs=2, batch_size=64, checkpoint=path)
        ...     again = nn.Trainer.resume(path)
        >>> again.fit(train, epochs=1, batch_size=64)[-1].train_cost < history[-1].train_cost
        True
        """
        net, cost, velocity, header = load_run(path, backend.choose(device))
        with blamed(path):
            options = header["optimizer"]
            if lr is None and options["lr"] is None:
                raise CheckpointError(
                    f"{path}: the learning rate was a function of the epoch, which is not in the file: give it again, "
                    "Trainer.resume(path, lr=...)"
                )
            trainer = cls(net, cost, SGD(**{**options, "lr": options["lr"] or 1.0}))
            backend.assign(trainer.optimizer.velocity, velocity)
            trainer.history = History(Epoch(row[0], *map(number, row[1:])) for row in header["history"])
            if trainer.history.epoch != list(range(1, len(trainer.history) + 1)):
                raise ValueError("its history does not count the epochs from 1")
            state = header["generator"]["state"]
            # To an even increment belong states that stay as they are.
            if not all(type(n) is int for n in state.values()) or state["inc"] % 2 == 0:
                raise ValueError("its generator's state is none of PCG64's")
            trainer.rng.bit_generator.state = header["generator"]
            trainer._left = Left.read(header["left"], len(trainer.history))
        if lr is not None:
            trainer.optimizer.lr = SGD(lr).lr
        return trainer

    def _state(self) -> tuple[Any, ...]:
        """Return all that an epoch changes."""
        left, rng = copy.deepcopy(self._left), copy.deepcopy(self.rng)
        return self.net.parameters.copy(), self.optimizer.velocity.copy(), rng, len(self.history), left

    def _set_state(self, state: tuple[Any, ...]) -> None:
        parameters, velocity, self.rng, epochs, left = state
        self.net.parameters = parameters
        backend.assign(self.optimizer.velocity, velocity)
        del self.history._epochs[epochs:]
        self._left = left  # last: where it is set, all is

    def _rate(self, lr: float) -> Any:
        """Return a learning rate for `SGD.update`: on a GPU an array, in which recorded work finds it changed."""
        with _quiet():
            return lr if self.net.device == "cpu" else backend.to(np.array([lr], self.net.dtype), self.net.device)

    def _follow(self) -> None:
        """Be where the network is now."""
        if backend.device_of(self.optimizer.velocity) != self.net.device:
            self.optimizer.to(self.net.device)

    def _train_epoch(
        self,
        samples: Samples,
        train_block: Any,
        left: Left,
        lr: float,
        epoch: int,
        bar: Any,
        saver: Saver,
        started: float,
    ) -> tuple[float, float]:
        """Return the mean cost and the accuracy over an epoch; both are taken a block at a time, in far fewer calls."""
        on_cpu = self.net.device == "cpu"
        rng = copy.deepcopy(self.rng)
        batch_size, sizes, costs, rights = left.batch_size, left.sizes, left.costs, left.rights
        batches = sum(math.ceil(size / batch_size) for size in sizes)
        for rows in samples.blocks(self.rng, batch_size, start=sum(sizes)):
            cost, right = train_block(rows)
            if on_cpu and not math.isfinite(cost):  # in one of the batches, or only in the sum over them
                cost = self._cost_of_batches(batch_size, lr, epoch, batches)
            sizes.append(len(rows))
            costs.append(cost)
            rights.append(right)
            batches += math.ceil(len(rows) / batch_size)
            if bar is not None:
                bar.update(math.ceil(len(rows) / batch_size))
            left.seconds = time.perf_counter() - started
            saver.after_batches(left, math.ceil(len(rows) / batch_size), rng)
        costs, rights = backend.numbers(costs), backend.numbers(rights)  # all that a GPU sends back
        if not np.isfinite(costs).all():
            block = next(i for i, cost in enumerate(costs) if not math.isfinite(cost))
            first, count = sum(math.ceil(size / batch_size) for size in sizes[:block]) + 1, sizes[block] / batch_size
            where = f"in epoch {epoch}, in one of the batches {first} to {first + math.ceil(count) - 1}"
            raise DivergenceError(_divergence("the training cost", costs[block], where, lr))
        if not np.isfinite(self.net.parameters).all():
            raise DivergenceError(_divergence("a parameter", "not finite", f"after epoch {epoch}", lr))
        total = math.fsum(cost * size for cost, size in zip(costs, sizes, strict=True))
        return total / len(samples), sum(rights) / len(samples)

    def _train_block(self, samples: Samples, batch_size: int, lr: Any, rows: Array) -> tuple[Any, Any]:
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


class _BlockTrainer:
    """Gives the function that trains on a block of batches; on a GPU one that is recorded, while nothing forbids it."""

    def __init__(self, trainer: Trainer, samples: Samples, batch_size: int) -> None:
        self._trainer, self._arguments = trainer, (samples, batch_size)
        self._arrays: list[Any] = []
        self._settings = ""

    def at(self, lr: float) -> Callable[[Array], tuple[Any, Any]]:
        """Return it for a learning rate."""
        trainer = self._trainer
        if trainer.net.device == "cpu":
            return functools.partial(trainer._train_block, *self._arguments, lr)
        # What was recorded goes on working in the same arrays, with the settings that it found.
        arrays, settings = (
            [trainer.optimizer, trainer.optimizer.velocity, trainer.net._scratch],
            repr(trainer.optimizer),
        )
        if settings != self._settings or any(a is not b for a, b in zip(arrays, self._arrays, strict=True)):
            self._arrays, self._settings, self._rate = arrays, settings, trainer._rate(lr)
            self._function: Any = functools.partial(trainer._train_block, *self._arguments, self._rate)
            steps: list[Layer | Cost] = [*trainer.net.layers, trainer.cost]
            if all(step.recordable for step in steps) and type(trainer.optimizer) is SGD:
                self._function = backend.repeated(self._function, "gpu")
        with _quiet():
            self._rate[...] = lr
        return self._function  # type: ignore[no-any-return]


def _quiet() -> AbstractContextManager[Any]:
    """Keep NumPy from warning of overflow: a DivergenceError says it once, and what to do."""
    return np.errstate(over="ignore", invalid="ignore")


def _divergence(what: str, value: object, where: str, lr: float) -> str:
    return (
        f"{what} became {value} {where}: training has diverged. Try a smaller learning rate than {lr:g}, or clip the "
        "gradient with SGD(clip_norm=...)"
    )


def _bar(steps: int, progress: bool) -> AbstractContextManager[Any]:
    """Return a progress bar where somebody can see one: on a terminal, or in a notebook."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if not progress or not (terminal or in_notebook()):
        return nullcontext()
    from tqdm import TqdmWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TqdmWarning)  # without ipywidgets a bar of characters does as well
        from tqdm.auto import tqdm

    # Without the batches a second, epoch, cost and test accuracy fit on a line of 80 columns.
    return tqdm(total=steps, bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]")
