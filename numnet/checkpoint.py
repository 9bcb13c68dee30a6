"""A network as one file: NumPy's npz, with a JSON header that says how to build it. No pickle, so no code, in it."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from . import backend
from .atomic import atomic
from .layers import Layer
from .network import Sequential

_VERSION = 1


class CheckpointError(ValueError):
    """A file is no network that numnet can load, or a network is none that it can save."""


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
    header = {"format": "numnet network", "version": _VERSION, "dtype": net.dtype.name}
    header["layers"] = [[_name(type(layer)), _arguments(layer)] for layer in net.layers]
    with atomic(path) as file:
        np.savez(file, header=np.array(json.dumps(header)), parameters=backend.to(net.parameters, "cpu"))


def load(path: str | os.PathLike[str], device: str = "cpu") -> Sequential:
    """Read a network that `Sequential.save` wrote.

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
    with open(path, "rb") as file:
        return _load(file, path).to(device)


def _load(file: BinaryIO, path: str | os.PathLike[str]) -> Sequential:
    """Read a network from an open file; the path is for messages."""
    try:
        with np.load(file, allow_pickle=False) as content:
            header, parameters = json.loads(str(content["header"])), content["parameters"]
        if header["format"] != "numnet network" or header["version"] != _VERSION:
            raise CheckpointError(
                f"{path} has format {header['format']!r}, version {header['version']!r}; this numnet reads "
                f"'numnet network', version {_VERSION}: update numnet, or save the network again with this one"
            )
        layers = [_build(name, arguments) for name, arguments in header["layers"]]
        net = Sequential(*layers, seed=0, dtype=header["dtype"])
    except CheckpointError:
        raise
    except Exception as error:  # a damaged file can raise nearly any, on its way through zip, npy and JSON
        raise CheckpointError(
            f"{path} is no network saved by numnet, or is damaged ({error}): save it again"
        ) from error
    if parameters.shape != net.parameters.shape or parameters.dtype != net.dtype:
        raise CheckpointError(
            f"{path} holds {parameters.size} parameters of {parameters.dtype}, but its layers need "
            f"{net.parameters.size} of {net.dtype}: the file is damaged, or a layer has changed since"
        )
    net.parameters = parameters
    return net


def _arguments(layer: Layer) -> dict[str, Any]:
    """Return the constructor's arguments, by name."""
    init = type(layer).__init__
    names = [] if init is object.__init__ else list(inspect.signature(init).parameters)[1:]
    try:
        arguments = {name: getattr(layer, name) for name in names}
        json.dumps(arguments, allow_nan=False)
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{layer!r} cannot be saved: each argument of its __init__ must be kept as an attribute of the same name, "
            f"and be a number, a string or None ({error})"
        ) from error
    return arguments


def _build(name: str, arguments: dict[str, Any]) -> Layer:
    known = [kind for kind in _subclasses(Layer) if _name(kind) == name]
    if not known:
        raise CheckpointError(
            f"the file has a layer {name!r} that is not defined here: define or import its class, then load"
        )
    if len({(kind.__module__, kind.__qualname__) for kind in known}) > 1:
        raise CheckpointError(
            f"several layers are named {name!r} here: the file could mean any of them, rename the others"
        )
    layer: Layer = known[-1](**arguments)  # the last of those of a notebook cell that was run again
    return layer


def _name(kind: type[Layer]) -> str:
    """Return the name of a layer in a file, such that another's Softmax is not taken for numnet's."""
    return f"numnet.{kind.__name__}" if kind.__module__ == Layer.__module__ else kind.__name__


def _subclasses(kind: type[Layer]) -> Iterator[type[Layer]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _subclasses(sub)
