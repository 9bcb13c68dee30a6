"""Trainer: the loop over epochs and batches."""

from __future__ import annotations

import copy
import functools
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from . import backend, checks, threads
from .backend import Array
from .bar import Bar, visible
from .best import KeepBest
from .checkpoint import Saver, load_run
from .costs import Cost, Weighted
from .data import Data, Samples, checked, one_hot
from .history import History
from .network import Sequential, classes
from .notebook import trainer_text
from .optimizers import SGD
from .run import NET_BUSY, Progress, Run

_BUSY = (
    "fit: this trainer is in a call of fit already, in another thread or because a callback calls fit: wait until that "
    "call has ended, or make a Trainer with a copy of the network, copy.deepcopy(net)"
)


class Trainer(Run):
    """One run: trains a network on a cost with an optimizer, batch by batch.

    Parameters
    ----------
    net : Sequential
        Trained in place.
    cost : Cost
        What the training makes small.
    optimizer : SGD
        Copied, with the velocity at 0. `trainer.optimizer` is the copy that this trainer uses.
    seed : int, optional
        Seed of the generator that shuffles. The same seeds of network and trainer give the same bits, on the same
        machine and with the same versions. For a network that is not small, as `fit` calls it, they do so only with the
        same number of threads of BLAS.
    comm : mpi4py.MPI.Intracomm, optional
        Train on all processes of this communicator, each of which runs the same program: every rank trains on its part
        of each batch. `batch_size` counts the samples of all ranks. numnet.parallel says more.
    average_every : int, optional
        With `comm`: local SGD. Each rank takes steps of its own, on its part of each batch. After so many batches, and
        at the end of an epoch, all ranks get the mean of their parameters and velocities.
    sharded : bool, default False
        With `comm`: the training data of each rank are a part of its own. Otherwise each rank has all of them.

    Attributes
    ----------
    history : History
        Of all epochs so far, over several calls of `fit`.

    Raises
    ------
    ValueError
        If the cost does not fit the network's last layers, as with cross-entropy over outputs that are no
        probabilities, or over a softmax taken twice.

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

    _samples: Callable[..., Samples] = Samples
    _on_ranks: ClassVar[Any] = None  # the class of trainers with a communicator, which parallel.py sets

    def __new__(cls, *args: Any, comm: Any = None, **options: Any) -> Trainer:
        """Return a trainer, or the trainer of one rank of many."""
        trainer: Trainer = object.__new__(cls if comm is None else cls._of_ranks())
        return trainer

    @classmethod
    def _of_ranks(cls) -> Any:
        if cls not in (Trainer, cls._on_ranks):
            raise TypeError(f"{cls.__name__} takes no comm: only a Trainer does")
        return cls._on_ranks

    def __init__(
        self,
        net: Sequential,
        cost: Cost,
        optimizer: SGD,
        seed: int | None = None,
        *,
        comm: Any = None,
        average_every: int | None = None,
        sharded: bool = False,
    ) -> None:
        checks.no_ranks(average_every, sharded)
        dtype = getattr(net, "dtype", None)
        checks.trainer_parts(dtype, net=(net, Sequential), cost=(cost, Cost), optimizer=(optimizer, SGD))
        super().__init__(net, cost, optimizer, checks.generator(seed))

    functools.update_wrapper(__new__, __init__, assigned=())  # so that help() shows what __init__ takes

    def step(
        self,
        x: npt.ArrayLike,
        t: npt.ArrayLike,
        lr: float | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> float:
        """Train on one batch: forward, backward, update.

        Parameters
        ----------
        x : array_like of shape (n, ...)
            As for a call of the network.
        t : array_like of shape (n,) or (n, outputs)
            Class indices or rows.
        lr : float, optional
            The learning rate of this step. By default the optimizer's. If that is a function of the epoch, the epoch is
            the first after those that `fit` has done: steps do not count epochs. So a loop over `step` gives the rate
            of its own epoch, ``trainer.step(x, t, lr=schedule(epoch))``.
        sample_weight : array_like of shape (n,), optional
            How much each sample counts, as given: the cost is ``1/n sum_i w_i E_i``.

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
        RuntimeError
            If the network is in training already, in another thread.
        """
        net, place = self.net, self.net.operations.place
        x, t = checked(net, self.pair, (x, t), "step")
        lr = self.optimizer.learning_rate(len(self.history) + 1) if lr is None else checks.step_rate(lr)
        pair = self.pair
        if sample_weight is not None:
            pair = Weighted(pair, place(checks.sample_weight(sample_weight, len(x), net.dtype)))
        with threads.alone(net, NET_BUSY), self.training(len(x)):
            x = net.scaled(x, out=np.empty(x.shape, net.dtype, like=net.parameters))
            t = one_hot(net, place(t), place(np.arange(net.outputs or x.shape[1]))) if t.ndim == 1 else place(t)
            z, y = net.forward(x)
            cost = float(pair.value(z, y, t))
            checks.no_divergence("in this step", lr, cost, None, self.optimizer, (x, t, net))
            net.backpropagate(pair, z, y, t)
            self.optimizer.update(net.parameters, net.gradients, lr)
            net.trained = True
        return cost

    @checks.data_in_one
    def evaluate(self, data: Data) -> tuple[float, float]:
        """Return the mean cost and the accuracy on data that the network need not have seen.

        Parameters
        ----------
        data : Dataset or (x, t)
            As for `fit`.

        Returns
        -------
        cost : float
            Computed from the last layer's inputs if the cost has a closed form there. So the cost is finite also if a
            probability is rounded to 0.
        accuracy : float
            nan if the targets have no classes.

        Raises
        ------
        ValueError
            If the data are not usable.

        Examples
        --------
        >>> import numnet as nn
        >>> train, test = nn.datasets.digits()
        >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
        >>> trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
        >>> history = trainer.fit(train, epochs=5, batch_size=64, test=test)
        >>> cost, accuracy = trainer.evaluate(test)
        >>> round(cost, 4) == round(history.test_cost[-1], 4)
        True
        >>> accuracy == history.test_accuracy[-1]
        True
        """
        return Samples(self.net, self.pair, data, "data").evaluate()

    @checks.data_in_one
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
        overwrite: bool = False,
        sample_weight: npt.ArrayLike | None = None,
        **unknown: Any,
    ) -> History:
        """Train for some epochs. Each epoch uses all samples, in a new order.

        An epoch is done whole or not at all. If an error or Ctrl-C ends an epoch early, the network, the optimizer, the
        generator and the history are put back to what they were before the epoch. If the run was resumed in the middle
        of an epoch, and this epoch fails, the run is put back to the state in the file.

        Parameters
        ----------
        train : Dataset or (x, t)
            Images and labels, or arrays as for `step`.
        epochs : int
            At least 1. A further call goes on where the last call stopped. Leave out both `epochs` and `batch_size` to
            do what is left of a run that was interrupted or resumed.
        batch_size : int
            At least 1. The last batch of an epoch has what is left.
        test : Dataset or (x, t), optional
            For the cost and the accuracy after each epoch.
        callbacks : list of callable
            Each is called with the trainer after each epoch. If a callback raises StopIteration, the training ends
            after this epoch, as if this epoch had been the last one asked for. `numnet.keep_best` is such a callback.
        progress : bool, default True
            Show a bar, on a terminal or in a notebook.
        checkpoint : str or os.PathLike, optional
            A file to write the whole run to, again and again, for `Trainer.resume`. The file of last time is kept until
            the new file is whole and on the disk. A ``~`` at the start stands for your home. Whether the file can be
            written is found out before the training starts.
        checkpoint_every : int or str, default 1
            After how many epochs to write it or, as in "500 batches", after how many batches. Batches are counted in
            blocks of up to 64, which are computed together. After the last epoch the file is written in any case.
        checkpoint_failure : {"raise", "warn"}
            What to do if the file cannot be written: raise the OSError, or warn, go on, and try again the next time.
        overwrite : bool, default False
            Whether the checkpoint may replace a file that holds no run, such as a network that `Sequential.save` wrote,
            or a longer run, of which this run is no continuation. A run that has come no further than this run is
            replaced in any case.
        sample_weight : array_like of shape (n,), optional
            How much each training sample counts. The weights are divided by their mean over the training data, so that
            they do not change the meaning of the learning rate. The cost of a batch of n samples is then
            ``1/n sum_i w_i E_i``. A weight of 2 counts as the sample given twice, a weight of 0 as no sample. The
            history's training cost is the mean with the weights; the accuracies and the test cost have no weights.
            Weights are not in a checkpoint: give them to `fit` again after `Trainer.resume`. A `fit` that does what is
            left of a run refuses to do so without the weights that the run had, or with weights if the run had none.
        **unknown
            Refused, with the name that numnet has for an argument of another library.

        Returns
        -------
        History
            That of the trainer.

        Raises
        ------
        ValueError
            If an argument or the data is not usable; nothing is changed then. Or if the data have changed since the
            training began: arrays in memory to values that are not usable, or a file that they are mapped from in any
            way.
        RuntimeError
            If the trainer is in a call of `fit` already, in another thread or because a callback calls `fit`. Or if
            another trainer trains the network at this moment.
        DivergenceError
            If the training cost becomes NaN or infinite.
        CheckpointError
            If the checkpoint would replace a longer run, or could not be resumed.
        FileExistsError
            If the checkpoint is a file that holds no run, or a damaged run. Or if an array of the program is mapped
            from the file, also with `overwrite`.
        OSError
            If a checkpoint cannot be written: the path is a folder, a device or a FIFO, or ends in a slash, there is no
            folder for the file, the file is read-only, or the disk is full.

        Warns
        -----
        DataWarning
            If the data look wrong. Each kind of problem is reported once.
        RuntimeWarning
            If the threads of BLAS make the training slower.

        Notes
        -----
        While a small network trains, BLAS has one thread, which is also so for other threads of Python. A network is
        small if a product of a batch and a weight takes less than a million multiplications. Only one thread of Python
        can set this number: if several train, the others leave BLAS as it is (threadpoolctl says why). The number of
        threads of BLAS can change the last bits of larger products. So the same seeds give a network that is not small
        the same bits only with the same number of threads.
        """
        with threads.alone(self, _BUSY):
            checks.fit_arguments(epochs, batch_size, callbacks, checkpoint_every, checkpoint_failure, unknown, self)
            samples = self._samples(self.net, self.pair, train, "train", sample_weight)
            tests = None if test is None else self._samples(self.net, self.pair, test, "test")
            left = epochs is None and len(self.history) < self.progress.last
            checks.same_samples(self.progress, samples.size, goes_on=left)
            weighted = sample_weight is not None
            if epochs is not None and batch_size is not None:
                plan = Progress(len(self.history) + int(epochs), int(batch_size), samples.size, weighted=weighted)
            else:
                if left:
                    checks.same_weights(self.progress.weighted, weighted)
                plan = replace(self.progress, samples=samples.size, weighted=weighted)
            saver = None
            if checkpoint is not None:
                saver = Saver(self, checkpoint, checkpoint_every, checkpoint_failure, overwrite)
            schedule = self.optimizer.lr
            rates = self.learning_rates(plan.last) if callable(schedule) else {}
            checks.data_warnings(samples, tests)
            guessed = not self.history and samples.labels is not None and samples.weight is None
            start = samples.evaluate(samples.spread)[0] if guessed else 0.0
            self.progress, begun = plan, len(self.history)
            bar = Bar(self) if progress and visible() else None
            watchers = [watcher for watcher in (bar, saver) if watcher is not None]
            train_steps = samples.operations.repeated(self._train_steps)
            try:
                while len(self.history) < self.progress.last:
                    self.go_on()
                    epoch = len(self.history) + 1
                    # A callback may have changed the learning rate.
                    foresaw = self.optimizer.lr is schedule and epoch in rates
                    lr = rates[epoch] if foresaw else self.optimizer.learning_rate(epoch)
                    with threads.alone(self.net, NET_BUSY):
                        self.whole(self._train_epoch, samples, tests, train_steps, lr, watchers)
                    try:
                        if epoch == 1 and guessed:
                            cost, _ = samples.evaluate(samples.spread)
                            checks.worse_than_guessing(samples, cost, start, lr)
                        self._call_back(callbacks, samples.operations.name)
                    finally:  # also if a callback raises an error
                        for watcher in watchers:
                            watcher.after_epoch(self)
            finally:
                if bar is not None:
                    bar.close()
                for callback in callbacks:
                    if isinstance(callback, KeepBest):
                        callback.finish(self, len(self.history) > begun)
            return self.history

    def _test(self, tests: Samples) -> tuple[float, float]:
        return tests.evaluate()

    def _call_back(self, callbacks: Sequence[Callable[[Trainer], object]], device: str) -> None:
        """Call the callbacks after an epoch. If one raises StopIteration, the epoch is the last."""
        for callback in callbacks:
            try:
                callback(self)
            except StopIteration:
                self.progress.last = len(self.history)
            checks.same_device(self, device)

    def _train_epoch(
        self, samples: Samples, tests: Samples | None, train_steps: Any, lr: float, watchers: Sequence[Bar | Saver]
    ) -> None:
        """Train on every sample that is left of the epoch, block by block; then test, and record the epoch."""
        progress, epoch = self.progress, len(self.history) + 1
        started = time.perf_counter() - progress.seconds
        # Until the epoch is whole, self.rng can draw the order of this epoch again.
        rng = copy.deepcopy(self.rng)
        for rows in samples.blocks(rng, progress.batch_size, start=progress.done):
            cost, right = self._train_block(samples, rows, train_steps, lr)
            first, batches = progress.done // progress.batch_size + 1, math.ceil(len(rows) / progress.batch_size)
            which = f"in one of the batches {first} to {first + batches - 1}" if batches > 1 else f"batch {first}"
            checks.no_divergence(f"in epoch {epoch}, {which}", lr, cost, optimizer=self.optimizer)
            progress.done += len(rows)
            progress.cost += cost * len(rows)
            progress.right += right
            progress.seconds = time.perf_counter() - started
            for watcher in watchers:
                watcher.after_block(self, batches)
        checks.no_divergence(f"after epoch {epoch}", lr, 0.0, self.net.parameters, self.optimizer)
        self.rng = rng
        self.record(*((math.nan, math.nan) if tests is None else self._test(tests)))

    def _train_block(self, samples: Samples, rows: Array, train_steps: Any, lr: float) -> tuple[float, float]:
        """Train on some samples, batch by batch; return their mean cost and how many were classified rightly.

        Cost and count come from each batch's outputs before the batch's update. No step needs them, so they are worked
        out for all batches together.
        """
        x, t, labels = samples.take(rows)
        weight = None if samples.weight is None else samples.weight[rows]
        z, y = train_steps(x, t, self.progress.batch_size, lr, weight)
        right = math.nan
        if labels is not None:
            right = int(np.count_nonzero(classes(y, self.pair.layer) == labels))
        pair = self.pair if weight is None else Weighted(self.pair, weight)
        return float(pair.value(z, y, t)), right

    def _train_steps(
        self, x: Array, t: Array, batch_size: int, lr: float, weight: Array | None = None
    ) -> tuple[Array, Array]:
        """Take one step for each batch: forward, backward, update. Return the last layer's inputs z and outputs y."""
        net, pair, update = self.net, self.pair, self.optimizer.update
        parameters, gradients = net.parameters, net.gradients
        z, y = np.empty_like(t), np.empty_like(t)
        for start in range(0, len(x), batch_size):
            batch = slice(start, start + batch_size)
            batch_z, batch_y = net.forward(x[batch])
            if weight is not None:
                pair = Weighted(self.pair, weight[batch])
            net.backpropagate(pair, batch_z, batch_y, t[batch])
            update(parameters, gradients, lr)
            y[batch] = batch_y
            if pair.uses_z:
                z[batch] = batch_z
        return z, y

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        lr: float | Callable[[int], float] | None = None,
        device: str = "cpu",
        *,
        comm: Any = None,
        average_every: int | None = None,
        sharded: bool = False,
    ) -> Trainer:
        """Return a trainer as it was when `fit` wrote a checkpoint: ``fit(train)`` does what was left.

        The run then ends with the same bits as if nothing had interrupted it, on the same machine, with the same
        versions and the same number of threads of BLAS, if all that the layers remember is in their `parameters`. (The
        bits of a small network, as `fit` calls it, do not depend on the threads.) The file does not hold the data, the
        test data and the callbacks, nor whether further checkpoints are to be written: give them to `fit` again. If
        the run had a `keep_best`, give `fit` a new one. The network has the parameters after the last epoch until that
        `fit` has ended, and then the best parameters.

        Parameters
        ----------
        path : str or os.PathLike
            A ``~`` at the start stands for your home.
        lr : float or callable, optional
            Used in place of the file's learning rate; needed if that was a function.
        device : {"cpu", "gpu", "auto"}
            Where to put the network.
        comm, average_every, sharded
            As for a new trainer. A run can go on with any number of ranks, or with one process. Only rank 0 reads the
            file.

        Raises
        ------
        CheckpointError
            If the file holds no such run; the error says why.
        OSError
            If the file cannot be read: FileNotFoundError if there is no file, IsADirectoryError if the path is a
            folder. Also if the path is a device or a FIFO.

        Warns
        -----
        RuntimeWarning
            If the run was trained with another number of threads of BLAS, and its last bits depend on this number.

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
        >>> more = again.fit(train, epochs=1, batch_size=64)
        >>> more[-1].train_cost < history[-1].train_cost
        True
        """
        if comm is not None:
            options = {"average_every": average_every, "sharded": sharded}
            trainer: Trainer = cls._of_ranks().resume_on(comm, path, lr, device, **options)
            return trainer
        checks.no_ranks(average_every, sharded)
        net, cost, optimizer, state, threads_then = load_run(path, backend.choose(device), lr)
        trainer = cls(net, cost, optimizer)
        trainer.restore(state)
        trainer.file = checks.file_state(os.path.expanduser(path))
        checks.same_threads(path, threads_then, trainer.threads())
        return trainer

    if not TYPE_CHECKING:  # which could no longer tell a name that is not there
        __getattr__ = checks.attribute

    def __repr__(self) -> str:
        return trainer_text(self)
