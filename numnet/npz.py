"""The files of networks and runs: NumPy's npz with a JSON header that says how to build what is in the file.

There is no pickle, so no code, in such a file. A file is not trusted: what it claims is compared with what is there
before memory is taken for it.
"""

from __future__ import annotations

import inspect
import io
import json
import math
import os
import textwrap
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from . import backend
from .atomic import Kind, atomic, readable
from .backend import Array
from .checks import CheckpointError, DeviceError
from .costs import Cost
from .layers import Layer, Linear

NETWORK: Kind = Kind("numnet network", lambda file: _format(file) == NETWORK.name)
RUN: Kind = Kind("numnet run", lambda file: _format(file) == RUN.name)

_VERSIONS = {"numnet network": 1, "numnet run": 3}
_READ = {("numnet network", 1), *(("numnet run", version) for version in (1, 2, 3))}  # 0.1.0 writes version 1 of a run
_PARTS = {"header.npy", "parameters.npy", "velocity.npy", "best.npy"}
_NPY_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def describe(net: Any) -> dict[str, Any]:
    """Return what a file has of a network beside its parameters."""
    layers = [[class_name(type(layer)), constructor_arguments(layer)] for layer in net.layers]
    return {"dtype": net.dtype.name, "layers": layers}


def write(path: str | os.PathLike[str], kind: Kind, overwrite: bool, header: Mapping[str, Any], **arrays: Any) -> None:
    """Write a header and arrays to a file of some kind: whole or not at all."""
    text = json.dumps({"format": kind.name, "version": _VERSIONS[kind.name], **header}, allow_nan=False)
    values: dict[str, Any] = {"header": np.array(text), **{name: backend.to(a, "cpu") for name, a in arrays.items()}}
    # As np.savez does. But that of NumPy 1.26 leaves its archive open if the disk is full.
    with atomic(path, kind, overwrite) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in values.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                npy.write_array(part, array, allow_pickle=False)


def read(path: str | os.PathLike[str], kinds: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the header and the arrays of a file that is one of these kinds."""
    with open(readable(path), "rb") as file, blamed(path):
        arrays = _arrays(file)
        header = json.loads(_text(arrays.pop("header")))
        kind, version = header["format"], header["version"]
        if kind in _VERSIONS and kind not in kinds:
            raise CheckpointError(f"{path} holds a network, not a run: load it with numnet.load")
        if (kind, version) not in _READ:
            known = ", ".join(f"{name!r}, version {number}" for name, number in sorted(_READ) if name in kinds)
            raise CheckpointError(
                f"{path} has format {kind!r}, version {version!r}; this numnet reads {known}: update numnet, or save "
                "the network again with this one"
            )
        return header, arrays


def _format(file: IO[bytes]) -> Any:
    """Return the format that the header of a file states; None if the file has no such header."""
    with suppress(Exception):  # other files can raise nearly any
        return json.loads(_text(_arrays(file, {"header.npy"})["header"]))["format"]
    return None


def _text(array: Array) -> str:
    """Return the text in an array. `str` would make a string of what are no characters, too, and fail with it later."""
    return array.tobytes().decode("utf-32-be" if array.dtype.str.startswith(">") else "utf-32-le")


def _arrays(file: IO[bytes], wanted: Collection[str] = _PARTS) -> dict[str, Array]:
    """Return the arrays in an npz file. `numpy.load` would take memory as the file claims; this as the file has."""
    arrays = {}
    length = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        packed = any(member.compress_type or member.compress_size != member.file_size for member in members)
        if packed or sum(member.file_size for member in members) > length:
            raise ValueError("its parts are packed, or claim to be longer than the file")
        if len(members) > len(_PARTS) or {member.filename for member in members} - _PARTS:
            raise ValueError(f"its parts are not {', '.join(sorted(_PARTS))}")
        for member in members:
            if member.filename not in wanted:
                continue
            data = archive.read(member)
            part = io.BytesIO(data)
            version = npy.read_magic(part)
            shape, fortran, dtype = _NPY_HEADERS[version](part)
            size = len(data) - part.tell()
            if dtype.kind not in "Ufc" or fortran or size != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{member.filename!r} claims {shape} of {dtype} in {size} bytes")
            array = np.frombuffer(data, dtype, offset=part.tell())
            arrays[member.filename.removesuffix(".npy")] = array.reshape(shape)
    return arrays


@contextmanager
def blamed(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn any error of the block into a CheckpointError: a damaged file can raise nearly any of them.

    A MemoryError stays: no more memory is asked for than a whole file needs.
    """
    try:
        yield
    except (CheckpointError, DeviceError, MemoryError):
        raise
    except Exception as error:
        said = textwrap.shorten(str(error), 300, placeholder=" ...")  # it may quote the file at length
        raise CheckpointError(
            f"{path} is nothing that numnet has saved, or is damaged ({said}): save it again, or take an older copy"
        ) from error


def constructor_arguments(thing: Layer | Cost) -> dict[str, Any]:
    """Return the constructor's arguments, by name."""
    init = type(thing).__init__
    names = [] if init is object.__init__ else list(inspect.signature(init).parameters)[1:]
    try:
        arguments = {name: getattr(thing, name) for name in names}
        if isinstance(thing, Linear):  # its attribute `bias` is an array, and its start is over
            arguments.pop("start", None)
            if "bias" in arguments and arguments.pop("bias") is None:  # with a bias, files stay as 0.1.0 wrote them
                arguments["bias"] = False
        json.dumps(arguments, allow_nan=False)
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{thing!r} cannot be saved: each argument of its __init__ must be kept as an attribute of the same name, "
            f"and be a number, a string or None ({error})"
        ) from error
    return arguments


def class_name(kind: type[Layer | Cost]) -> str:
    """Return the name of a class in a file, such that another's Softmax is not taken for numnet's."""
    own = kind.__module__ in (Layer.__module__, Cost.__module__)
    return f"numnet.{kind.__name__}" if own else kind.__name__
