"""A stand-in for CuPy on machines without a GPU: arrays over NumPy's that are as strict, and count what crosses.

As CuPy's (14.2), they refuse to meet NumPy's arrays or to become them unasked, know no `where=` and no reduction by a
method of a ufunc but `add` and `multiply`, and take functions only from a list. `transfers` has the bytes of each
journey between host and device.
"""

import numbers
from dataclasses import dataclass, field

import numpy as np

FUNCTIONS = """all any argmax argwhere array_equal clip concatenate copyto count_nonzero dot empty empty_like eye flatnonzero
    full full_like isfinite max mean min ones ones_like ravel reshape shape size stack sum where zeros zeros_like""".split()


class OutOfMemoryError(MemoryError):
    """As CuPy's own."""


@dataclass
class Transfers:
    to_device: list = field(default_factory=list)
    to_host: list = field(default_factory=list)
    limit: float = float("inf")  # bytes that one array may have
    products: int = 0

    def clear(self):
        self.__init__()


transfers = Transfers()


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
        part = self._array[_keys(index)]
        return self._view(part) if isinstance(part, np.ndarray) and part.base is not None else ndarray(np.asarray(part))

    def __setitem__(self, index, value):
        if isinstance(value, np.ndarray) and value.shape:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self._array[_keys(index)] = _host(value)

    def reshape(self, *shape, order="C"):
        part = self._array.reshape(*shape, order=order)
        assert np.shares_memory(part, self._array) or not part.size
        return self._view(part)

    def ravel(self):
        return ndarray(self._array.ravel())

    def astype(self, dtype, copy=True):
        return self if not copy and self.dtype == dtype else ndarray(self._array.astype(dtype))

    def copy(self):
        return ndarray(self._array.copy())

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    def fill(self, value):
        self._array.fill(value)

    def _reduced(self, name, axis=None, out=None, keepdims=False):
        result = getattr(self._array, name)(axis=axis, out=None if out is None else out._array, keepdims=keepdims)
        return ndarray(np.asarray(result)) if out is None else out

    def max(self, axis=None, out=None, keepdims=False):
        return self._reduced("max", axis, out, keepdims)

    def min(self, axis=None, out=None, keepdims=False):
        return self._reduced("min", axis, out, keepdims)

    def sum(self, axis=None, dtype=None, out=None, keepdims=False):
        assert dtype is None
        return self._reduced("sum", axis, out, keepdims)

    def all(self):
        return self._reduced("all")

    def any(self):
        return self._reduced("any")

    # The way to the host, which is what takes time.
    def get(self):
        transfers.to_host.append(self.nbytes)
        return self._array.copy()

    def item(self):
        return self.get().item()

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
        targets = {"out": tuple(_host(array) for array in out)} if out else {}
        result = getattr(ufunc, method)(*map(_host, inputs), **targets, **options)
        return out[0] if out else ndarray(np.asarray(result))

    def __array_function__(self, function, types, arguments, options):
        if function.__name__ not in FUNCTIONS or not function.__module__ == "numpy":
            return NotImplemented
        if any(issubclass(kind, np.ndarray) for kind in types):
            raise TypeError(f"Unsupported type {np.ndarray}")
        out = options.get("out")
        result = function(*_host(arguments), **{name: _host(value) for name, value in options.items()})
        if out is not None:
            return out
        if isinstance(result, tuple) and not all(isinstance(part, np.ndarray) for part in result):
            return result  # a shape
        return ndarray(np.asarray(result)) if isinstance(result, (np.ndarray, np.generic, int, bool)) else result


def _host(value):
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, (tuple, list)):
        return type(value)(_host(part) for part in value)
    if isinstance(value, np.ndarray) and value.shape:
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def _keys(index):
    """Return what NumPy's arrays are indexed with; CuPy takes NumPy's own arrays here as well, but sends them over."""
    if isinstance(index, tuple):
        return tuple(_keys(key) for key in index)
    if isinstance(index, np.ndarray):
        raise TypeError("an index that would be sent to the device at each use")
    return _host(index)


def asarray(array):
    if isinstance(array, ndarray):
        return array
    array = np.array(array, order="C")
    transfers.to_device.append(array.nbytes)
    return ndarray(array)


def asnumpy(array):
    return array.get()
