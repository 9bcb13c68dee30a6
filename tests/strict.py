"""A stand-in for CuPy on machines without a GPU: arrays over NumPy's that are as strict, and count what crosses.

As CuPy's (14.2), they refuse to meet NumPy's arrays or to become them unasked, know no `where=` and no reduction by a
method of a ufunc but `add` and `multiply`, and take functions and ufuncs only from lists. `transfers` has the bytes of
each journey between host and device.

While a stream is recorded, what is called in its context is not computed, nothing may come to the host, and products
are refused. A launch of the graph computes what was noted down, in the same memory. If somebody has given a part of
that memory back meanwhile, the launch fails, as it may on a GPU.
"""

import contextlib
import functools
import numbers
import threading
import types
import weakref
from dataclasses import dataclass, field

import numpy as np

FUNCTIONS = [
    *("all", "any", "argmax", "argwhere", "array_equal", "broadcast_to", "clip", "concatenate", "copyto"),
    *("count_nonzero", "dot", "empty", "empty_like", "flatnonzero", "full", "full_like", "isfinite", "max", "mean"),
    *("min", "ones", "ones_like", "ravel", "reshape", "shape", "size", "stack", "sum", "unique", "where", "zeros"),
    *("zeros_like",),
]
UFUNCS = [
    *("absolute", "add", "divide", "equal", "exp", "greater", "greater_equal", "invert", "isfinite", "less"),
    *("less_equal", "log", "log1p", "matmul", "maximum", "minimum", "multiply", "negative", "power", "rint", "sign"),
    *("sqrt", "square", "subtract", "tanh"),
]


class OutOfMemoryError(MemoryError):
    """As CuPy's own."""


@dataclass
class Transfers:
    to_device: list = field(default_factory=list)
    to_host: list = field(default_factory=list)
    limit: float = float("inf")  # bytes that one array may have
    products: int = 0
    launches: int = 0

    def clear(self):
        self.__init__()


transfers = Transfers()


class Memory:
    """Some bytes, which are given back when nobody holds them any more."""

    def __init__(self, size):
        if size > transfers.limit:
            raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes.")


class Now(threading.local):
    """What each thread has of its own: the stream that it works on, and where its memory comes from."""

    stream = None
    malloc = Memory

    @property
    def graph(self):
        """The graph that is being recorded, or None."""
        return self.stream and self.stream.graph


now = Now()


def _done(compute, out=None):
    """Compute into `out` or new memory, or note that for later; return the array."""
    if out is None:
        with np.errstate(all="ignore" if now.graph else None):
            out = ndarray(np.array(compute()))  # when recording, for the shape
        if not now.graph:
            return out
    step = functools.partial(_write, _host(out), compute)
    if now.graph:
        now.graph.steps.append(step)
    else:
        step()
    return out


def _write(array, compute):
    np.copyto(array, compute(), casting="same_kind")


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801
    __array_priority__ = 100
    __cuda_array_interface__ = {"version": 3}

    def __init__(self, array, base=None):
        assert type(array) is np.ndarray
        self.memory = now.malloc(array.nbytes) if base is None else base.memory
        self._array, self.base = array, base

    # What NumPy's arrays have, too.
    dtype = property(lambda self: self._array.dtype)
    shape = property(lambda self: self._array.shape)
    size = property(lambda self: self._array.size)
    ndim = property(lambda self: self._array.ndim)
    nbytes = property(lambda self: self._array.nbytes)
    T = property(lambda self: self._view(self._array.T))
    real = property(lambda self: self._view(self._array.real))

    @property
    def flags(self):
        names = "c_contiguous", "f_contiguous", "owndata", "fnc", "forc"
        return types.SimpleNamespace(**{name: getattr(self._array.flags, name) for name in names})

    def _view(self, array):
        return ndarray(array, self if self.base is None else self.base)

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        keys = index if isinstance(index, tuple) else (index,)
        if any(isinstance(key, np.ndarray) for key in keys):
            raise TypeError("an index that would be sent to the device at each use")
        if any(isinstance(key, ndarray) for key in keys):
            array, keys = _host(self), tuple(map(_host, keys))
            return _done(lambda: array[keys])
        return self._view(self._array[keys if Ellipsis in keys else (*keys, ...)])  # a view also of a single number

    def __setitem__(self, index, value):
        if isinstance(value, np.ndarray) and value.shape:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        target, value = self[index], _host(value)
        assert target.base is not None, "it would be written to a copy"
        _done(lambda: np.broadcast_to(value, target.shape).astype(target.dtype), target)

    def reshape(self, *shape, order="C"):
        part = self._array.reshape(*shape, order=order)
        assert np.shares_memory(part, self._array) or not part.size
        return self._view(part)

    def ravel(self, order="C"):
        if order == "K" and self.flags.f_contiguous:
            return self.T.reshape(-1)
        return self.reshape(-1) if self.flags.c_contiguous else _done(_host(self).ravel)

    def astype(self, dtype, copy=True):
        array = _host(self)
        return self if not copy and self.dtype == dtype else _done(lambda: array.astype(dtype))

    def copy(self):
        return _done(_host(self).copy)

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    def fill(self, value):
        self[...] = value

    def max(self, axis=None, out=None, keepdims=False):
        array = _host(self)
        return _done(lambda: array.max(axis, keepdims=keepdims), out)

    def min(self, axis=None, out=None, keepdims=False):
        array = _host(self)
        return _done(lambda: array.min(axis, keepdims=keepdims), out)

    def argmax(self, axis=None, out=None):
        array = _host(self)
        return _done(lambda: array.argmax(axis), out)

    def sum(self, axis=None, dtype=None, out=None, keepdims=False):
        array = _host(self)
        return _done(lambda: array.sum(axis, dtype, keepdims=keepdims), out)

    def mean(self, axis=None, dtype=None, out=None, keepdims=False):
        array = _host(self)
        return _done(lambda: array.mean(axis, dtype, keepdims=keepdims), out)

    def all(self):
        return _done(_host(self).all)

    def any(self):
        return _done(_host(self).any)

    # The way to the host, which is what takes time.
    def get(self):
        _no_transfer()
        transfers.to_host.append(self.nbytes)
        return self._array.copy()

    def item(self):
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __complex__(self):
        return complex(self.get())

    def __bool__(self):
        return bool(self.get())

    def __index__(self):
        return int(self.get())

    def __repr__(self):
        return repr(self.get())

    def __format__(self, spec):
        return format(self.get()[()], spec)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    # What NumPy's functions do with these arrays.
    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        for value in (*inputs, *out):
            if not isinstance(value, (ndarray, numbers.Number, np.generic)):
                raise TypeError(f"Unsupported type {type(value)}")
        if ufunc.__name__ not in UFUNCS:
            return NotImplemented
        if method not in ("__call__", "reduce") or (method == "reduce" and ufunc not in (np.add, np.multiply)):
            raise NotImplementedError(f"{ufunc.__name__}.{method} is not supported yet")
        if wrong := options.keys() - ({"casting", "dtype"} if method == "__call__" else {"axis", "dtype", "keepdims"}):
            raise TypeError(f"Wrong arguments: {', '.join(wrong)}")
        if ufunc is np.matmul:
            _product(*inputs, *out)
        inputs = tuple(map(_host, inputs))
        return _done(lambda: getattr(ufunc, method)(*inputs, **options), *out)

    def __array_function__(self, function, types, arguments, options):
        if function in (np.iscomplexobj, np.shares_memory):
            return function(*_host(arguments))
        if function.__name__ not in FUNCTIONS or function.__module__ != "numpy":
            return NotImplemented
        if any(issubclass(kind, np.ndarray) for kind in types):
            raise TypeError(f"Unsupported type {np.ndarray}")
        name = function.__name__
        if name == "copyto":
            target, source = arguments
            casting = options.pop("casting", "same_kind")
            if isinstance(source, ndarray) and not np.can_cast(source.dtype, target.dtype, casting):
                raise TypeError(f"Cannot cast {source.dtype} to {target.dtype} in {casting} casting mode")
            where = options.pop("where", True)
            assert not options, options
            assert where is True or isinstance(where, ndarray), "a mask that would be sent to the device at each use"
            source, where, before = (_host(array) for array in (source, where, target))
            _done(lambda: source if where is True else np.where(where, source, before).astype(before.dtype), target)
            return None
        if name in ("shape", "size"):
            return getattr(arguments[0], name)
        out = options.pop("out", None)
        if name == "dot":
            _product(*arguments, *([] if out is None else [out]))
            if out is not None and out.dtype != np.result_type(*(array.dtype for array in arguments)):
                raise ValueError("Not supported dtype combination.")
        arguments = _host(arguments)
        return _done(lambda: function(*arguments, **options), out)


def _product(a, b, out=None):
    """Refuse what CuPy refuses, or does by way of a copy."""
    if now.graph:
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    transfers.products += a.ndim == b.ndim == 2
    assert out is None or out.flags.c_contiguous, "it would be made in other memory, and copied"


def _no_transfer():
    if now.graph:
        raise RuntimeError("a recorded stream cannot wait for the host")


def _host(value):
    """Return NumPy's array, or several; a graph that is recorded notes that it uses the memory."""
    if isinstance(value, ndarray):
        if now.graph:
            now.graph.memory.add(weakref.ref(value.memory))
        return value._array
    if isinstance(value, (tuple, list)):
        return type(value)(_host(part) for part in value)
    if isinstance(value, np.ndarray) and value.shape:
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def asarray(array):
    if isinstance(array, ndarray):
        return array
    _no_transfer()
    array = np.array(array, dtype=np.asarray(array).dtype.newbyteorder("="), order="C")
    transfers.to_device.append(array.nbytes)
    return ndarray(array)


def asnumpy(array):
    return array.get()


class Stream:
    """What is called while a stream is a thread's own is recorded, if the stream is being recorded."""

    def __init__(self, non_blocking=False):
        assert non_blocking, "it would wait for the default stream, which a recording does not allow"
        self.graph = None

    def __enter__(self):
        self._before, now.stream = now.stream, self

    def __exit__(self, *error):
        now.stream = self._before

    def begin_capture(self):
        self.graph = Graph()

    def end_capture(self):
        graph, self.graph = self.graph, None
        return graph


class Graph:
    def __init__(self):
        self.steps, self.memory = [], set()

    def __bool__(self):
        return True

    def launch(self):
        assert not now.graph
        if not all(memory() for memory in self.memory):
            raise RuntimeError("an illegal memory access was encountered")
        transfers.launches += 1
        for step in self.steps:
            step()


class Blas:
    """In place of cuBLAS called directly: it can be recorded, and takes what the real class takes."""

    def __init__(self, stream):
        self._stream = stream

    def matmul(self, a, b, out):
        assert now.stream is self._stream, "cuBLAS works on the stream that it was told"
        assert a.ndim == b.ndim == out.ndim == 2
        assert a.dtype == b.dtype == out.dtype
        assert out.flags.c_contiguous
        assert all(array.flags.c_contiguous or array.flags.f_contiguous for array in (a, b))
        a, b = _host(a), _host(b)
        return _done(lambda: np.matmul(a, b), out)


@contextlib.contextmanager
def using_allocator(malloc):
    before, now.malloc = now.malloc, malloc
    try:
        yield
    finally:
        now.malloc = before


def get_default_memory_pool():
    return types.SimpleNamespace(malloc=Memory)


cuda = types.SimpleNamespace(Stream=Stream, using_allocator=using_allocator)
