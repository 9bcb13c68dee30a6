"""A stand-in for CuPy on machines without a GPU: arrays over NumPy's that are as strict, and count what crosses.

As CuPy's (14.2), they refuse to meet NumPy's arrays or to become them unasked, know no `where=` and no reduction by a
method of a ufunc but `add` and `multiply`, and take functions only from a list. `transfers` has the bytes of each
journey between host and device. While a stream is recorded nothing is computed and nothing may come to the host;
launching the graph computes what was noted down, in the same memory.
"""

import contextlib
import numbers
import types
from dataclasses import dataclass, field

import numpy as np

FUNCTIONS = [
    *("all", "any", "argmax", "argwhere", "array_equal", "clip", "concatenate", "copyto", "count_nonzero", "dot"),
    *("empty", "empty_like", "eye", "flatnonzero", "full", "full_like", "isfinite", "max", "mean", "min", "ones"),
    *("ones_like", "ravel", "reshape", "shape", "size", "stack", "sum", "where", "zeros", "zeros_like"),
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


class Recording(list):
    """What a stream that is recorded has noted down; none if it is None."""

    current = None


def _done(compute, out=None):
    """Compute into `out` or new memory, or note that for later; return the array."""
    if out is None:
        with np.errstate(all="ignore" if Recording.current is not None else None):
            out = ndarray(np.array(compute()))  # when recording, for the shape
        if Recording.current is None:
            return out
    if Recording.current is None:
        np.copyto(out._array, compute(), casting="same_kind")
    else:
        Recording.current.append(lambda: np.copyto(out._array, compute(), casting="same_kind"))
    return out


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801
    __array_priority__ = 100
    __cuda_array_interface__ = {"version": 3}

    def __init__(self, array, base=None):
        assert type(array) is np.ndarray
        if array.nbytes > transfers.limit:
            raise OutOfMemoryError(f"Out of memory allocating {array.nbytes:,} bytes.")
        self._array, self.base = array, base

    # What NumPy's arrays have, too.
    dtype = property(lambda self: self._array.dtype)
    shape = property(lambda self: self._array.shape)
    size = property(lambda self: self._array.size)
    ndim = property(lambda self: self._array.ndim)
    nbytes = property(lambda self: self._array.nbytes)
    flags = property(lambda self: self._array.flags)
    T = property(lambda self: self._view(self._array.T))

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
            return _done(lambda: self._array[tuple(map(_host, keys))])
        return self._view(self._array[keys if Ellipsis in keys else (*keys, ...)])  # a view also of a single number

    def __setitem__(self, index, value):
        if isinstance(value, np.ndarray) and value.shape:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        target = self[index]
        _done(lambda: np.broadcast_to(_host(value), target.shape).astype(self.dtype), target)

    def reshape(self, *shape, order="C"):
        part = self._array.reshape(*shape, order=order)
        assert np.shares_memory(part, self._array) or not part.size
        return self._view(part)

    def ravel(self):
        return self.reshape(-1) if self.flags.c_contiguous else _done(lambda: self._array.ravel())

    def astype(self, dtype, copy=True):
        return self if not copy and self.dtype == dtype else _done(lambda: self._array.astype(dtype))

    def copy(self):
        return _done(self._array.copy)

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    def fill(self, value):
        self[...] = value

    def max(self, axis=None, out=None, keepdims=False):
        return _done(lambda: self._array.max(axis, keepdims=keepdims), out)

    def min(self, axis=None, out=None, keepdims=False):
        return _done(lambda: self._array.min(axis, keepdims=keepdims), out)

    def sum(self, axis=None, dtype=None, out=None, keepdims=False):
        return _done(lambda: self._array.sum(axis, dtype, keepdims=keepdims), out)

    def all(self):
        return _done(lambda: self._array.all())

    def any(self):
        return _done(lambda: self._array.any())

    # The way to the host, which is what takes time.
    def get(self):
        assert Recording.current is None, "a recorded stream cannot wait for the host"
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
        if "where" in options:
            raise TypeError("Wrong arguments: where")
        if method not in ("__call__", "reduce") or (method == "reduce" and ufunc not in (np.add, np.multiply)):
            raise NotImplementedError(f"{ufunc.__name__}.{method} is not supported yet")
        if ufunc is np.matmul:
            transfers.products += 1
            assert not out or out[0].flags.c_contiguous, "it would be made in other memory, and copied"
        return _done(lambda: getattr(ufunc, method)(*map(_host, inputs), **options), *out)

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
            _done(lambda: _host(source), target)
            return None
        if name in ("shape", "size"):
            return getattr(arguments[0], name)
        out = options.pop("out", None)
        return _done(lambda: function(*_host(arguments), **options), out)


def _host(value):
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, (tuple, list)):
        return type(value)(_host(part) for part in value)
    if isinstance(value, np.ndarray) and value.shape:
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def asarray(array):
    if isinstance(array, ndarray):
        return array
    assert Recording.current is None, "a recorded stream cannot wait for the host"
    array = np.array(array, dtype=np.asarray(array).dtype.newbyteorder("="), order="C")
    transfers.to_device.append(array.nbytes)
    return ndarray(array)


def asnumpy(array):
    return array.get()


class Stream(contextlib.nullcontext):
    def __init__(self, non_blocking=False):
        super().__init__()

    def begin_capture(self):
        Recording.current = Recording()

    def end_capture(self):
        graph, Recording.current = Graph(Recording.current), None
        return graph

    def record(self):
        return "event"

    def wait_event(self, event):
        assert event == "event"


class Graph:
    def __init__(self, steps):
        self.steps = steps

    def launch(self):
        transfers.launches += 1
        for step in self.steps:
            step()


class Blas:
    """In place of cuBLAS called directly: the products of this module can be recorded."""

    def __init__(self, gpu, stream):
        pass

    def takes(self, a, b, out):
        return False


cuda = types.SimpleNamespace(
    Stream=Stream,
    MemoryPool=lambda: types.SimpleNamespace(malloc=None),
    using_allocator=lambda malloc: contextlib.nullcontext(),
    get_current_stream=Stream,
)
