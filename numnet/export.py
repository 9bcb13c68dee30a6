"""A network as a page to draw on: one HTML file that a browser opens offline, without a server or a library."""

from __future__ import annotations

import base64
import json
import math
import os
from typing import IO, Any

import numpy as np

from . import backend
from .atomic import Kind, atomic
from .backend import Array
from .layers import Layer, Linear, ReLU, Sigmoid, Softmax, Tanh
from .network import Sequential

_KINDS: tuple[type[Layer], ...] = (Linear, Sigmoid, Tanh, ReLU, Softmax)  # the layers that page.html can compute


def export_html(net: Sequential, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Write a page on which to draw an image and watch the network's outputs.

    The page is one HTML file, which is written as a whole or not at all. The file loads nothing, and holds all that the
    page needs: the parameters, the forward pass in a few lines of JavaScript, and a canvas for mouse, pen and finger.
    The source of the page is meant to be read.

    Parameters
    ----------
    net : Sequential
        A network of Linear, Sigmoid, Tanh, ReLU and Softmax layers that takes square images and has any number of
        outputs. The network should have been trained on images with bright ink (close to 1, or to 255 as bytes) on an
        empty ground (0), as the images of MNIST are.
    path : str or os.PathLike
        The name of the file. By custom it ends in .html. A ``~`` at the start stands for your home.
    overwrite : bool, default False
        Whether the page may replace a file that is no such page. The page may replace another page in any case.

    Raises
    ------
    ValueError
        If the page could not compute the network's outputs. Nothing is written then.
    FileExistsError
        If the path is a file that is no such page. Or if an array of the program is mapped from the file, also with
        `overwrite`.
    OSError
        If the file cannot be written: the path is a folder, a device or a FIFO, or ends in a slash, there is no folder
        for the file, the file is read-only, or the disk is full.

    Notes
    -----
    The file holds the parameters as float32, and the page computes with them in float64. So the outputs of the page are
    the outputs of ``net``, except for rounding.

    The page gives a drawing the form of the training images before the network sees the drawing. MNIST's digits were
    fitted into 20 x 20 pixels with their proportions kept, and then put on 28 x 28 pixels with their centre of mass in
    the middle: http://yann.lecun.com/exdb/mnist/. Images of other sizes are treated in proportion, except images of
    8 x 8 pixels. They are taken for the images of `numnet.datasets.digits`, whose digits fill the height and are at
    most 5 pixels wide.

    Examples
    --------
    >>> import os, tempfile
    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(784, 10), nn.Softmax(), seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nn.export_html(net, os.path.join(folder, "draw.html"))
    ...     os.listdir(folder)
    ['draw.html']
    """
    # Nothing needs to be escaped, since no text of the user gets into the page: the network is numbers, base64 and
    # names from _KINDS.
    network = json.dumps(_description(net), indent=1)
    page = _page().replace("@NETWORK@", network)
    with atomic(path, PAGE, overwrite) as file:
        file.write(page.encode())


def _page() -> str:
    """Return the page without a network."""
    from importlib.resources import files

    return (files("numnet") / "page.html").read_text(encoding="utf-8")


def _is_page(file: IO[bytes]) -> bool:
    """Return whether a file begins as the page does."""
    head = _page().partition("<style>")[0].encode()
    return file.read(len(head)) == head


PAGE = Kind("numnet page", _is_page)


def _description(net: Sequential) -> dict[str, Any]:
    """Return what the page has to know about a network; ValueError if the page could not compute the network."""
    if not isinstance(net, Sequential):
        raise ValueError(f"export_html: net must be a Sequential, got {net!r}")
    for name in ("__call__", "scaled", "infer"):
        if getattr(type(net), name) is not getattr(Sequential, name):
            raise ValueError(
                f"export_html: {type(net).__name__} has a {name} of its own, which the page would not know: give a "
                "numnet.Sequential of new layers of these kinds, with net.parameters assigned to its parameters"
            )
    if net.dtype.kind == "c":
        raise ValueError(
            f"export_html: the page computes with real numbers, but the network is {net.dtype}: give "
            "net.astype('float32')"
        )
    kinds = [_kind(i, layer) for i, layer in enumerate(net.layers)]
    side = math.isqrt(net.inputs or 0)
    if side**2 != net.inputs:
        takes = "any number of features" if net.inputs is None else f"{net.inputs} features, which is no square number"
        raise ValueError(
            f"export_html: the page draws square images, but the network takes {takes}: begin it with a Linear of side "
            "times side inputs, Linear(784, ...) say"
        )
    layers = [
        {"kind": kind.__name__, **(_linear(i, layer) if kind is Linear else {})}
        for i, (kind, layer) in enumerate(zip(kinds, net.layers, strict=True))
    ]
    return {"side": side, "outputs": net.outputs, "probabilities": kinds[-1].probabilities, "layers": layers}


def _kind(i: int, layer: Layer) -> type[Layer]:
    """Return the class whose forward a layer has: the class of the layer, or a class from which it is derived."""
    for kind in _KINDS:
        if isinstance(layer, kind) and getattr(layer.forward, "__func__", None) is kind.forward:
            return kind
    known = ", ".join(kind.__name__ for kind in _KINDS)
    raise ValueError(
        f"export_html: layer {i}, {layer!r}, has a forward of its own, which the page does not know: use {known}"
    )


def _linear(i: int, layer: Layer) -> dict[str, Any]:
    """Return a linear layer's sizes and parameters."""
    weight = layer.parameters["weight"]
    bias = layer.parameters.get("bias", np.zeros(weight.shape[1]))
    return {
        "inputs": len(weight),
        "outputs": len(bias),
        "weight": _base64(f"the weight of layer {i}", weight),
        "bias": _base64(f"the bias of layer {i}", bias),
    }


def _base64(name: str, array: Array) -> str:
    """Return an array's float32, little-endian and row by row, as base64; ValueError if a number is not finite."""
    with np.errstate(all="ignore"):
        values = backend.to(array, "cpu").astype("<f4")
    if not np.isfinite(values).all():
        raise ValueError(
            f"export_html: {name} has values that are not finite in float32: training has diverged, train again with a "
            "smaller learning rate"
        )
    return base64.b64encode(values.tobytes()).decode()
