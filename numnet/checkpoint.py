"""A network, or a whole training run, as one file: NumPy's npz with a JSON header that says how to build it.

There is no pickle, so no code, in it. A file is not trusted: what it claims is compared with what is there before
memory is taken for it.
"""

from __future__ import annotations

import inspect
import io
import json
import math
import os
import reprlib
import textwrap
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
from numpy.lib import format as npy

from . import backend
from .atomic import atomic
from .backend import Array
from .costs import Cost
from .layers import Layer, Linear
from .network import Sequential
from .optimizers import SGD

if TYPE_CHECKING:
    from .training import Trainer

_VERSIONS = {"numnet network": 1, "numnet run": 1}
_PARTS = {"header.npy", "parameters.npy", "velocity.npy"}
_NPY_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_Kind = TypeVar("_Kind", Layer, Cost)


class CheckpointError(ValueError):
    """A file holds nothing that numnet can load, or something cannot be saved.

    Examples
    --------
    >>> import os, tempfile
    >>> import numnet as nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.npz")
    ...     with open(path, "w") as file:
    ...         _ = file.write("no network")
    ...     try:
    ...         nn.load(path)
    ...     except nn.CheckpointError as error:
    ...         print("the file" + str(error).removeprefix(path).partition(" (")[0])
    the file is nothing that numnet has saved, or is damaged
    """


def save(net: Sequential, path: str | os.PathLike[str]) -> None:
    """Write a network to a file: whole or not at all.

    Of each layer the class name and the constructor's arguments are written; these must be attributes of the same
    names, and numbers, strings or None. `numnet.Sequential.save` is the same as a method.

    Parameters
    ----------
    net : Sequential
    path : str or os.PathLike
        By custom with the ending .npz.

    Raises
    ------
    CheckpointError
        If a layer's arguments cannot be read back from it.
    OSError
        If the file cannot be written.
    """
    _write(path, "numnet network", _description(net), parameters=net.parameters)


def load(path: str | os.PathLike[str], device: str = "cpu") -> Sequential:
    """Read a network that `Sequential.save` wrote, or that of a run that `Trainer.fit` wrote.

    A layer of your own is found by its class name: define or import it before loading.

    Parameters
    ----------
    path : str or os.PathLike
    device : {"cpu", "gpu", "auto"}
        Where the network shall be, wherever it was when it was saved.

    Returns
    -------
    Sequential

    Raises
    ------
    CheckpointError
        If the file is no such network; it says why.
    FileNotFoundError
        If there is none.

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
    header, arrays = _read(path, tuple(_VERSIONS))
    with blamed(path):
        return _network(path, header, arrays).to(device)


def save_run(trainer: Trainer, path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a trainer, with its network, and where it is in its run; `Trainer.fit` does that."""
    header = {**_run_description(trainer), **state}
    _write(path, "numnet run", header, parameters=trainer.net.parameters, velocity=trainer.optimizer.velocity)


def load_run(path: str | os.PathLike[str], device: str) -> tuple[Sequential, Cost, Array, dict[str, Any]]:
    """Read what `save_run` wrote: network, cost, the optimizer's velocity, and the header."""
    header, arrays = _read(path, ("numnet run",))
    with blamed(path):
        net = _network(path, header, arrays)
        velocity = arrays["velocity"]
        _check_vector(path, "velocities", velocity, net)
        return net.to(device), _build(Cost, *header["cost"]), velocity, header


@dataclass
class Left:
    """What a fit was asked for, and how far it has come in its epoch: sizes, mean costs and right answers of blocks."""

    last: int
    batch_size: int
    samples: int
    sizes: list[int] = field(default_factory=list)
    costs: list[Any] = field(default_factory=list)
    rights: list[Any] = field(default_factory=list)
    seconds: float = 0.0

    def written(self) -> dict[str, Any]:
        """Return it for a file."""
        costs, rights = ([_written(n) for n in backend.numbers(values)] for values in (self.costs, self.rights))
        return {**vars(self), "costs": costs, "rights": rights}

    @classmethod
    def read(cls, written: dict[str, Any], epochs: int) -> Left:
        """Return what `written` gave, after so many epochs; ValueError if that cannot be."""
        left = cls(**written)
        left.sizes, left.seconds = list(left.sizes), float(left.seconds)
        left.costs, left.rights = [float(cost) for cost in left.costs], [number(right) for right in left.rights]
        whole = [left.last, left.batch_size, left.samples, *left.sizes]
        in_order = left.last > epochs or not left.sizes
        if not all(type(n) is int and n > 0 for n in whole) or sum(left.sizes) > left.samples or not in_order:
            raise ValueError(f"its place in the run cannot be: blocks of {left.sizes} in {left.samples} samples")
        if not len(left.sizes) == len(left.costs) == len(left.rights):
            raise ValueError("its place in the run has lists of unequal length")
        return left


class Saver:
    """Writes a trainer's run to a file when it is time to; without a file, never."""

    def __init__(self, trainer: Trainer, path: str | os.PathLike[str] | None, every: int | str, failure: str) -> None:
        count, _, unit = str(every).partition(" ")
        units = ("", "epoch", "epochs", "batch", "batches")
        if isinstance(every, bool) or not count.isdecimal() or int(count) < 1 or unit not in units:
            raise ValueError(
                f"fit: checkpoint_every must be a number of epochs, at least 1, or as in '500 batches', got {every!r}"
            )
        if failure not in ("raise", "warn"):
            raise ValueError(f"fit: checkpoint_failure must be 'raise' or 'warn', got {failure!r}")
        self._trainer, self._failure = trainer, failure
        self._every, self._in_batches, self._batches = int(count), unit.startswith("batch"), 0
        self._path = None if path is None else Path(path).absolute()  # the program may change its folder
        if self._path is not None:
            if not self._path.parent.is_dir():
                raise FileNotFoundError(
                    f"fit: checkpoint {os.fspath(self._path)!r} has no folder to be in: make it first"
                )
            if self._path.is_dir():
                raise IsADirectoryError(f"fit: checkpoint {os.fspath(self._path)!r} is a folder: name a file in it")
            _run_description(trainer)

    def check_not(self, file: str | None) -> None:
        """Raise ValueError if the checkpoint would be written over this file."""
        if file is not None and self._path is not None and self._path.exists() and os.path.samefile(file, self._path):
            raise ValueError(f"fit: checkpoint {os.fspath(self._path)!r} is the file that the data are mapped from")

    def after_batches(self, left: Left, count: int, rng: np.random.Generator) -> None:
        """Take note of some more batches, in an epoch that began with this generator."""
        self._batches += count
        if self._path is not None and self._in_batches and self._batches >= self._every:
            vectors = self._trainer.net.parameters, self._trainer.optimizer.velocity
            # What has begun to diverge must not take the place of what has not; the epoch will soon end with an error.
            if all(np.isfinite(v).all() for v in vectors) and np.isfinite(backend.numbers(left.costs)).all():
                self._write(left, rng)

    def after_epoch(self, left: Left, epoch: int) -> None:
        """Take note of the end of an epoch."""
        if epoch >= left.last or (not self._in_batches and epoch % self._every == 0):
            self._write(left, self._trainer.rng)

    def _write(self, left: Left, rng: np.random.Generator) -> None:
        self._batches = 0
        if self._path is None:
            return
        history = [[epoch, *map(_written, rest)] for epoch, *rest in self._trainer.history]
        state = {"history": history, "generator": rng.bit_generator.state, "left": left.written()}
        try:
            save_run(self._trainer, self._path, state)
        except OSError as error:
            if self._failure == "raise":
                raise
            warnings.warn(
                f"the checkpoint {self._path} could not be written ({error}): training goes on, and what was there "
                "before still is",
                RuntimeWarning,
                stacklevel=2,
            )


def _written(number: float) -> float | None:
    """Return a number for JSON, which has no nan."""
    return None if math.isnan(number) else number


def number(written: float | None) -> float:
    """Return a number as it was written for JSON."""
    return math.nan if written is None else float(written)


def _run_description(trainer: Trainer) -> dict[str, Any]:
    """Return what a file has of a trainer; CheckpointError if it cannot be built again from that."""
    for name, thing, kind in (
        ("optimizer", trainer.optimizer, SGD),
        ("generator", getattr(trainer.rng, "bit_generator", None), np.random.PCG64),
    ):
        if type(thing) is not kind:
            raise CheckpointError(f"a run can be saved if its {name} is a {kind.__name__}, but it is {thing!r}")
    return {
        **_description(trainer.net),
        "cost": [_name(type(trainer.cost)), _arguments(trainer.cost)],
        "optimizer": trainer.optimizer.options(),
    }


def _description(net: Sequential) -> dict[str, Any]:
    return {"dtype": net.dtype.name, "layers": [[_name(type(layer)), _arguments(layer)] for layer in net.layers]}


def _write(path: str | os.PathLike[str], kind: str, header: Mapping[str, Any], **arrays: Any) -> None:
    text = json.dumps({"format": kind, "version": _VERSIONS[kind], **header}, allow_nan=False)
    values: dict[str, Any] = {name: backend.to(array, "cpu") for name, array in arrays.items()}
    with atomic(path) as file:
        np.savez(file, header=np.array(text), **values)


def _read(path: str | os.PathLike[str], kinds: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the header and the arrays of a file that is one of these kinds."""
    with open(path, "rb") as file, blamed(path):
        arrays = _arrays(file)
        header = json.loads(str(arrays.pop("header")))
        kind, version = header["format"], header["version"]
        if kind in _VERSIONS and kind not in kinds:
            raise CheckpointError(f"{path} holds a network, not a run: load it with numnet.load")
        if _VERSIONS.get(kind) != version:
            known = ", ".join(f"{name!r}, version {number}" for name, number in _VERSIONS.items() if name in kinds)
            raise CheckpointError(
                f"{path} has format {kind!r}, version {version!r}; this numnet reads {known}: update numnet, or save "
                "the network again with this one"
            )
        return header, arrays


def _arrays(file: BinaryIO) -> dict[str, Array]:
    """Return the arrays in an npz file. `numpy.load` would take memory as the file claims; this as the file has."""
    arrays = {}
    length = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > length or any(m.compress_type for m in members):
            raise ValueError("its parts are packed, or claim to be longer than the file")
        if len(members) > len(_PARTS) or {member.filename for member in members} - _PARTS:
            raise ValueError(f"its parts are not {', '.join(sorted(_PARTS))}")
        for member in members:
            data = archive.read(member)
            part = io.BytesIO(data)
            version = npy.read_magic(part)
            shape, fortran, dtype = _NPY_HEADERS[version](part)
            size = len(data) - part.tell()
            if dtype.kind not in "Ufc" or fortran or size != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{member.filename!r} claims {shape} of {dtype} in {size} bytes")
            array = np.frombuffer(data, dtype, offset=part.tell()) if size else np.empty(0, dtype)
            arrays[member.filename.removesuffix(".npy")] = array.reshape(shape)
    return arrays


@contextmanager
def blamed(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn any error of the block into a CheckpointError: a damaged file can raise nearly any of them."""
    try:
        yield
    except (CheckpointError, backend.DeviceError):
        raise
    except Exception as error:
        said = textwrap.shorten(str(error), 300, placeholder=" ...")  # it may quote the file at length
        raise CheckpointError(
            f"{path} is nothing that numnet has saved, or is damaged ({said}): save it again, or take an older copy"
        ) from error


def _network(path: str | os.PathLike[str], header: dict[str, Any], arrays: dict[str, Array]) -> Sequential:
    parameters = arrays["parameters"]
    needed = 0  # before memory is taken for them
    for name, arguments in header["layers"]:
        if issubclass(_class(Layer, name), Linear):
            sizes = [arguments[size] for size in ("inputs", "outputs")]
            if not all(type(size) is int and size > 0 for size in sizes):
                raise ValueError(f"a layer has the sizes {sizes}")
            needed += sizes[0] * sizes[1] + sizes[1]
    if needed > parameters.size:
        raise CheckpointError(
            f"{path} holds {parameters.size} parameters, but its layers need {needed} or more: the file is damaged"
        )
    layers = [_build(Layer, name, arguments) for name, arguments in header["layers"]]
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


def _arguments(thing: Layer | Cost) -> dict[str, Any]:
    """Return the constructor's arguments, by name."""
    init = type(thing).__init__
    names = [] if init is object.__init__ else list(inspect.signature(init).parameters)[1:]
    try:
        arguments = {name: getattr(thing, name) for name in names}
        json.dumps(arguments, allow_nan=False)
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{thing!r} cannot be saved: each argument of its __init__ must be kept as an attribute of the same name, "
            f"and be a number, a string or None ({error})"
        ) from error
    return arguments


def _build(base: type[_Kind], name: str, arguments: dict[str, Any]) -> _Kind:
    thing: _Kind = _class(base, name)(**arguments)
    return thing


def _class(base: type[_Kind], name: str) -> type[_Kind]:
    """Return the class of layers or costs with this name, which the program must have defined."""
    known = [kind for kind in _subclasses(base) if _name(kind) == name]
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


def _name(kind: type[Layer | Cost]) -> str:
    """Return the name of a class in a file, such that another's Softmax is not taken for numnet's."""
    own = kind.__module__ in (Layer.__module__, Cost.__module__)
    return f"numnet.{kind.__name__}" if own else kind.__name__


def _subclasses(kind: type[_Kind]) -> Iterator[type[_Kind]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _subclasses(sub)
