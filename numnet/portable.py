"""Networks that other programs can compute: built-in layers with real and finite parameters. Others are refused.

`steps` is the first call of every function that exports a network.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import backend
from .backend import Array
from .layers import Layer, Linear, ReLU, Sigmoid, Softmax, Tanh
from .network import Sequential

_KINDS: tuple[type[Layer], ...] = (Linear, Sigmoid, Tanh, ReLU, Softmax)


class Step(NamedTuple):
    """What another program has to know of a layer."""

    kind: type[Layer]  # the built-in class whose forward the layer has
    inputs: int | None  # None: any number
    outputs: int | None
    parameters: dict[str, Array]  # on the CPU


def steps(caller: str, net: Sequential, dtype: str | None = None) -> list[Step]:
    """Return what a network computes, layer by layer, with its parameters in some dtype (by default in the network's).

    Raises
    ------
    ValueError
        If the network is complex, if it or a layer has a forward of its own, or if a parameter is not finite in this
        dtype. The message begins with the name of the calling function.
    """
    if not isinstance(net, Sequential):
        raise ValueError(f"{caller}: net must be a Sequential, got {net!r}")
    for name in ("__call__", "scaled", "infer"):
        if getattr(type(net), name) is not getattr(Sequential, name):
            raise ValueError(
                f"{caller}: {type(net).__name__} has a {name} of its own, which would be lost: give a "
                "numnet.Sequential of new layers of these kinds, with net.parameters assigned to its parameters"
            )
    if net.dtype.kind == "c":
        raise ValueError(
            f"{caller}: only real numbers can be exported, but the network is {net.dtype}: give net.astype('float32')"
        )
    kinds = [_kind(caller, i, layer) for i, layer in enumerate(net.layers)]
    return [
        Step(kind, inputs, outputs, _parameters(caller, i, layer, net.dtype if dtype is None else dtype))
        for i, (kind, layer, inputs, outputs) in enumerate(
            zip(kinds, net.layers, net.widths[:-1], net.widths[1:], strict=True)
        )
    ]


def _kind(caller: str, i: int, layer: Layer) -> type[Layer]:
    """Return the class whose forward a layer has: the class of the layer, or a class from which it is derived."""
    for kind in _KINDS:
        same = isinstance(layer, kind) and getattr(layer.forward, "__func__", None) is kind.forward
        if same and not layer.parameters.keys() - {"weight", "bias"}:
            return kind
    known = ", ".join(kind.__name__ for kind in _KINDS)
    raise ValueError(
        f"{caller}: layer {i}, {layer!r}, has a forward or parameters of its own, which would be lost: use {known}"
    )


def _parameters(caller: str, i: int, layer: Layer, dtype: npt.DTypeLike) -> dict[str, Array]:
    """Return a layer's parameters on the CPU; ValueError if a number is not finite in this dtype."""
    found = {}
    for name, array in layer.parameters.items():
        with np.errstate(all="ignore"):
            values = found[name] = backend.to(array, "cpu").astype(dtype)
        if not np.isfinite(values).all():
            raise ValueError(
                f"{caller}: the {name} of layer {i} has values that are not finite in {values.dtype.name}: training "
                "has diverged, train again with a smaller learning rate"
            )
    return found
