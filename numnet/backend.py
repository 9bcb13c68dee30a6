"""NumPy or CuPy: moving arrays between CPU and GPU, and the little that differs there. The only file that names CuPy.

Everywhere else the code calls NumPy's functions, and NumPy hands those on a GPU's arrays to CuPy by itself (NEP 13 and
NEP 18). So layers and costs are written once. What that leaves over is here: which device there is, matrix products,
kernels that do several steps at once, and the recording of a stretch of training as one CUDA graph.
"""

from __future__ import annotations

import copy
import ctypes
import functools
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import local
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])

DEVICES = ("cpu", "gpu", "auto")
_INSTALL = (
    "pip install 'numnet[cuda12]' or 'numnet[cuda13]', as the CUDA version of your driver is (nvidia-smi shows it)"
)
_TOO_WIDE = 64  # columns from which one thread for a row is too slow, and NumPy's road better
_WORKSPACE = 32 << 20  # bytes, as cuBLAS advises for Hopper: docs.nvidia.com/cuda/cublas, cublasSetWorkspace

_offload: float | None = None
_thread = local()  # each thread has a stream of its own to record on, with its cuBLAS, and whether it is at it


class DeviceError(ValueError):
    """There is no GPU that works, or arrays are not on the device where they are needed.

    Examples
    --------
    >>> import numnet as nn
    >>> try:
    ...     device = nn.backend.choose("gpu")
    ... except nn.DeviceError:  # its message says what is missing
    ...     device = "cpu"
    """


def on_gpu(array: object) -> bool:
    """Return whether an array is on a GPU."""
    return not isinstance(array, np.ndarray) and hasattr(type(array), "__cuda_array_interface__")


def device_of(array: object) -> str:
    """Return "gpu" for an array on a GPU, and "cpu" for anything else."""
    return "gpu" if on_gpu(array) else "cpu"


def choose(device: str) -> str:
    """Return "cpu" or "gpu" for a device as a user gives it.

    Parameters
    ----------
    device : {"cpu", "gpu", "auto"}
        "auto" is the GPU if there is one that works, and else, with a warning that says why, the CPU.

    Raises
    ------
    DeviceError
        For "gpu", if there is none that works; it says what is missing and what to do.

    Examples
    --------
    >>> import numnet as nn
    >>> nn.backend.choose("cpu")
    'cpu'
    """
    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {device!r}")
    if device == "cpu":
        return device
    try:
        _gpu()
    except DeviceError as error:
        if device == "gpu":
            raise
        warnings.warn(f"device='auto' is the CPU: {error}", RuntimeWarning, stacklevel=1)  # once, for one place
        return "cpu"
    return "gpu"


def to(array: Any, device: str) -> Array:
    """Return an array on a device: itself if it is there, and else a copy.

    Parameters
    ----------
    array : array_like
    device : {"cpu", "gpu", "auto"}

    Raises
    ------
    DeviceError
        If there is no GPU that works, or not enough memory on it.

    Examples
    --------
    >>> import numnet as nn
    >>> nn.backend.to([1.0, 2.0], "cpu")
    array([1., 2.])
    """
    if choose(device) == "cpu":
        return _gpu().asnumpy(_gpu().asarray(array)) if on_gpu(array) else np.asarray(array)
    with advice():
        return _gpu().asarray(array if on_gpu(array) else np.asarray(array))  # type: ignore[no-any-return]


def asarray(array: Any) -> Array:
    """Return an array on the device where it is, of whatever library, and anything else as NumPy's."""
    return _gpu().asarray(array) if on_gpu(array) else np.asarray(array)


def assign(array: Any, values: Any) -> None:
    """Copy values, from wherever they are, into an array."""
    if on_gpu(array):
        array[...] = values if on_gpu(values) else to(np.asarray(values, array.dtype), "gpu")
    else:
        array[...] = to(values, "cpu")


def check_together(name: str, array: object, device: str) -> None:
    """Raise DeviceError where an array is on a GPU and the network is not."""
    if device == "cpu" and on_gpu(array):
        raise DeviceError(
            f"{name} are on the GPU, but the network is on the CPU: move it there with net.to('gpu'), or give "
            f"{name}.get()"
        )


def numbers(values: Sequence[Any]) -> list[float]:
    """Return scalars as Python's numbers: those that a GPU still holds come over together."""
    if values and on_gpu(values[0]):
        values = to(np.stack(values), "cpu").tolist()
    return [float(value) for value in values]


@contextmanager
def advice() -> Iterator[None]:
    """Say what to do where a GPU has no memory left."""
    try:
        yield
    except MemoryError as error:
        if type(error).__name__ != "OutOfMemoryError":  # CuPy's, or NumPy's own of the same name, which it has not
            raise
        raise DeviceError(
            f"the GPU has too little memory: {error} Free some of it, train with a smaller batch_size or in float32, "
            "or stay on the CPU with device='cpu', where a dataset may also be memory-mapped"
        ) from error


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """Return the matrix product, on the GPU if the operands are there.

    Parameters
    ----------
    a, b : ndarray
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
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if _offload is None or not _pays(a, b):
            return np.matmul(a, b, out=out)
        with advice():
            product = to(np.matmul(to(a, "gpu"), to(b, "gpu")), "cpu")
        if out is None:
            return product
        np.copyto(out, product)
        return out
    if on_gpu(a) != on_gpu(b):
        raise DeviceError(
            f"a product of an array on the {device_of(a).upper()} and one on the {device_of(b).upper()}: move one with "
            "nn.backend.to(array, 'cpu') or 'gpu', and a whole network with net.to"
        )
    if out is not None and getattr(_thread, "aside", False) and _thread.blas.takes(a, b, out):
        return _thread.blas.matmul(a, b, out)
    with advice():
        return np.matmul(a, b, out=out)


def _pays(a: Array, b: Array) -> bool:
    """Return whether a product of arrays on the CPU is large enough to go to the GPU."""
    small = a.ndim != 2 or b.ndim != 2 or a.shape[0] * a.shape[1] * b.shape[1] < (_offload or 0)
    return not small and a.dtype.char in "fd" and b.dtype.char in "fd"


def offload(minimum: float | None = 1e9) -> None:
    """Let `matmul` send products of arrays on the CPU to the GPU and bring the result back, if they are large.

    It acts on `matmul`, and so on the products of networks on the CPU. Without this call none is sent.

    Parameters
    ----------
    minimum : float or None
        Multiplications, that is rows times inner length times columns, from which a product goes to the GPU. The
        default is an estimate; ``python benchmarks/gpu.py --crossover`` finds the number for a machine. None: no more.

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
    global _offload
    if minimum is not None:
        if not minimum >= 0:
            raise ValueError(f"offload: minimum must be a number of at least 0, or None, got {minimum!r}")
        _gpu()
    _offload = minimum


KERNELS: dict[str, tuple[str, str, str]] = {}


def fused(inputs: str, output: str, operation: str) -> Callable[[F], F]:
    """Give an elementwise function of arrays one kernel on a GPU, where each of NumPy's calls in it would be another.

    The function itself is what runs on the CPU, for numbers that are not float32 or float64, and as the reference that
    tests compare the kernel with. Its parameters are `inputs`, arrays or numbers, and `out`.

    Parameters
    ----------
    inputs, output, operation : str
        As for ``cupy.ElementwiseKernel``: declarations of one type T, and C++.
    """

    def decorate(function: F) -> F:
        name = function.__name__.strip("_")
        KERNELS[name] = inputs, output, operation

        @functools.wraps(function)
        def call(*values: Any, out: Any = None) -> Any:
            if isinstance(values[0], np.ndarray) or not _fuses(*values):
                return function(*values, out=out)
            kernel = _kernel(name)
            return kernel(*values) if out is None else kernel(*values, out)

        return call  # type: ignore[return-value]

    return decorate


KERNELS["gather"] = (
    "raw S source, raw I rows, int64 width, T scale",
    "T part",
    "part = (T)source[rows[i / width] * width + i % width] * scale",
)


def gather(source: Any, rows: Any, scale: float, out: Any) -> Any:
    """Write ``source[rows] * scale`` to `out`: arrays of two axes, all on the GPU and in C order."""
    if _fuses(out):
        return _kernel("gather")(source, rows, source.shape[1], scale, out)
    return np.multiply(source[rows], out.dtype.type(scale), out=out)


KERNELS["softmax_error"] = (
    "raw T z, raw T t, int64 width, T scale",
    "raw T y, raw T error",
    """
    long long start = i * width, stop = start + width;
    T maximum = z[start], total = 0;
    for (long long j = start; j < stop; j++) maximum = z[j] > maximum ? z[j] : maximum;
    for (long long j = start; j < stop; j++) total += y[j] = exp(z[j] - maximum);
    for (long long j = start; j < stop; j++) { y[j] /= total; error[j] = (y[j] - t[j]) * scale; }
    """,
)


def softmax_error(z: Any, t: Any, y: Any, error: Any) -> bool:
    """Write softmax(z) and (softmax(z) - t) / n, if that can be done in one kernel; return whether it was."""
    if not isinstance(z, np.ndarray) and z.shape[1] <= _TOO_WIDE and _fuses(z, t, y, error):
        _kernel("softmax_error")(z, t, z.shape[1], 1 / len(z), y, error, size=len(z))
        return True
    return False


def repeated(function: Callable[[Any], tuple[Any, ...]], device: str) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that does the same, and on a GPU does it faster when it is called again and again.

    Parameters
    ----------
    function : callable
        Of one array; it returns arrays. Called again with an array of the same length, it must do the same with what
        is in arrays, since then none of its Python code runs.
    device : {"cpu", "gpu"}
        Where that array is.
    """
    return _Repeated(function) if device == "gpu" else function


class _Repeated:
    """A function that is recorded as a CUDA graph the second time it meets an array of some length.

    The first time compiles what has to be compiled. All memory that is taken while recording is kept with the graph,
    which writes there whenever it is launched.
    """

    def __init__(self, function: Callable[[Any], tuple[Any, ...]]) -> None:
        self._function, self._met, self._graphs = function, set[int](), dict[int, Any]()
        self._records = True
        if not hasattr(_thread, "blas"):
            try:
                _thread.stream = _gpu().cuda.Stream(non_blocking=True)
                _thread.blas = _Blas(_gpu(), _thread.stream)
            except Exception as error:
                self._give_up(error)

    def __call__(self, values: Any) -> tuple[Any, ...]:
        n = len(values)
        if not self._records:
            return self._function(values)
        if n not in self._met:
            self._met.add(n)
            argument = values.copy()
            _thread.stream.wait_event(_gpu().cuda.get_current_stream().record())
            results = self._call_aside(argument)
            _gpu().cuda.get_current_stream().wait_event(_thread.stream.record())
            return tuple(copy.copy(result) for result in results)
        if n not in self._graphs:
            argument = values.copy()
            try:
                self._graphs[n] = *self._record(argument), argument
            except Exception as error:  # nothing has been done yet, only recorded
                self._give_up(error)
                return self._function(values)
        graph, _, results, argument = self._graphs[n]
        argument[...] = values
        graph.launch()
        return tuple(copy.copy(result) for result in results)

    def _call_aside(self, argument: Any) -> tuple[Any, ...]:
        """Return the function's results, computed, or to be computed, on the thread's own stream."""
        _thread.aside = True
        try:
            with _thread.stream:
                return self._function(argument)
        finally:
            _thread.aside = False

    def _record(self, argument: Any) -> tuple[Any, list[Any], tuple[Any, ...]]:
        """Return the graph that computes the function's results, the memory that it uses, and the results."""
        gpu, kept = _gpu(), list[Any]()

        def allocate(size: int) -> Any:
            kept.append(gpu.get_default_memory_pool().malloc(size))
            return kept[-1]

        _thread.stream.begin_capture()
        try:
            with gpu.cuda.using_allocator(allocate):
                results = self._call_aside(argument)
        finally:
            graph = _thread.stream.end_capture()
        return graph, kept, results

    def _give_up(self, error: Exception) -> None:
        self._records = False
        warnings.warn(
            "the training step could not be recorded as a CUDA graph and goes on without, which is slower for small "
            f"networks ({type(error).__name__}: {error})",
            RuntimeWarning,
            stacklevel=2,
        )


class _Blas:
    """cuBLAS called directly, since CuPy, as of 14.2, refuses products on a stream that is being recorded.

    https://github.com/cupy/cupy/issues/6290. A thread's is never given back: that would wait for the whole GPU, which
    another thread's recording does not allow.
    """

    def __init__(self, gpu: Any, stream: Any) -> None:
        self._library = ctypes.CDLL(f"libcublas.so.{gpu.cuda.runtime.runtimeGetVersion() // 1000}")
        self._handle = ctypes.c_void_p()
        self._workspace = gpu.empty(_WORKSPACE, np.uint8)
        self._call("cublasCreate_v2", ctypes.byref(self._handle))
        self._call("cublasSetStream_v2", self._handle, ctypes.c_void_p(stream.ptr))
        workspace = ctypes.c_void_p(self._workspace.data.ptr)
        self._call("cublasSetWorkspace_v2", self._handle, workspace, ctypes.c_size_t(_WORKSPACE))
        if os.environ.get("CUPY_TF32", "0") != "0":  # which CuPy's own products obey
            self._call("cublasSetMathMode", self._handle, ctypes.c_int(3))  # CUBLAS_TF32_TENSOR_OP_MATH

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise RuntimeError(f"{name} failed with status {status}")

    @staticmethod
    def takes(a: Any, b: Any, out: Any) -> bool:
        """Return whether `matmul` can do this product."""
        contiguous = all(array.flags.c_contiguous or array.flags.f_contiguous for array in (a, b))
        kinds = a.dtype == b.dtype == out.dtype and out.dtype.char in "fd"
        return a.ndim == b.ndim == out.ndim == 2 and out.flags.c_contiguous and contiguous and kinds

    def matmul(self, a: Any, b: Any, out: Any) -> Any:
        number = ctypes.c_float if out.dtype.char == "f" else ctypes.c_double
        kinds, sizes, a_lead, b_lead, out_lead = gemm_arguments(a, b)
        pointers = [ctypes.c_void_p(array.data.ptr) for array in (a, b, out)]
        self._call(
            "cublasSgemm_v2" if out.dtype.char == "f" else "cublasDgemm_v2",
            self._handle,
            *map(ctypes.c_int, (*kinds, *sizes)),
            ctypes.byref(number(1)),
            *(pointers[1], ctypes.c_int(b_lead), pointers[0], ctypes.c_int(a_lead)),
            ctypes.byref(number(0)),
            *(pointers[2], ctypes.c_int(out_lead)),
        )
        return out


def gemm_arguments(a: Any, b: Any) -> tuple[tuple[bool, bool], tuple[int, int, int], int, int, int]:
    """Return what BLAS, which counts by columns, has to be told for the product of matrices stored by rows.

    Stored by rows, a b is stored by columns (a b)^T = b^T a^T: so b comes first, a second, and a matrix that is in
    C order is not to be transposed.

    Returns
    -------
    transposed : (bool, bool)
        Of b and a.
    sizes : (int, int, int)
        Columns of b, rows of a, and the length between them.
    a_lead, b_lead, out_lead : int
        Leading dimensions.
    """
    (m, k), n = a.shape, b.shape[1]
    a_turned, b_turned = not a.flags.c_contiguous, not b.flags.c_contiguous
    return (b_turned, a_turned), (n, m, k), m if a_turned else k, k if b_turned else n, n


def _fuses(*values: Any) -> bool:
    """Return whether there are kernels for these arrays: all float32 or all float64, in C order."""
    arrays = [value for value in values if on_gpu(value)]
    alike = {array.dtype.char for array in arrays} in ({"f"}, {"d"}, set())
    return hasattr(_gpu(), "ElementwiseKernel") and alike and all(array.flags.c_contiguous for array in arrays)


@functools.cache
def _kernel(name: str) -> Any:
    inputs, outputs, operation = KERNELS[name]
    return _gpu().ElementwiseKernel(inputs, outputs, operation, f"numnet_{name}")


@functools.cache
def _gpu() -> Any:
    """Return CuPy, tried out; DeviceError if it, or the GPU, does not work."""
    try:
        if importlib.util.find_spec("cupy") is None:
            raise DeviceError(f"a GPU needs CuPy, which is not installed: {_INSTALL}")
        import cupy
    except DeviceError:
        raise
    except Exception as error:
        raise DeviceError(f"CuPy is installed but cannot be imported ({error}): install it anew, {_INSTALL}") from error
    try:
        runtime = cupy.cuda.runtime
        driver, built = runtime.driverGetVersion(), runtime.runtimeGetVersion()
        if driver == 0:
            raise DeviceError(
                "CuPy is installed, but there is no NVIDIA driver: install one from https://www.nvidia.com/drivers "
                "(nvidia-smi shows whether it works), or use device='cpu'"
            )
        if driver // 1000 < built // 1000:
            raise DeviceError(
                f"the NVIDIA driver is for CUDA {_version(driver)} and CuPy for CUDA {_version(built)}: update the "
                f"driver, or install the CuPy that fits it, {_INSTALL}"
            )
        if runtime.getDeviceCount() == 0:
            raise DeviceError("the NVIDIA driver finds no GPU: check CUDA_VISIBLE_DEVICES, or use device='cpu'")
        ones = cupy.ones((64, 64), cupy.float32)
        float(cupy.exp(ones @ ones)[0, 0])  # finds the compiler and cuBLAS, or not
    except DeviceError:
        raise
    except Exception as error:
        if "NoDevice" in str(error):
            raise DeviceError(
                "the NVIDIA driver finds no GPU: check CUDA_VISIBLE_DEVICES and nvidia-smi, or use device='cpu'"
            ) from error
        raise DeviceError(
            f"CuPy cannot use the GPU ({type(error).__name__}: {error}): the CUDA libraries that it needs come with "
            f"{_INSTALL}"
        ) from error
    return cupy


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
