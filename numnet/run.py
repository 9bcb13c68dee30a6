"""The state of a training run as one object: what an epoch changes, how it is put back, and how far the run has come.

Undoing an epoch after an error, writing a checkpoint and resuming from it all use `Run.snapshot` and `Run.restore`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from . import backend
from .backend import Array
from .costs import Cost
from .history import Epoch, History
from .network import Sequential
from .optimizers import SGD


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
    """

    last: int
    batch_size: int
    samples: int
    done: int = 0
    cost: float = 0.0
    right: float = 0.0
    seconds: float = 0.0


class Snapshot(NamedTuple):
    """The state of a run at one moment. Nothing in it changes with the run."""

    parameters: Array
    velocity: Array
    rng: np.random.Generator
    history: list[Epoch]
    progress: Progress


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

    def snapshot(self) -> Snapshot:
        """Return the state of the run. In the middle of an epoch, `rng` is still as it was at the epoch's beginning."""
        parameters, velocity = self.net.parameters.copy(), self.optimizer.velocity.copy()
        return Snapshot(parameters, velocity, copy.deepcopy(self.rng), list(self.history), replace(self.progress))

    def restore(self, snapshot: Snapshot) -> None:
        """Put the run into a state that `snapshot` returned, here or in another process."""
        backend.assign(self.net.parameters, snapshot.parameters)
        backend.assign(self.optimizer.velocity, snapshot.velocity)
        self.rng = copy.deepcopy(snapshot.rng)
        self.history[:] = snapshot.history
        self.progress = replace(snapshot.progress)

    def follow(self) -> None:
        """Let the optimizer be where the network is, which may have been moved."""
        if type(self.optimizer.velocity) is not type(self.net.parameters):
            self.optimizer.to(self.net.device)

    def whole(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Call `work`. If it fails, put back the state from before and raise the error.

        A `with` statement would read better. But a second Ctrl-C could then hit the code of contextlib between the
        failure and the restoring.
        """
        before = self.snapshot()
        try:
            return work(*arguments)
        except BaseException:
            while True:
                try:
                    self.restore(before)
                    break
                except KeyboardInterrupt:  # again: the first error ends the run in any case
                    pass
            raise

    def record(self, test_accuracy: float) -> Progress:
        """Add the epoch that is done to the history; return the progress with which the next epoch begins."""
        epoch, done, n = len(self.history) + 1, self.progress, self.progress.samples
        self.history.append(Epoch(epoch, done.cost / n, done.right / n, test_accuracy, done.seconds))
        self.progress = Progress(done.last, done.batch_size, n)
        return self.progress
