"""A network as one C99 function: a file for microcontrollers and for programs in C, without a library."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator
from typing import IO

import numpy as np

from . import portable
from .atomic import Kind, atomic
from .backend import Array
from .layers import Layer, Linear, ReLU, Sigmoid, Softmax, Tanh
from .network import Sequential

_FIRST_LINE = "/* A network as one function in C99, written by export_c of numnet.\n"

# NAME, REAL (float or double), and F (f for float's functions and constants) are filled in. Each function works in
# place, but `linear`.
_FUNCTIONS: dict[type[Layer], str] = {
    Linear: """\
/* y = x w + b. The weights have a row for each input. */
static void NAME_linear(const REAL *x, int inputs, const REAL *weight, const REAL *bias, int outputs, REAL *y)
{
    int i, j;

    for (j = 0; j < outputs; j++)
        y[j] = bias ? bias[j] : 0;
    for (i = 0; i < inputs; i++, weight += outputs)
        if (x[i] != 0) /* most pixels of an image are 0 */
            for (j = 0; j < outputs; j++)
                y[j] += x[i] * weight[j];
}
""",
    Sigmoid: """\
/* y = 1 / (1 + exp(-y)). The argument of exp is never above 0, so exp cannot overflow. */
static void NAME_sigmoid(REAL *y, int n)
{
    int j;

    for (j = 0; j < n; j++) {
        const REAL e = expF(y[j] < 0 ? y[j] : -y[j]);

        y[j] = (y[j] < 0 ? e : 1) / (1 + e);
    }
}
""",
    Tanh: """\
static void NAME_tanh(REAL *y, int n)
{
    int j;

    for (j = 0; j < n; j++)
        y[j] = tanhF(y[j]);
}
""",
    ReLU: """\
/* y = max(y, 0) */
static void NAME_relu(REAL *y, int n)
{
    int j;

    for (j = 0; j < n; j++)
        if (y[j] < 0)
            y[j] = 0;
}
""",
    Softmax: """\
/* y_j = exp(y_j) / sum_k exp(y_k). Without the largest y, exp could overflow. */
static void NAME_softmax(REAL *y, int n)
{
    REAL largest = y[0], sum = 0;
    int j;

    for (j = 1; j < n; j++)
        if (y[j] > largest)
            largest = y[j];
    for (j = 0; j < n; j++) {
        y[j] = expF(y[j] - largest);
        sum += y[j];
    }
    for (j = 0; j < n; j++)
        y[j] /= sum;
}
""",
}


def export_c(net: Sequential, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Write a network as one function in C99, for microcontrollers and for programs without Python.

    The C file is written as a whole or not at all. The file needs no library but C's own math.h. A comment at its top
    says how to call the function. The function takes one sample and computes what ``net(x)`` computes.

    Parameters
    ----------
    net : Sequential
        A network of Linear, Sigmoid, Tanh, ReLU and Softmax layers with a Linear among them, on the CPU or on a GPU. A
        float32 network becomes a function of ``float``, and a float64 network a function of ``double``. For ``float``
        give ``net.astype("float32")``.
    path : str or os.PathLike
        The name of the file, which ends in .c by custom, and which gives the function its name: ``digits.c`` has
        ``digits_forward``. Characters that C does not allow in names become ``_``. A ``~`` at the start stands for your
        home.
    overwrite : bool, default False
        Whether the file may replace a file that `export_c` has not written. The file may replace a file of `export_c`
        in any case.

    Raises
    ------
    ValueError
        If the function could not compute the network's outputs: the network is complex, takes any number of features,
        or a layer or the network has a forward of its own, or a parameter is not finite. Nothing is written then.
    FileExistsError
        If the path is a file that `export_c` has not written. Or if an array of the program is mapped from the file,
        also with `overwrite`.
    OSError
        If the file cannot be written: the path is a folder, a device or a FIFO, or ends in a slash, there is no folder
        for the file, the file is read-only, or the disk is full.

    Notes
    -----
    Each constant is the shortest decimal number that gives the parameter's bits again.

    A network of ``Linear(784, 10), Softmax()`` in float32 has 31,400 bytes of constants, which stay in flash memory on
    most microcontrollers, and 48 bytes of stack on x86-64. Its code has about 200 bytes for an ARM Cortex-M4 (clang
    -Os) and 270 bytes for x86-64 (gcc -Os), without the expf of math.h. A network with hidden layers has one or two
    arrays on the stack. ``Linear(784, 128), Sigmoid(), Linear(128, 10), Softmax()`` has 407,080 bytes of constants, and
    an array of 512 bytes on the stack.

    The function allocates nothing, and keeps nothing between calls. So several threads may call it at once. Images of
    bytes must be divided by 255 before, as a call of the network does.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(784, 10), nn.Softmax(), seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nn.export_c(net, Path(folder, "digits.c"))
    ...     text = Path(folder, "digits.c").read_text()
    >>> "void digits_forward(const float *x, float *y);" in text
    True
    """
    steps = portable.steps("export_c", net)
    if net.inputs is None:
        raise ValueError(
            "export_c: the C function takes a fixed number of features, but the network takes any number: begin it "
            "with a Linear, Linear(784, ...) say"
        )
    with atomic(path, C_FILE, overwrite) as file:
        name = _name(os.path.splitext(os.path.basename(os.fsdecode(path)))[0])
        for part in _source(net, steps, name):
            file.write(part.encode("ascii"))


def _is_c_file(file: IO[bytes]) -> bool:
    """Return whether a file begins as those of `export_c` do."""
    return file.read(len(_FIRST_LINE)) == _FIRST_LINE.encode()


C_FILE = Kind("C file of export_c", _is_c_file)


def _name(stem: str) -> str:
    """Return a name that C allows: letters, digits and underscores, with a letter at the start."""
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)
    return name if name[0].isalpha() else f"net_{name}"


def _source(net: Sequential, steps: list[portable.Step], name: str) -> Iterator[str]:
    """Yield the parts of the C file."""
    real, f = ("float", "f") if net.dtype == "float32" else ("double", "")
    sizes = {"INPUTS": net.inputs, "OUTPUTS": net.outputs}
    calls, hidden = _calls(net, steps, name)
    arrays = {f"{name}_{which}{i}": array for i, step in enumerate(steps) for which, array in step.parameters.items()}
    constants = sum(array.nbytes for array in arrays.values())
    stack = net.dtype.itemsize * sum(hidden.values())
    prototype = f"void {name}_forward(const {real} *x, {real} *y)"
    layers = textwrap.fill(
        ", ".join(
            f"Linear({step.inputs}, {step.outputs})" if step.kind is Linear else step.kind.__name__ for step in steps
        ),
        100,
        subsequent_indent="   ",
    )
    yield _FIRST_LINE
    yield f"""
   The layers: {layers}.

       {prototype};

   computes the {net.outputs} outputs y of the network for one sample x of {net.inputs} numbers. The arrays x and y must
   not overlap. Give x as in training. If the network was trained on images of bytes, divide each byte by 255.

   Compile this file with your program, with -lm if your linker needs it. Copy the line above into the file that calls
   the function (in C++ after extern "C"). Or #include this file there, and do not compile it by itself.

   The constants have {constants:,} bytes. The arrays on the stack have {stack:,} bytes.
   The function allocates nothing and keeps nothing, so several threads may call it at once. */

#include <math.h>

"""
    yield "".join(f"#define {name.upper()}_{size} {number}\n" for size, number in sizes.items())
    yield f"\n{prototype};\n\n"
    for array_name, array in arrays.items():
        yield f"static const {real} {array_name}[{array.size}] = {{\n"
        yield from _numbers(array.ravel(), f)
        yield "};\n\n"
    used, words = {step.kind for step in steps}, {"NAME": name, "REAL": real, "F": f}
    for kind, function in _FUNCTIONS.items():
        if kind in used:
            yield re.sub("NAME|REAL|F", lambda word: words[word[0]], function) + "\n"
    yield f"{prototype}\n{{\n"
    yield "".join(f"    {real} {array}[{size}];\n" for array, size in hidden.items()) + "\n" * bool(hidden)
    yield "".join(f"    {call}\n" for call in calls) + "}\n"


def _calls(net: Sequential, steps: list[portable.Step], name: str) -> tuple[list[str], dict[str, int]]:
    """Return the statements of the function, and the sizes of its arrays for the hidden layers.

    The last linear layer writes to y, and each layer before to one of two arrays in turn. The others work in place.
    """
    calls: list[str] = []
    hidden: dict[str, int] = {}
    last = max((i for i, step in enumerate(steps) if step.kind is Linear), default=0)
    where, width = "x", net.inputs or 0
    for i, step in enumerate(steps):
        if step.kind is Linear or where == "x":
            to = "y" if i >= last else "b" if where == "a" else "a"
            if to != "y":
                hidden[to] = max(hidden.get(to, 0), step.outputs or width)
        if step.kind is Linear:
            bias = f"{name}_bias{i}" if "bias" in step.parameters else "0"
            calls.append(f"{name}_linear({where}, {step.inputs}, {name}_weight{i}, {bias}, {step.outputs}, {to});")
            width = step.outputs or 0
        else:
            if where == "x":
                calls += [f"for (int j = 0; j < {width}; j++)", f"    {to}[j] = x[j];"]
            calls.append(f"{name}_{step.kind.__name__.lower()}({to}, {width});")
        where = to
    return calls, hidden


def _numbers(values: Array, f: str) -> Iterator[str]:
    """Yield numbers as C constants, eight a line."""
    for start in range(0, len(values), 8):
        yield f"    {', '.join(f'{np.format_float_scientific(value)}{f}' for value in values[start : start + 8])},\n"
