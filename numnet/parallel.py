"""One training on many processes over MPI: each rank trains on its part of every batch, with the same parameters.

Every rank runs the same program. A step is the step of `Trainer`, with one call between backpropagation and update: the
gradients are added up over the ranks.

The ranks agree after each piece of work, by one exchange in which each tells the others whether it has failed. A rank
that fails within a block of batches takes part in the sums that are left of the block, with nan. So no rank waits for a
rank that has gone, and all end together.
"""

from __future__ import annotations

import inspect
import math
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import backend, checks, threads
from .backend import Array
from .checkpoint import load_run
from .checks import CheckpointError, DataWarning, DeviceError
from .costs import Pair, Weighted
from .data import Data, Samples, checked, one_hot
from .history import History
from .network import Sequential, classes
from .npz import constructor_arguments
from .run import NET_BUSY
from .training import Trainer


class RankError(SystemExit):
    """Another rank has failed and says why. This rank ends with it.

    A program that does not catch this error ends silently. So the message of the rank that failed is the only one.

    Attributes
    ----------
    rank : int
        The rank that failed.

    Examples
    --------
    >>> import numnet as nn
    >>> try:
    ...     raise nn.RankError(2, "RuntimeError: a callback failed")
    ... except nn.RankError as error:
    ...     print(error)
    rank 2 has failed: RuntimeError: a callback failed
    """

    def __init__(self, rank: int, text: str) -> None:
        super().__init__(0)  # with another status, python -m mpi4py would end the rank that says why before it does
        self.rank, self._text = rank, text

    def __str__(self) -> str:
        return f"rank {self.rank} has failed: {self._text}"


class _Told(NamedTuple):
    """What a rank tells the others when all agree."""

    place: str  # in the program
    numbers: tuple[Any, ...]
    step: int = 0  # of the block; what fails later may fail because of the first rank's nan
    error: str | None = None
    follows: bool = False  # the error of another rank, which a callback's own agreement has told


class Ranks:
    """The processes of a communicator of mpi4py.

    Attributes
    ----------
    rank, size : int
    """

    def __init__(self, comm: Any) -> None:
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise ImportError(
                "Trainer: comm needs mpi4py and an MPI: pip install 'numnet[mpi]', and also pip install mpich if the "
                "machine has no MPI"
            ) from error
        if not isinstance(comm, MPI.Intracomm) or comm == MPI.COMM_NULL:
            raise ValueError(f"Trainer: comm must be a communicator of mpi4py such as MPI.COMM_WORLD, got {comm!r}")
        self.comm, self._in_place = comm, MPI.IN_PLACE
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self._interrupted = self._told = False
        self._usual: Any = signal.default_int_handler  # what the program does on Ctrl-C
        self._step = self._left = 0  # sums of this block that are done, and that the others wait for

    def begin(self, sums: int) -> None:
        """Begin a block in which all ranks call `add` so many times."""
        self._step, self._left = 0, sums

    def add(self, vector: Array) -> None:
        """Add up a vector over all ranks, in place. All ranks get the same bits."""
        self._step, self._left = self._step + 1, self._left - 1
        self.comm.Allreduce(self._in_place, vector)

    def agree(self, place: str, *numbers: Any, error: BaseException | None = None) -> list[Any]:
        """Tell all ranks some numbers, and return those of each rank. If a rank has failed, all fail here."""
        if self._interrupted:
            self._interrupted = False
            try:
                self._usual(signal.SIGINT, sys._getframe())
            except BaseException as interrupt:
                error = error or interrupt
        mine = _Told(place, numbers, self._step, None if error is None else _text(error), isinstance(error, RankError))
        told = [_Told(*one) for one in self.comm.allgather(tuple(mine))]
        failed = [(one.follows, one.step, rank) for rank, one in enumerate(told) if one.error is not None]
        if failed:
            self._told, first = True, min(failed)[-1]
            if error is not None and first == self.rank:
                raise error
            raise RankError(first, str(told[first].error))
        for rank, one in enumerate(told):
            if one.place != told[0].place:
                raise RuntimeError(
                    f"the ranks are at different places of the program, rank 0 in {told[0].place}, rank {rank} in "
                    f"{one.place}: call the trainer alike on all ranks"
                )
        return [one.numbers for one in told]

    def alike(self, place: str, remedy: str = "give all ranks the same", /, **values: Any) -> None:
        """Refuse values that differ between the ranks."""
        every = self.agree(f"{place} ({', '.join(values)})", *values.values())
        for name, told in zip(values, zip(*every, strict=True), strict=True):
            for rank, value in enumerate(told):
                if value != told[0]:
                    raise ValueError(
                        f"{place}: {name} differs between the ranks, {told[0]} on rank 0 and {value} on rank {rank}: "
                        f"{remedy}"
                    )

    @contextmanager
    def together(self, vector: Array) -> Iterator[None]:
        """End a piece of the program on all ranks if it fails on one. `vector` may be overwritten then.

        Ctrl-C waits for the next agreement, which comes at the end of the block. Then the program's own handler of
        Ctrl-C is called, or KeyboardInterrupt is raised. In a program without such a handler, a second Ctrl-C ends all
        processes at once. Only rank 0 shows warnings.
        """
        self._step = self._left = 0
        usual, ended = signal.getsignal(signal.SIGINT), False
        heard = callable(usual) and usual != self._interrupt and threading.current_thread() is threading.main_thread()
        if heard:
            self._usual = usual
            signal.signal(signal.SIGINT, self._interrupt)
        try:
            with warnings.catch_warnings():
                if self.rank:
                    warnings.simplefilter("ignore")
                try:
                    yield
                    self.agree("the end")
                    ended = True
                except BaseException as error:
                    if not self._told:
                        step = self._step
                        while self._left > 0:
                            vector[...] = math.nan
                            self.add(vector)
                        self._step = step
                        self.agree("an error", error=error)
                    raise
        except RankError:
            raise
        except BaseException as error:
            text = f"This was on rank {self.rank} of {self.size}. The other ranks have ended, too."
            if self.size > 1 and hasattr(error, "add_note"):
                error.add_note(text)
            elif self.size > 1:  # before Python 3.11
                print(text, file=sys.stderr)
            raise
        finally:
            self._told = False
            if heard:
                signal.signal(signal.SIGINT, usual)
                if self._interrupted:  # after the last agreement
                    self._interrupted = False
                    if ended or usual is not signal.default_int_handler:  # otherwise this rank ends in any case
                        signal.raise_signal(signal.SIGINT)

    def __deepcopy__(self, memo: Any) -> Ranks:
        return Ranks(self.comm)  # a communicator cannot be copied

    def _interrupt(self, *_: object) -> None:
        if self._interrupted and self._usual is signal.default_int_handler:
            self.comm.Abort(130)
        self._interrupted = True


class ParallelTrainer(Trainer):
    """The `Trainer` of one rank, which `Trainer(..., comm=comm)` returns."""

    def __init__(
        self, *args: Any, comm: Any, average_every: int | None = None, sharded: bool = False, **options: Any
    ) -> None:
        self.ranks, self.average_every, self.sharded = Ranks(comm), average_every, sharded
        self._batches: list[tuple[slice, float, bool]] = []
        with self.ranks.together(np.empty(0)):
            super().__init__(*args, **options)
            net = self.net
            if average_every is not None:
                checks.whole_numbers("Trainer", average_every=average_every)
            self._refuse_gpu()
            self.ranks.alike(
                "Trainer",
                **{"numnet's version": sys.modules[__package__].__version__, "the network": f"{net!r} of {net.dtype}"},
                **{"a layer's arguments": [_arguments(layer) for layer in net.layers]},
                **{"the cost": _arguments(self.cost), "the optimizer": str(self.optimizer.options())},
                **{"average_every": average_every, "sharded": sharded},
            )
            self.rng = comm.bcast(self.rng)
            comm.Bcast(net.parameters)

    @classmethod
    def resume_on(cls, comm: Any, path: Any, lr: Any, device: str, **options: Any) -> ParallelTrainer:
        """Return a trainer as a checkpoint says, which rank 0 reads for all."""
        ranks = Ranks(comm)
        with ranks.together(np.empty(0)):
            if device not in ("cpu", "auto"):
                raise DeviceError(f"resume: ranks train on the CPU, so with comm leave out device={device!r}")
            loaded: Any = None
            if ranks.rank == 0:
                loaded = load_run(path, backend.choose("cpu"), lr)
                loaded[2].lr = 1.0 if callable(lr) else loaded[2].lr  # a function cannot be sent
                pickle.dumps(loaded)  # as bcast will do: if this fails, no other rank must wait for it
            ranks.alike("resume", **{"the learning rate": None if callable(lr) else lr})
            net, cost, optimizer, state, threads_then = comm.bcast(loaded)
            optimizer.lr = lr if callable(lr) else optimizer.lr
        trainer = cls(net, cost, optimizer, comm=comm, **options)
        with ranks.together(np.empty(0)):
            trainer.restore(state)
            if ranks.rank == 0:
                trainer.file = checks.file_state(os.path.expanduser(path))
                checks.same_threads(path, threads_then, trainer.threads())
        return trainer

    def _refuse_gpu(self) -> None:
        if self.net.device != "cpu":
            raise DeviceError(
                f"comm: ranks train on the CPU, but the network is on the {self.net.device}: net.to('cpu')"
            )

    def step(
        self,
        x: npt.ArrayLike,
        t: npt.ArrayLike,
        lr: float | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> float:
        net, pair, ranks = self.net, self.pair, self.ranks
        with ranks.together(net.gradients):
            x, t = checked(net, pair, (x, t), "step")
            lr = self.optimizer.learning_rate(len(self.history) + 1) if lr is None else checks.step_rate(lr)
            self._refuse_gpu()
            few = slice(None, None, max(1, len(x) // 8))  # a step must be quick
            weight = (
                np.ones(len(x)) if sample_weight is None else checks.sample_weight(sample_weight, len(x), net.dtype)
            )
            data = zlib.crc32(weight.tobytes(), zlib.crc32(t[few].tobytes(), zlib.crc32(x[few].tobytes())))
            data_and_rate = {"the number of samples": len(x), "a checksum of the data": data, "the learning rate": lr}
            ranks.alike("step", **data_and_rate)
            n, mine, cost = len(x), self._mine(np.arange(len(x)), None), 0.0
            with threads.alone(net, NET_BUSY), self.training(n):
                if len(mine):
                    x = net.scaled(x[mine], out=np.empty((len(mine), *x.shape[1:]), net.dtype))
                    t = one_hot(net, t[mine], np.arange(net.outputs or x.shape[1])) if t.ndim == 1 else t[mine]
                    if sample_weight is not None:
                        pair = Weighted(pair, weight[mine])
                    z, y = net.forward(x)
                    cost = float(pair.value(z, y, t)) * len(mine)
                    net.backpropagate(pair, z, y, t)
                    np.multiply(net.gradients, len(mine) / n, out=net.gradients)
                else:
                    net.gradients[...] = 0
                cost = math.fsum(part for (part,) in ranks.agree("step", cost)) / n
                checks.no_divergence("in this step", lr, cost, None, self.optimizer)
                ranks.begin(1)
                ranks.add(net.gradients)
                self.optimizer.update(net.parameters, net.gradients, lr)
                net.trained = True
        return cost

    def fit(self, *args: Any, **options: Any) -> History:
        self._begun = len(self.history)
        names = [*inspect.signature(Trainer.fit).parameters][1:-1]
        if len(args) <= len(names) and not options.keys() & set(names[: len(args)]):  # otherwise fit refuses them
            args, options = (), {**dict(zip(names, args, strict=False)), **options}
            if self.ranks.rank:
                options.update(progress=False, checkpoint=None)
        with self.ranks.together(self.net.gradients):
            self._refuse_gpu()
            if self.sharded:
                warnings.simplefilter("ignore", DataWarning)  # a part of the data need not look like the whole
            if self.average_every is not None and "batch" in str(options.get("checkpoint_every")):
                raise ValueError(
                    "fit: with average_every the ranks have different parameters within an epoch: give "
                    "checkpoint_every as a number of epochs"
                )
            history = super().fit(*args, **options)
            self._same_parameters()
            return history

    def _same_parameters(self) -> None:
        vectors = (self.net.parameters, self.optimizer.velocity)
        self.ranks.alike(
            "fit",
            **{"a checksum of the parameters": [zlib.crc32(vector.tobytes()) for vector in vectors]},
            **{"the generator": zlib.crc32(str(self.rng.bit_generator.state).encode())},
        )

    def _samples(
        self, net: Sequential, pair: Pair, data: Data, name: str, weight: npt.ArrayLike | None = None
    ) -> Samples:
        samples = Samples(net, pair, data, name, weight)
        if self.sharded and name == "train":
            self.ranks.alike("fit", sample_weight="not given" if weight is None else "given")
            whole = 0.0 if weight is None else float(np.sum(weight, dtype=np.float64))  # of the weights as given
            told = self.ranks.agree("fit", samples.size, whole)
            sizes = [n for n, _ in told]
            self._first = sum(sizes[: self.ranks.rank])
            if samples.weight is not None:
                samples.weight *= whole / samples.size / (sum(one for _, one in told) / sum(sizes))
            samples.size = sum(sizes)
        else:
            parts = ", or sharded=True if each rank has its own part" * (name == "train")
            self.ranks.alike("fit", f"give all ranks the same{parts}", **{name: _digest(samples)})
        return samples

    def _mine(self, rows: Array, local: int | None) -> Any:
        """Return which of these row numbers are those of this rank; `local` is the number of its own samples, if so."""
        if local is not None:
            own = rows - self._first
            return own[(own >= 0) & (own < local)]
        rank, size, n = self.ranks.rank, self.ranks.size, len(rows)
        return rows[rank * n // size : (rank + 1) * n // size]

    def _train_epoch(self, samples: Samples, tests: Samples | None, train_steps: Any, lr: float, watchers: Any) -> None:
        progress, size = self.progress, self.ranks.size
        if progress.batch_size < size and len(self.history) == self._begun and self.ranks.rank == 0:
            checks.warn(
                f"batches of {progress.batch_size} samples leave nothing to do for some of {size} ranks: use at most "
                f"{progress.batch_size}, or give a larger batch_size",
                RuntimeWarning,
            )
        self.ranks.alike(
            "fit",
            **{"the learning rate": lr, "the last epoch": progress.last, "the batch size": progress.batch_size},
            **{"the optimizer": str(self.optimizer.options())},
        )
        self._same_parameters()
        super()._train_epoch(samples, tests, train_steps, lr, watchers)

    def _train_block(self, samples: Samples, rows: Array, train_steps: Any, lr: float) -> tuple[float, float]:
        progress, k = self.progress, self.average_every
        n, last = progress.batch_size, math.ceil(progress.samples / progress.batch_size)
        mine, self._batches, done = [], [], 0
        for start in range(0, len(rows), n):
            batch, step = rows[start : start + n], (progress.done + start) // n + 1
            mine.append(self._mine(batch, len(samples.x) if self.sharded else None))
            average = k is not None and (step % k == 0 or step == last)
            self._batches.append((slice(done, done + len(mine[-1])), len(mine[-1]) / len(batch), average))
            done += len(mine[-1])
        self.ranks.agree("a block")
        vectors = 1 + bool(self.optimizer.momentum)
        self.ranks.begin(len(mine) if k is None else vectors * sum(average for *_, average in self._batches))
        own = np.concatenate(mine)
        x, t, labels = samples.take(own)
        weight = None if samples.weight is None else samples.weight[own]
        z, y = self._train_steps(x, t, n, lr, weight)
        pair = self.pair if weight is None else Weighted(self.pair, weight)
        cost = float(pair.value(z, y, t)) * len(t) if len(t) else 0.0
        right = math.nan if labels is None else int(np.count_nonzero(classes(y, self.pair.layer) == labels))
        every = self.ranks.agree("a block", cost, right)
        cost, right = map(sum, zip(*every, strict=True))
        return cost / len(rows), right

    def _train_steps(
        self, x: Array, t: Array, batch_size: int, lr: float, weight: Array | None = None
    ) -> tuple[Array, Array]:
        net, pair, optimizer, ranks = self.net, self.pair, self.optimizer, self.ranks
        parameters, gradients = net.parameters, net.gradients
        z, y = np.empty_like(t), np.empty_like(t)
        for batch, share, average in self._batches:
            if share:
                batch_z, batch_y = net.forward(x[batch])
                if weight is not None:
                    pair = Weighted(self.pair, weight[batch])
                net.backpropagate(pair, batch_z, batch_y, t[batch])
                y[batch] = batch_y
                if pair.uses_z:
                    z[batch] = batch_z
            else:
                gradients[...] = 0
            if self.average_every is None:
                np.multiply(gradients, share, out=gradients)
                ranks.add(gradients)  # dE/dw of a batch is the mean over its samples: sum_rank n_rank/n dE_rank/dw
            if share or self.average_every is None:
                optimizer.update(parameters, gradients, lr)
            if average:
                for vector in (parameters, optimizer.velocity) if optimizer.momentum else (parameters,):
                    ranks.add(vector)
                    np.divide(vector, ranks.size, out=vector)
        return z, y

    def _test(self, tests: Samples) -> tuple[float, float]:
        rows = self._mine(np.arange(tests.size), None)
        cost, right = tests.evaluate(rows) if len(rows) else (0.0, 0.0)
        count = right if math.isnan(right) else round(right * len(rows))
        every = self.ranks.agree("the test", cost * len(rows), count)
        cost, right = (sum(numbers) / tests.size for numbers in zip(*every, strict=True))
        return cost, right

    def record(self, test_cost: float, test_accuracy: float) -> None:
        (self.progress.seconds,), *_ = self.ranks.agree("a record", self.progress.seconds)
        super().record(test_cost, test_accuracy)

    def _call_back(self, callbacks: Sequence[Callable[[Trainer], object]], device: str) -> None:
        super()._call_back(callbacks, device)
        self.progress.last = min(last for (last,) in self.ranks.agree("the callbacks", self.progress.last))


Trainer._on_ranks = ParallelTrainer


def _digest(samples: Samples) -> str:
    """Return a text that differs, most likely, for other data."""
    code = 0
    for array in (samples.x, samples.labels, samples.targets, samples.weight):
        if array is not None:
            code = zlib.crc32(array[samples.spread].tobytes(), code)
    return f"{samples.size} samples of {samples.x.shape[1]} features with the checksum {code:08x}"


def _text(error: BaseException) -> str:
    """Return an error as a traceback shows it; an error may fail to become a string."""
    return "".join(traceback.format_exception_only(error)).strip()


def _arguments(thing: Any) -> str:
    """Return a layer's or a cost's name and arguments; without them if a file could not hold them."""
    try:
        return f"{type(thing).__name__} {constructor_arguments(thing)}"
    except CheckpointError:
        return type(thing).__name__
