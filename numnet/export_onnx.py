"""A network as an ONNX model: one file that ONNX Runtime and other programs compute, in many languages."""

from __future__ import annotations

import os
from typing import IO, Any

import numpy as np

from . import portable
from .atomic import Kind, atomic
from .layers import Layer, Linear, ReLU, Sigmoid, Softmax, Tanh
from .network import Sequential

# The oldest operator set with the softmax of a row as numnet has it, and the IR version that came with the set. Both
# are of ONNX 1.8. A newer IR version would shut out older programs.
_OPSET, _IR = 13, 7
_OPERATORS: dict[type[Layer], str] = {Sigmoid: "Sigmoid", Tanh: "Tanh", ReLU: "Relu", Softmax: "Softmax"}


def export_onnx(net: Sequential, path: str | os.PathLike[str], input: str = "float32", overwrite: bool = False) -> None:
    """Write a network as an ONNX model, for programs without Python.

    The file is written as a whole or not at all. The model computes what ``net(x)`` computes, in the network's dtype.
    The model's input is called ``x``, and its output ``y``. The number of samples is free in each call.

    Parameters
    ----------
    net : Sequential
        A network of Linear, Sigmoid, Tanh, ReLU and Softmax layers, in float32 or float64, on the CPU or on a GPU.
    path : str or os.PathLike
        The name of the file. By custom it ends in .onnx. A ``~`` at the start stands for your home.
    input : {"float32", "float64", "uint8"}, default "float32"
        What the model takes. The model converts its input to the network's dtype. uint8 means images with intensities
        from 0 to 255, and is scaled by 1/255 in the model, as in a call of the network.
    overwrite : bool, default False
        Whether the model may replace a file that is no model of numnet. The model may replace another model of numnet
        in any case.

    Raises
    ------
    ImportError
        If the package onnx is not installed: ``pip install 'numnet[onnx]'``.
    ValueError
        If `input` is none of the three. Or if the model could not compute the network's outputs: the network is
        complex, or a layer or the network has a forward of its own, or a parameter is not finite. Nothing is written
        then.
    FileExistsError
        If the path is a file that is no model of numnet. Or if an array of the program is mapped from the file, also
        with `overwrite`.
    OSError
        If the file cannot be written: the path is a folder, a device or a FIFO, or ends in a slash, there is no folder
        for the file, the file is read-only, or the disk is full.

    Notes
    -----
    The input has the shape (n, inputs) and the output the shape (n, outputs). So flatten images before, as
    ``images.reshape(len(images), -1)`` does. If the network takes any number of features, the model does, too.

    The operators are those of opset 13: https://github.com/onnx/onnx/blob/v1.8.0/docs/Operators.md. So each program
    that reads ONNX 1.8 (2020) can read the file. ONNX files are at most 2 GB long.

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(784, 10), nn.Softmax(), seed=0)
    >>> nn.export_onnx(net, "digits.onnx", input="uint8")  # doctest: +SKIP

    ONNX Runtime (``pip install onnxruntime``) computes the same outputs, without numnet:

    >>> import onnxruntime  # doctest: +SKIP
    >>> images = np.arange(5 * 784, dtype=np.uint8).reshape(5, 784)
    >>> session = onnxruntime.InferenceSession("digits.onnx")  # doctest: +SKIP
    >>> (y,) = session.run(["y"], {"x": images})  # doctest: +SKIP
    >>> np.allclose(y, net(images), atol=1e-6)  # doctest: +SKIP
    True
    """
    if input not in ("float32", "float64", "uint8"):
        raise ValueError(f"export_onnx: input must be one of float32, float64, uint8, got {input!r}")
    onnx = _onnx()
    model = _model(onnx, net, input).SerializeToString()
    with atomic(path, MODEL, overwrite) as file:
        file.write(model)


def _onnx() -> Any:
    """Return the package onnx; ImportError if it is not there."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError("export_onnx needs the package onnx: pip install 'numnet[onnx]'") from error
    return onnx


def _is_model(file: IO[bytes]) -> bool:
    """Return whether a file is a whole model of numnet."""
    onnx = _onnx()
    head: bytes = onnx.ModelProto(ir_version=_IR, producer_name="numnet").SerializeToString()
    if file.read(len(head)) != head:  # before more is read: another file may be large
        return False
    try:
        onnx.checker.check_model(head + file.read())
    except Exception:  # of protobuf, or of the checker
        return False
    return True


MODEL = Kind("ONNX model of numnet", _is_model)


def _model(onnx: Any, net: Sequential, input: str) -> Any:
    """Return the model of a network; ValueError if there can be none."""
    types = {name: onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in ("float32", "float64", "uint8")}
    nodes, arrays = [], {}
    value = "x"  # the name of what has been computed so far

    def node(operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        nodes.append(onnx.helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    steps = portable.steps("export_onnx", net)
    if input != net.dtype.name:
        value = node("Cast", value, name="converted", to=types[net.dtype.name])
    if input == "uint8":
        arrays["scale"] = np.array(1 / 255, net.dtype)
        value = node("Mul", value, "scale", name="scaled")
    for i, step in enumerate(steps):
        output = "y" if step is steps[-1] else f"{step.kind.__name__.lower()}{i}"
        own = {f"{name}{i}": array for name, array in step.parameters.items()}
        arrays |= own
        if step.kind is Linear:
            value = node("Gemm" if len(own) == 2 else "MatMul", value, *own, name=output)
        else:
            value = node(_OPERATORS[step.kind], value, name=output)  # Softmax: over the last axis
    x, y = (
        onnx.helper.make_tensor_value_info(name, types[dtype], ["n", features or "features"])
        for name, dtype, features in (("x", input, net.inputs), ("y", net.dtype.name, net.outputs))
    )
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = onnx.helper.make_graph(nodes, "numnet", [x], [y], initializers)
    opsets = [onnx.helper.make_opsetid("", _OPSET)]
    return onnx.helper.make_model(graph, ir_version=_IR, producer_name="numnet", opset_imports=opsets)
