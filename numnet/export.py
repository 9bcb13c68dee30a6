"""A network as a page to draw on: one HTML file that a browser opens offline, without a server or a library."""

from __future__ import annotations

import base64
import json
import math
import os
from typing import IO, Any

import numpy as np

from . import portable
from .atomic import Kind, atomic
from .layers import Linear
from .network import Sequential


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

    The page is light or dark as the system is. In an ``<iframe>``, the page is light or dark as the CSS property
    ``color-scheme`` of the ``<iframe>`` says, and leaves out its heading and the text below.

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
    # names of built-in layers.
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
    steps = portable.steps("export_html", net, "<f4")
    side = math.isqrt(net.inputs or 0)
    if side**2 != net.inputs:
        takes = "any number of features" if net.inputs is None else f"{net.inputs} features, which is no square number"
        raise ValueError(
            f"export_html: the page draws square images, but the network takes {takes}: begin it with a Linear of side "
            "times side inputs, Linear(784, ...) say"
        )
    layers = [{"kind": step.kind.__name__, **(_linear(step) if step.kind is Linear else {})} for step in steps]
    return {"side": side, "outputs": net.outputs, "probabilities": steps[-1].kind.probabilities, "layers": layers}


def _linear(step: portable.Step) -> dict[str, Any]:
    """Return a linear layer's sizes, and its parameters row by row as base64."""
    weight = step.parameters["weight"]
    bias = step.parameters.get("bias", np.zeros(weight.shape[1], "<f4"))
    arrays = {"weight": weight, "bias": bias}
    text = {name: base64.b64encode(array.tobytes()).decode() for name, array in arrays.items()}
    return {"inputs": len(weight), "outputs": len(bias), **text}
