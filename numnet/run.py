"""The state of a training run as one object: what an epoch changes, how it is put back, and how far the run has come.

Undoing an epoch after an error, writing a checkpoint and resuming from it all use `Run.snapshot` and `Run.restore`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from . import backend, threads
from .backend import Array
from .costs import Cost
from .history import Epoch, History
from .network import Sequential
from .optimizers import SGD

NET_BUSY = (
    "the network is in training at this moment, in another thread: wait until that has ended, or train a copy, "
    "copy.deepcopy(net)"
)
_FORESEEN = 10_000  # a schedule is asked for at most so many epochs before the training starts


@dataclass
class Progress:
    """What a call of fit was asked for, and how much of the current epoch is done.

    Attributes
    ----------
    last : int
        The number of the last epoch.
    batch_size : int
    samples : int
        Samples in an epoch.
    done : int
        Samples of the epoch that have been trained on.
    cost, right : float
        Sum of their costs, and how many of them were classified rightly; `right` is nan without classes.
    seconds : float
        Time taken for them.
    weighted : bool or None
        Whether fit was given sample_weight; None before a call of fit, and in files that do not say so.
    """

    last: int
    batch_size: int
    samples: int
    done: int = 0
    cost: float = 0.0
    right: float = 0.0
    seconds: float = 0.0
    weighted: bool | None = None


class Best(NamedTuple):
    """The parameters after the best epoch so far, of those that `numnet.keep_best` has seen."""

    epoch: int
    parameters: Array

    def __repr__(self) -> str:
        return f"Best(epoch={self.epoch}, parameters of {self.parameters.size:,} numbers)"


class Snapshot(NamedTuple):
    """The state of a run at one moment. Nothing in it changes with the run."""

    parameters: Array
    velocity: Array
    rng: np.random.Generator
    history: list[Epoch]
    progress: Progress
    best: Best | None = None
    trained: bool = True


class Run:
    """A network in training, and all that changes on the way."""

    def __init__(self, net: Sequential, cost: Cost, optimizer: SGD, rng: np.random.Generator) -> None:
        self.net, self.cost = net, cost
        self.pair = cost.pair(net.layers)
        self.optimizer = copy.copy(optimizer)
        self.optimizer.start(net)
        self.rng = rng
        self.history = History()
        self.progress = Progress(last=0, batch_size=0, samples=0)  # nothing is left to do
        self.best: Best | None = None
        self.file: tuple[int, ...] | None = None  # the state of the checkpoint that the run comes from, or wrote last
        self.last: Array | None = None  # parameters to go on from, while the network has the best
        self.found_trained = net.trained
        self._timed = False  # whether the threads have been timed

    def snapshot(self) -> Snapshot:
        """Return the state of the run. In the middle of an epoch, `rng` is still as it was at the epoch's beginning."""
        parameters, velocity = self.net.parameters.copy(), self.optimizer.velocity.copy()
        rng, history, progress = copy.deepcopy(self.rng), list(self.history), replace(self.progress)
        return Snapshot(parameters, velocity, rng, history, progress, self.best, self.net.trained)

    def restore(self, snapshot: Snapshot) -> None:
        """Put the run into a state that `snapshot` returned, here or in another process."""
        backend.assign(self.net.parameters, snapshot.parameters)
        backend.assign(self.optimizer.velocity, snapshot.velocity)
        self.rng = copy.deepcopy(snapshot.rng)
        self.history[:] = snapshot.history
        self.progress, self.best = replace(snapshot.progress), snapshot.best
        self.net.trained = snapshot.trained

    def show_best(self) -> None:
        """Give the network the parameters after the best epoch; `go_on` takes them back."""
        if self.best is not None and self.last is None:
            self.last = self.net.parameters.copy()
            backend.assign(self.net.parameters, self.best.parameters)

    def go_on(self) -> None:
        """Give the network the parameters after the last epoch back, unless somebody has changed them meanwhile."""
        if self.last is not None and self.best is not None:
            best, now = (backend.to(array, "cpu") for array in (self.best.parameters, self.net.parameters))
            if np.array_equal(best, now):
                backend.assign(self.net.parameters, self.last)
        self.last = None

    def learning_rates(self, last: int) -> dict[int, float]:
        """Return the scheduled learning rates up to an epoch. So a schedule that fails does so before the training."""
        first = len(self.history) + 1
        return {epoch: self.optimizer.learning_rate(epoch) for epoch in range(first, min(last + 1, first + _FORESEEN))}

    def whole(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Call `work`. If it fails, put back the state from before and raise the error.

        A `with` statement would read better. But a second Ctrl-C could then hit the code of contextlib between the
        failure and the restoring.
        """
        before = self.snapshot()
        try:
            with self.training(min(self.progress.batch_size, self.progress.samples)):
                return work(*arguments)
        except BaseException:
            while True:
                try:
                    self.restore(before)
                    for layer in self.net.layers:  # if Ctrl-C came before `training` did so
                        layer.training = False
                    break
                except KeyboardInterrupt:  # again: the first error ends the run in any case
                    pass
            raise

    def _largest(self, batch_size: int) -> tuple[Array, bool]:
        """Return the largest weight, and whether the network is small: its training needs one thread of BLAS."""
        weights = [array for layer in self.net.layers for array in layer.parameters.values() if array.ndim == 2]
        largest = max(weights, key=np.size, default=np.empty((0, 0)))
        return largest, largest.size * batch_size < threads.SMALL

    def threads(self) -> int | None:
        """Return the number of BLAS's threads if the last bits of the run depend on this number."""
        small = self._largest(min(self.progress.batch_size, self.progress.samples))[1]
        return None if small or self.net.device != "cpu" else threads.number()

    @contextmanager
    def training(self, batch_size: int) -> Iterator[None]:
        """Tell the layers that they are being trained, and let BLAS use one thread if the network is small.

        NumPy's warnings are off meanwhile: if the cost diverges, an error says so. If the network has been moved to
        another device, the optimizer follows. If threads cost a large network more than they bring, warn once. What is
        small does not depend on the machine, so the same seed gives the same bits whatever else runs there.
        """
        if type(self.optimizer.velocity) is not type(self.net.parameters):
            self.optimizer.to(self.net.device)
        largest, small = self._largest(batch_size)
        if not small and not self._timed and self.net.device == "cpu":
            threads.warn_if_slow(largest, batch_size)
            self._timed = True
        token = threads.Token()
        try:
            if small:
                with threads.lock:
                    threads.running.add(token)
                    counts = [library.num_threads for library in threads.BLAS.lib_controllers]
                    if max(counts, default=1) > 1:
                        threads.usual = counts
                        for library in threads.BLAS.lib_controllers:
                            library.set_num_threads(1)
            for layer in self.net.layers:
                layer.training = True
            with self.net.operations.quiet():
                yield
        finally:  # threads first, as a layer of the user's own may refuse
            with threads.lock:
                threads.running.discard(token)
                if not threads.running:
                    for library, count in zip(threads.BLAS.lib_controllers, threads.usual, strict=False):
                        library.set_num_threads(count)
                    threads.usual = []
            for layer in self.net.layers:
                layer.training = False

    def record(self, test_cost: float, test_accuracy: float) -> None:
        """Add the epoch that is done to the history, and begin the next."""
        epoch, done, n = len(self.history) + 1, self.progress, self.progress.samples
        self.net.trained = True
        cost, accuracy = done.cost / n, done.right / n
        self.history.append(Epoch(epoch, cost, accuracy, test_accuracy, done.seconds, test_cost))
        self.progress = Progress(done.last, done.batch_size, n, weighted=done.weighted)
