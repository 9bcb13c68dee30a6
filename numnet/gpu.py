"""CuPy: what differs on a GPU. The only file that names it, imported only if somebody asks for a GPU.

`Device` in backend.py says what each function is for. The second half is the recorded step: a block of batches as one
CUDA graph, in kernels of its own. It is off unless `numnet.backend.record` switches it on.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import operator
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

import numpy as np

from .checks import DeviceError

_INSTALL = (
    "pip install 'numnet[cuda12]' or 'numnet[cuda13]', as the CUDA version of your driver is (nvidia-smi shows it)"
)
_WORKSPACE = 32 << 20  # bytes, as cuBLAS advises for Hopper: docs.nvidia.com/cuda/cublas, cublasSetWorkspace
recording = False  # whether `numnet.backend.record` has switched the recorded step on
_thread = local()  # each thread has a stream of its own to record on, with its cuBLAS


@functools.cache
def tried() -> Any:
    """Return CuPy, tried out; DeviceError if it, or the GPU, does not work."""
    if importlib.util.find_spec("cupy") is None:
        raise DeviceError(f"a GPU needs CuPy, which is not installed: {_INSTALL}")
    try:
        import cupy
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
                f"the NVIDIA driver is for CUDA {driver // 1000}.{driver % 1000 // 10} and CuPy for CUDA "
                f"{built // 1000}.{built % 1000 // 10}: update the driver, or install the CuPy that fits it, {_INSTALL}"
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


def place(array: Any) -> Any:
    """Return an array on the GPU."""
    with quiet():
        return tried().asarray(array)


def host(array: Any) -> Any:
    """Return an array that is on the GPU as an array of NumPy's."""
    return tried().asnumpy(array)


def asarray(array: Any) -> Any:
    """Return an array that is on a GPU as an array of CuPy's."""
    return tried().asarray(array)


def gather(array: Any, rows: Any, out: Any) -> None:
    """Write some rows of an array to `out`."""
    out[...] = array[rows]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep NumPy from warning and raising, and say what to do if the GPU has no memory left."""
    try:
        with np.errstate(all="ignore"):
            yield
    except MemoryError as error:
        if type(error).__name__ != "OutOfMemoryError":  # CuPy's; NumPy has an error of another name
            raise
        raise DeviceError(
            f"the GPU has too little memory: {error} Free some of it, train with a smaller batch_size or in float32, "
            "or stay on the CPU with device='cpu', where a dataset may also be memory-mapped"
        ) from error


# The recorded step


def repeated(train_steps: Any) -> Any:
    """Return what does the same as ``Trainer._train_steps``: recorded, if that is switched on and can be done."""
    return Recorded(train_steps) if _recordable(train_steps.__self__) else train_steps


def _recordable(trainer: Any) -> bool:
    """Return whether the steps of a trainer shall be recorded.

    Only numnet's own layers, costs and optimizer can be recorded. A class of the user's own may do something else each
    time, or look at the numbers, as clipping does. A recording would repeat what such a class did once.
    """
    parts = (trainer, trainer.net, trainer.cost, trainer.pair, trainer.optimizer, *trainer.net.layers)
    own = all(type(part).__module__.partition(".")[0] == __package__ for part in parts)
    return recording and own and trainer.optimizer.clip_norm is None


class Recorded:
    """The steps of a block of batches, recorded as a CUDA graph the second time that a block of some length comes.

    The first time compiles what has to be compiled. A recorded block keeps using the arrays and the optimizer's options
    from the time of recording. If either has changed, the block is recorded again. Inputs and targets are new for each
    block, and are copied to where the recording looks for them.
    """

    def __init__(self, train_steps: Any) -> None:
        self._train_steps, self._trainer, self._works = train_steps, train_steps.__self__, True
        self._used: list[Any] = [None] * 3
        self._options = ""
        self._graphs: dict[tuple[int, int], Any] = {}

    def __call__(self, x: Any, t: Any, batch_size: int, lr: float, weight: Any = None) -> Any:
        trainer, key = self._trainer, (len(x), batch_size)
        if not self._works or weight is not None or not _recordable(trainer):
            return self._train_steps(x, t, batch_size, lr, weight)
        used = [trainer.net.parameters, trainer.optimizer.velocity, trainer.pair]
        options = repr(trainer.optimizer.options())
        if options != self._options or any(map(operator.is_not, used, self._used)):
            self._used, self._options, self._graphs = used, options, {}
            self._rate = place(np.zeros(1, trainer.net.dtype))
        self._rate[...] = lr
        if key not in self._graphs:
            self._graphs[key] = None
            return self._train_steps(x, t, batch_size, self._rate)
        try:
            self._graphs[key] = self._graphs[key] or self._record(x, t, batch_size)
        except Exception as error:  # nothing has been done yet, only recorded
            self._give_up(error)
            return self._train_steps(x, t, batch_size, lr)
        graph, (held_x, held_t), results, _ = self._graphs[key]
        held_x[...], held_t[...] = x, t
        graph.launch()
        return results

    def _record(self, x: Any, t: Any, batch_size: int) -> tuple[Any, tuple[Any, Any], Any, list[Any]]:
        """Return the graph, the arrays that it reads and those that it returns, and all other memory that it uses."""
        if not hasattr(_thread, "blas"):
            _thread.stream = tried().cuda.Stream(non_blocking=True)
            _thread.blas = Blas(_thread.stream)
        gpu, stream, net, kept = tried(), _thread.stream, self._trainer.net, list[Any]()
        inputs = x.copy(), t.copy()

        def allocate(size: int) -> Any:
            kept.append(gpu.get_default_memory_pool().malloc(size))
            return kept[-1]

        def keep() -> None:
            kept.extend([*(dict(vars(part)) for part in (net, *net.layers)), dict(net._buffers)])

        keep()
        stream.begin_capture()
        try:
            with gpu.cuda.using_allocator(allocate), stream:
                _thread.recording = True
                results = self._train_steps(*inputs, batch_size, self._rate)
        finally:
            _thread.recording = False
            graph = stream.end_capture()
        keep()
        return graph, inputs, results, kept

    def _give_up(self, error: Exception) -> None:
        self._works = False
        warnings.warn(
            "the training step could not be recorded as a CUDA graph and goes on without, which is slower for small "
            f"networks ({type(error).__name__}: {error})",
            RuntimeWarning,
            stacklevel=2,
        )


def product(a: Any, b: Any, out: Any = None) -> Any:
    """Return a matrix product as `numpy.matmul` does, also while a stream is recorded."""
    if out is not None and getattr(_thread, "recording", False):
        return _thread.blas.matmul(a, b, out)
    with quiet():
        return np.matmul(a, b, out=out)


class Blas:
    """cuBLAS called directly, since CuPy, as of 14.2, refuses products on a stream that is being recorded.

    https://github.com/cupy/cupy/issues/6290. A thread's handle is never given back: that would wait for the whole GPU,
    which another thread's recording does not allow.
    """

    def __init__(self, stream: Any) -> None:
        gpu = tried()
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

    def matmul(self, a: Any, b: Any, out: Any) -> Any:
        """Write a b to `out`; all are matrices of one dtype, `out` in C order and the others in C or Fortran order.

        BLAS counts by columns. Matrices stored by rows are, by columns, their transposes, and (a b)^T = b^T a^T. So b
        comes first, a second, and a matrix in C order is not to be transposed.
        """
        (m, k), n, single = a.shape, b.shape[1], out.dtype.char == "f"
        number = ctypes.c_float if single else ctypes.c_double
        a_turned, b_turned = not a.flags.c_contiguous, not b.flags.c_contiguous
        pointers = [ctypes.c_void_p(array.data.ptr) for array in (a, b, out)]
        self._call(
            "cublasSgemm_v2" if single else "cublasDgemm_v2",
            self._handle,
            *map(ctypes.c_int, (b_turned, a_turned, n, m, k)),
            ctypes.byref(number(1)),
            *(pointers[1], ctypes.c_int(k if b_turned else n)),
            *(pointers[0], ctypes.c_int(m if a_turned else k)),
            ctypes.byref(number(0)),
            *(pointers[2], ctypes.c_int(n)),
        )
        return out
