"""Reading networks, and writing and reading whole training runs. npz.py is about what the files look like."""

from __future__ import annotations

import math
import os
import reprlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from . import backend, checks
from .atomic import writable
from .backend import Array
from .checks import CheckpointError
from .costs import Cost
from .history import Epoch
from .layers import Layer, Linear
from .network import Sequential
from .npz import RUN, blamed, class_name, constructor_arguments, describe, read, write
from .optimizers import SGD
from .run import Best, Progress, Run, Snapshot

_Kind = TypeVar("_Kind", Layer, Cost)


def load(path: str | os.PathLike[str], device: str = "cpu") -> Sequential:
    """Read a network that `Sequential.save` wrote, or the network of a run that `Trainer.fit` wrote.

    Of a run with `keep_best`, the network has the best parameters, as after `Trainer.fit`.

    A layer of your own is found by its class name: define or import it before loading.

    Parameters
    ----------
    path : str or os.PathLike
        A ``~`` at the start stands for your home.
    device : {"cpu", "gpu", "auto"}
        Where the network shall be, wherever it was when it was saved.

    Returns
    -------
    Sequential

    Raises
    ------
    CheckpointError
        If the file has no such network; the error says why.
    OSError
        If the file cannot be read: FileNotFoundError if there is no file, IsADirectoryError if the path is a folder.
        Also if the path is a device or a FIFO.

    Examples
    --------
    >>> import os, tempfile
    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(os.path.join(folder, "net.npz"))
    ...     again = nn.load(os.path.join(folder, "net.npz"))
    >>> bool((again.parameters == net.parameters).all())
    True
    """
    device = backend.choose(device)
    header, arrays = read(path, ("numnet network", "numnet run"))
    with blamed(path):
        net = _network(path, header, arrays)
        if "best" in arrays:
            _check_vector(path, "best parameters", arrays["best"], net)
            net.parameters = arrays["best"]
        net.trained = True
        return net.to(device)


def save_run(run: Run, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Write a run as it is now: the network, cost, optimizer and generator, and how far it has come."""
    state = run.snapshot()
    header = {
        **_run_description(run),
        "history": [[epoch, *map(_written, rest)] for epoch, *rest in state.history],
        "generator": state.rng.bit_generator.state,
        "progress": {name: _written(value) for name, value in vars(state.progress).items()},
        "best": None if state.best is None else state.best.epoch,
        "threads": run.threads(),
    }
    best = {} if state.best is None else {"best": state.best.parameters}
    write(path, RUN, overwrite, header, parameters=state.parameters, velocity=state.velocity, **best)


def load_run(
    path: str | os.PathLike[str], device: str, lr: float | Callable[[int], float] | None
) -> tuple[Sequential, Cost, SGD, Snapshot, int | None]:
    """Read what `save_run` wrote: network, cost, optimizer, state, and `Run.threads`.

    `lr` replaces the learning rate of the file.
    """
    header, arrays = read(path, ("numnet run",))
    with blamed(path):
        net = _network(path, header, arrays)
        velocity = arrays["velocity"]
        _check_vector(path, "velocities", velocity, net)
        options = header["optimizer"]
        if lr is None and options["lr"] is None:
            raise CheckpointError(
                f"{path}: the learning rate was a function of the epoch, which is not in the file: give it again, "
                "Trainer.resume(path, lr=...)"
            )
        optimizer = _optimizer(options)
        history = [Epoch(row[0], *map(_number, row[1:])) for row in header["history"]]
        if [epoch.epoch for epoch in history] != list(range(1, len(history) + 1)):
            raise ValueError("its history does not count the epochs from 1")
        progress = _progress(header, len(history))
        # The writer of version 1 drew the order of so many samples in another way.
        if header["version"] == 1 and progress.done and progress.samples > 1 << 20:
            raise CheckpointError(
                f"{path} is in the middle of an epoch over {progress.samples} samples, in an order that this numnet "
                "does not draw: finish the epoch with the numnet of commit 9be9359, or start the run again"
            )
        best = None
        if header.get("best") is not None:
            _check_vector(path, "best parameters", arrays["best"], net)
            if header["best"] not in range(1, len(history) + 1):
                raise ValueError(f"its best epoch cannot be {header['best']!r}")
            best = Best(int(header["best"]), arrays["best"])
        threads = header.get("threads")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise ValueError(f"its number of threads cannot be {threads!r}")
        state = Snapshot(arrays["parameters"], velocity, _generator(header["generator"]), history, progress, best)
        cost: Cost = _class(Cost, header["cost"][0])(**header["cost"][1])
        cost.pair(net.layers)  # ValueError if the cost does not fit the layers
    if lr is not None:
        optimizer.lr = SGD(lr).lr
    return net.to(device), cost, optimizer, state, threads


def _optimizer(options: dict[str, Any]) -> SGD:
    """Return an optimizer with such options. A callback may have set the learning rate or the momentum to 0."""
    if type(options["nesterov"]) is not bool:
        raise ValueError(f"SGD: nesterov must be True or False, got {options['nesterov']!r}")
    optimizer = SGD(**{**options, "lr": options["lr"] or 1.0, "nesterov": False})
    optimizer.lr, optimizer.nesterov = 0.0 if options["lr"] == 0 else optimizer.lr, options["nesterov"]
    return optimizer


def _generator(state: dict[str, Any]) -> np.random.Generator:
    """Return a generator in a state; ValueError if PCG64 cannot have it."""
    numbers = state["state"]
    # To an even increment belong states that stay as they are.
    if not all(type(n) is int for n in numbers.values()) or numbers["inc"] % 2 == 0:
        raise ValueError("its generator's state is none of PCG64's")
    rng = np.random.default_rng()
    rng.bit_generator.state = state
    return rng


def _progress(header: dict[str, Any], epochs: int) -> Progress:
    """Return how far a run has come, after so many whole epochs; ValueError if that cannot be."""
    if header["version"] == 1:  # lists with one number for each block
        written = dict(header["left"])
        sizes, costs, rights = (written.pop(name) for name in ("sizes", "costs", "rights"))
        if not len(sizes) == len(costs) == len(rights):
            raise ValueError("its place in the run has lists of unequal length")
        cost = sum(c * n for c, n in zip(costs, sizes, strict=True))
        done = sum(sizes) if all(type(n) is int and n > 0 for n in sizes) else -1
        progress = Progress(**written, done=done, cost=cost, right=sum(map(_number, rights)))
    else:
        progress = Progress(**header["progress"])
    progress.cost, progress.right, progress.seconds = (
        _number(value) for value in (progress.cost, progress.right, progress.seconds)
    )
    whole = [progress.last, progress.batch_size, progress.samples, progress.done + 1]
    fits = (progress.last > epochs or not progress.done) and progress.weighted in (None, False, True)
    if not all(type(n) is int and n > 0 for n in whole) or progress.done > progress.samples or not fits:
        raise ValueError(f"its place in the run cannot be: {progress.done} of {progress.samples} samples")
    return progress


class Saver:
    """Writes a run to a file when it is time to.

    Parameters
    ----------
    run : Run
        Refused if it could not be resumed.
    path : str or os.PathLike
    every : int or str
        A number of epochs, or as in "500 batches".
    failure : {"raise", "warn"}
        What to do if the file cannot be written.
    overwrite : bool
        Whether the file may replace a longer run, which `run` does not continue, or a file that holds no run.
    """

    def __init__(self, run: Run, path: str | os.PathLike[str], every: int | str, failure: str, overwrite: bool) -> None:
        count, _, unit = str(every).partition(" ")
        self._every, self._in_batches, self._batches = int(count), unit.startswith("batch"), 0
        self._failure, self._overwrite = failure, overwrite
        _run_description(run)  # refuses a run that could not be resumed
        self._path = os.fspath(writable(path, RUN, overwrite))  # absolute, as the program may change its folder
        self._refuse_longer_run(run)

    def after_block(self, run: Run, batches: int) -> None:
        self._batches += batches
        due = self._in_batches and self._batches >= self._every
        # A run that has begun to diverge must not replace one that has not; an error will soon end the epoch.
        if due and all(np.isfinite(vector).all() for vector in (run.net.parameters, run.optimizer.velocity)):
            self._save(run)

    def after_epoch(self, run: Run) -> None:
        epoch = len(run.history)
        if epoch >= run.progress.last or (not self._in_batches and epoch % self._every == 0):
            self._save(run)

    def _save(self, run: Run) -> None:
        self._batches, before = 0, checks.file_state(self._path)
        try:
            self._refuse_longer_run(run)
            save_run(run, self._path, self._overwrite)
            run.file = checks.file_state(self._path)
        except KeyboardInterrupt:  # perhaps when the file had been replaced
            if (there := checks.file_state(self._path)) != before:
                run.file = there
            raise
        except (OSError, CheckpointError) as error:
            if self._failure == "raise":
                raise
            checks.warn(
                f"the checkpoint {self._path} could not be written ({error}): training goes on, and what was there "
                "before still is",
                RuntimeWarning,
            )

    def _refuse_longer_run(self, run: Run) -> None:
        """Refuse to replace a run that has come further, and that this run neither continues nor has written."""
        there = checks.file_state(self._path)
        if self._overwrite or there is None or there == run.file or there[2] == 0:
            return
        with open(self._path, "rb") as file:
            if not RUN.holds(file):  # `atomic` says so
                return
        try:
            header, _ = read(self._path, ("numnet run",))
            with blamed(self._path):
                done = len(header["history"]), _progress(header, len(header["history"])).done
                alike = all(header[k] == v for k, v in describe(run.net).items())
        except CheckpointError as error:
            raise FileExistsError(f"{error}. To replace the file all the same, give overwrite=True") from error
        if done > (len(run.history), run.progress.done):
            raise CheckpointError(
                f"fit: checkpoint {self._path!r} holds a run of {_epochs(done[0])}"
                f"{f' and {done[1]} samples' if done[1] else ''} of "
                f"{'a network like this one' if alike else 'another network'}. This run has "
                f"{_epochs(len(run.history))} and would replace the file. Go on with "
                f"Trainer.resume({self._path!r}{', comm=comm' * hasattr(run, 'ranks')}), "
                "name another file, or give overwrite=True"
            )


def _epochs(n: int) -> str:
    return f"{n} epoch{'s' * (n != 1)}"


def _written(number: Any) -> Any:
    """Return a number for JSON, which has no nan and no inf."""
    if isinstance(number, float) and not math.isfinite(number):
        return None if math.isnan(number) else str(number)
    return number


def _number(written: float | str | None) -> float:
    """Return a number as it was written for JSON."""
    return math.nan if written is None else float(written)


def _run_description(run: Run) -> dict[str, Any]:
    """Return what a file has of a run; CheckpointError if the run cannot be built again from that."""
    for name, thing, kind in (
        ("optimizer", run.optimizer, SGD),
        ("generator", getattr(run.rng, "bit_generator", None), np.random.PCG64),
    ):
        if type(thing) is not kind:
            raise CheckpointError(f"a run can be saved if its {name} is a {kind.__name__}, but it is {thing!r}")
    options = run.optimizer.options()
    try:  # a callback may have changed them
        _optimizer(options)
    except ValueError as error:
        raise CheckpointError(f"a run with such an optimizer could not be resumed ({error})") from None
    return {
        **describe(run.net),
        "cost": [class_name(type(run.cost)), constructor_arguments(run.cost)],
        "optimizer": options,
    }


def _network(path: str | os.PathLike[str], header: dict[str, Any], arrays: dict[str, Array]) -> Sequential:
    parameters = arrays["parameters"]
    needed = 0  # before memory is taken for them
    for name, arguments in header["layers"]:
        if issubclass(_class(Layer, name), Linear):
            sizes = [arguments[size] for size in ("inputs", "outputs")]
            if not all(type(size) is int and size > 0 for size in sizes):
                raise ValueError(f"a layer has the sizes {sizes}")
            needed += sizes[0] * sizes[1]
    if needed > parameters.size:
        raise CheckpointError(
            f"{path} holds {parameters.size} parameters, but its layers need {needed} or more: the file is damaged"
        )
    layers = [_class(Layer, name)(**arguments) for name, arguments in header["layers"]]
    net = Sequential(*layers, seed=0, dtype=header["dtype"])
    _check_vector(path, "parameters", parameters, net)
    net.parameters = parameters
    return net


def _check_vector(path: str | os.PathLike[str], name: str, vector: Array, net: Sequential) -> None:
    if vector.shape != net.parameters.shape or vector.dtype != net.dtype:
        raise CheckpointError(
            f"{path} holds {vector.size} {name} of {vector.dtype}, but its layers need {net.parameters.size} of "
            f"{net.dtype}: the file is damaged, or a layer has changed since"
        )


def _class(base: type[_Kind], name: str) -> type[_Kind]:
    """Return the class of layers or costs with this name, which the program must have defined."""
    known = [kind for kind in _subclasses(base) if class_name(kind) == name]
    if not known:
        raise CheckpointError(
            f"the file has a {base.__name__.lower()} {reprlib.repr(name)} that is not defined here: define or import "
            "its class, then load"
        )
    if len({(kind.__module__, kind.__qualname__) for kind in known}) > 1:
        raise CheckpointError(
            f"several classes are named {name!r} here: the file could mean any of them, rename the others"
        )
    return known[-1]  # the last of those of a notebook cell that was run again


def _subclasses(kind: type[_Kind]) -> Iterator[type[_Kind]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _subclasses(sub)
