"""The seam between CPU and GPU: where arrays are, and the few operations that differ from one device to the other.

Layers and costs call NumPy's functions. If an argument is on a GPU, NumPy passes the call to CuPy by itself (NEP 13 and
NEP 18). So layers and costs are written once. `Device` lists what is left over. To add a device, write its functions in
a separate file, as gpu.py does, add them to `DEVICES`, and let `choose`, `device_of` and `to` know the device.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import checks
from .checks import DeviceError, on_gpu

Array = npt.NDArray[Any]

_minimum: float | None = None  # a product on the CPU with so many multiplications goes to the GPU; None: no product


@dataclass(frozen=True)
class Device:
    """What differs between devices.

    Attributes
    ----------
    name : str
    place : callable
        Return an array on this device, from wherever it is.
    asarray : callable
        ``asarray(name, values)`` returns inputs or targets of a network on this device as an array, where they are. The
        CPU refuses arrays on a GPU.
    gather : callable
        ``gather(array, rows, out=out)`` writes some rows of an array to `out`.
    repeated : callable
        Return a function that does what a given method of a trainer does, faster if it is called again and again.
    quiet : callable
        Return a context in which NumPy neither warns nor raises, whatever the user's `numpy.seterr` says.
    narrow : {"C", "F"}
        Memory order of arrays with more rows than columns. NumPy is fastest along the longer axis.
    block : int
        How many numbers a block of batches may have: as many as fit into a cache.
    """

    name: str
    place: Callable[[Any], Array]
    asarray: Callable[[str, Any], Array]
    gather: Callable[..., Any]
    repeated: Callable[[Any], Any]
    quiet: Callable[..., AbstractContextManager[Any]]
    narrow: Literal["C", "F"]
    block: int


# With mode="raise", NumPy would copy `out` first.
CPU = Device(
    name="cpu",
    place=np.asarray,
    asarray=functools.partial(checks.array, hint=", or move the network to the GPU, net.to('gpu')"),
    gather=functools.partial(np.take, axis=0, mode="clip"),
    repeated=functools.partial,  # without further arguments, a partial does what the function does
    quiet=functools.partial(np.errstate, all="ignore"),
    narrow="F",
    block=1 << 20,  # 4 MB of float32
)
DEVICES = {"cpu": CPU}  # `_gpu` adds the GPU when somebody asks for it

# The products that layers call, until `offload` or `record` replaces them. `outer` is the product of a column and a
# row, as in batches of one: there np.dot is about ten times as fast as np.matmul.
product: Callable[..., Array] = np.matmul
outer: Callable[..., Array] = np.dot


def device_of(array: object) -> str:
    """Return "gpu" for an array on a GPU, and "cpu" for anything else."""
    return "gpu" if on_gpu(array) else "cpu"


def choose(device: str) -> str:
    """Return "cpu" or "gpu" for a device as a user gives it.

    Parameters
    ----------
    device : {"cpu", "gpu", "auto"}
        "auto" is the GPU if there is one that works. If there is none, "auto" is the CPU, with a warning that says why.

    Raises
    ------
    DeviceError
        For "gpu", if there is none that works; the error says what is missing and what to do.

    Examples
    --------
    >>> import numnet as nn
    >>> nn.backend.choose("cpu")
    'cpu'
    """
    if device not in ("cpu", "gpu", "auto"):
        hint = ": write 'gpu'" if str(device).startswith("cuda") else ""
        raise ValueError(f"device must be one of cpu, gpu, auto, got {device!r}{hint}")
    if device == "cpu":
        return device
    try:
        _gpu()
    except DeviceError as error:
        if device == "gpu":
            raise
        # Python shows a warning once for each line, and this is always the same line.
        warnings.warn(f"device='auto' is the CPU: {error}", RuntimeWarning, stacklevel=1)
        return "cpu"
    return "gpu"


def asarray(name: str, values: Any) -> Array:
    """Return anything that is an array, or can become one, as an array of NumPy's, or of CuPy's if it is on a GPU."""
    if on_gpu(values):
        with suppress(DeviceError):  # without CuPy, the message is that NumPy cannot read the array
            return checks.array(name, values, _gpu().asarray)
    return checks.array(name, values)


def to(array: Any, device: str, name: str = "array") -> Array:
    """Return an array on a device: the array itself if it is there already, and a copy otherwise.

    Parameters
    ----------
    array : array_like
        Of NumPy, of CuPy, or of another library that NumPy or CuPy can read.
    device : {"cpu", "gpu", "auto"}
    name : str, optional
        What messages call the array.

    Raises
    ------
    ValueError
        If no array can be made of it, or if it is a masked array with masked entries.
    DeviceError
        If there is no GPU that works, or not enough memory on it.

    Examples
    --------
    >>> import numnet as nn
    >>> nn.backend.to([1.0, 2.0], "cpu")
    array([1., 2.])
    """
    device, array = choose(device), asarray(name, array)
    if device == "cpu":
        return _gpu().host(array) if on_gpu(array) else array  # type: ignore[no-any-return]
    return DEVICES["gpu"].place(array)


@checks.quiet
def assign(array: Any, values: Any, name: str = "values") -> None:
    """Copy values, from wherever they are, into an array."""
    found = to(asarray(name, values).astype(array.dtype, copy=False), device_of(array))
    try:
        array[...] = found
    except ValueError:
        turned = ": PyTorch's weights are (outputs, inputs), so give np.transpose(w)" * (
            found.shape == array.shape[::-1]
        )
        raise ValueError(f"{name} must have shape {array.shape}, got {found.shape}{turned}") from None


@checks.quiet
def matmul(a: npt.ArrayLike, b: npt.ArrayLike, out: Array | None = None) -> Array:
    """Return the matrix product, on the GPU if the operands are there.

    Parameters
    ----------
    a, b : array_like
        Both on the CPU, or both on the GPU.
    out : ndarray, optional
        As for `numpy.matmul`.

    Raises
    ------
    DeviceError
        If one operand is on the GPU and the other is not.

    See Also
    --------
    offload : products of large arrays on the CPU can go to the GPU as well.

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> nn.backend.matmul(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    array([[11.]])
    """
    a, b = asarray("a", a), asarray("b", b)
    if on_gpu(a) != on_gpu(b):
        raise DeviceError(
            f"a product of an array on the {device_of(a).upper()} and one on the {device_of(b).upper()}: move one with "
            "nn.backend.to(array, 'cpu') or 'gpu', and a whole network with net.to"
        )
    return _product(a, b, out)


def offload(minimum: float | None = 1e9) -> None:
    """Let `matmul` send products of arrays on the CPU to the GPU and bring the result back, if they are large.

    The products of networks on the CPU go the same way. Without this call no product is sent.

    Parameters
    ----------
    minimum : float or None
        Multiplications, that is rows times inner length times columns, from which a product goes to the GPU. The
        default is an estimate; ``python benchmarks/gpu.py --crossover`` finds the number for a machine. None: send no
        product any more.

    Raises
    ------
    DeviceError
        If there is no GPU that works.

    Examples
    --------
    >>> import numnet as nn
    >>> nn.backend.offload(1e8)  # doctest: +SKIP
    >>> nn.backend.offload(None)
    """
    global _minimum
    if minimum is not None:
        if not minimum >= 0:
            raise ValueError(f"offload: minimum must be a number of at least 0, or None, got {minimum!r}")
        _gpu()
    _minimum = minimum
    _choose_products()


def record(on: bool = True) -> None:
    """Let training on a GPU repeat each block of batches as one recorded CUDA graph. It is off by default.

    A recorded block needs no Python between its steps. Small networks trained 7 times as fast so on an NVIDIA H200, the
    only GPU that recorded steps have run on so far. So compare the results with those without it first (docs/gpu.md).

    Parameters
    ----------
    on : bool

    Raises
    ------
    DeviceError
        If there is no GPU that works.

    Examples
    --------
    >>> import numnet as nn
    >>> nn.backend.record()  # doctest: +SKIP
    """
    from . import gpu

    if on:
        _gpu()
    gpu.recording = bool(on)
    _choose_products()


def _choose_products() -> None:
    global product, outer
    from . import gpu

    asked = gpu.recording or _minimum is not None
    product, outer = (_product, _product) if asked else (np.matmul, np.dot)


def _product(a: Array, b: Array, out: Array | None = None) -> Array:
    if on_gpu(a):
        return _gpu().product(a, b, out)  # type: ignore[no-any-return]
    matrices = a.ndim == b.ndim == 2 and a.dtype.char in "fd" and b.dtype.char in "fd"
    if _minimum is None or not matrices or a.shape[0] * a.shape[1] * b.shape[1] < _minimum:
        return np.matmul(a, b, out=out)
    with DEVICES["gpu"].quiet():
        result = to(np.matmul(to(a, "gpu"), to(b, "gpu")), "cpu")
    if out is None:
        return result
    np.copyto(out, result)
    return out


def _gpu() -> Any:
    """Return gpu.py, with its device among `DEVICES`; DeviceError if no GPU works."""
    from . import gpu

    gpu.tried()
    if "gpu" not in DEVICES:
        functions = {name: getattr(gpu, name) for name in ("place", "gather", "repeated", "quiet")}
        block = 1 << 23  # 32 MB of float32, as a large GPU's cache holds
        DEVICES["gpu"] = Device("gpu", asarray=asarray, narrow="C", block=block, **functions)
    return gpu
