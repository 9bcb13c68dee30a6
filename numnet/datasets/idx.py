"""The IDX file format, in which MNIST is published: an array of any shape and of one of six element types.

A file holds two zero bytes, a byte for the element type, a byte for the number of dimensions, the size of each
dimension as an unsigned 32-bit integer, and then the elements in C order. Every number is big-endian. The definition is
at the end of https://yann.lecun.com/exdb/mnist/.
"""

import gzip
import io
import math
import os
import reprlib
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..atomic import Kind, atomic, readable
from .diagnosis import AGAIN, File, little_endian, take, wrong_length, wrong_start

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
_CODES = {kind: code for code, kind in _TYPES.items()}
_SIX = ", ".join(f"0x{code:02x} ({np.dtype(kind)})" for code, kind in _TYPES.items())
_Mode = Literal["r", "r+", "c"]


class IdxError(ValueError):
    """A file that is not in the IDX format, a folder without such files, or an array that the format cannot hold.

    Examples
    --------
    >>> import io
    >>> import numnet as nn
    >>> try:
    ...     nn.datasets.read_idx(io.BytesIO(b"<html>Not found</html>"))
    ... except nn.datasets.IdxError as error:
    ...     print(str(error).rpartition(":")[0])
    the given file: not an IDX file but a web page (HTML or XML)
    """


def read_idx(path: str | os.PathLike[str] | IO[bytes], mmap_mode: _Mode | None = None) -> NDArray[Any]:
    """Read the array in an IDX file.

    Parameters
    ----------
    path : str, os.PathLike or binary file
        The file, plain or gzipped; its name does not matter. A ``~`` at the start of a path stands for your home. An
        open file is read from its present position to its end, and stays open. If an open file is gzipped, it must be
        seekable.
    mmap_mode : {None, "r", "r+", "c"}
        As for `numpy.load`. With a mode, the data stay in the file and are read only when they are used, so the array
        may be larger than memory. The file must then be given by its path, and must not be gzipped.

    Returns
    -------
    ndarray
        The array, with the shape and the element type that the file states. Without a `mmap_mode`, and if the array is
        empty, the array is in native byte order and writable. With a `mmap_mode`, the array is a `numpy.memmap` in the
        byte order of the file, which is big-endian.

    Raises
    ------
    IdxError
        If the file is not one whole IDX file and nothing more, or NumPy cannot hold an array of its shape.
    ValueError
        If `path` has another type, such as bytes, or cannot be read with that `mmap_mode`.
    OSError
        If the file cannot be opened or read; FileNotFoundError if there is no file, IsADirectoryError if the path is a
        folder. Also if the path is a device or a FIFO, which could go on without an end or never begin.

    Notes
    -----
    The header is not trusted: the memory that is taken is at most a small multiple of the data that the file really
    holds. As the gzip format allows, a gzipped file may have several members, and zeros may follow the members.

    If pixels come out as int8, and bright pixels below 0, the program that wrote the file had signed bytes only.
    ``array.view(np.uint8)`` gives the pixels from 0 to 255. Numbers that are meant to be below 0 stay as they are.

    Examples
    --------
    >>> import io
    >>> from numnet.datasets import read_idx
    >>> data = bytes.fromhex("0000 0b 02  00000001 00000003  0001 0002 ffff")
    >>> read_idx(io.BytesIO(data))
    array([[ 1,  2, -1]], dtype=int16)
    """
    _check_file("read", path)
    if mmap_mode is not None and (mmap_mode not in get_args(_Mode) or not isinstance(path, (str, os.PathLike))):
        raise ValueError(f"read_idx: mmap_mode={mmap_mode!r} must be None or, for a path, one of {get_args(_Mode)}")
    name = readable(path) if isinstance(path, (str, os.PathLike)) else getattr(path, "name", "the given file")
    with open(name, "rb") if isinstance(path, (str, os.PathLike)) else nullcontext(path) as file:
        start = take(file, 2)
        if start != b"\x1f\x8b":
            return _read(file, start, name, mmap_mode)
        if mmap_mode is not None:
            raise IdxError(f"{name}: it is gzipped, and only a plain file can be mapped into memory. Unpack it first.")
        file.seek(-2, os.SEEK_CUR)
        try:
            with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:  # without "rb", a GzipFile is no file to GzipFile
                return _read(unpacked, take(unpacked, 2), name)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise IdxError(f"{name}: it is gzipped, but does not unpack ({error}). {AGAIN}") from error


def write_idx(path: str | os.PathLike[str] | IO[bytes], array: ArrayLike, overwrite: bool = False) -> None:
    """Write an array as an IDX file.

    Parameters
    ----------
    path : str, os.PathLike or binary file
        Where to write. If a path ends in ``.gz``, the file is gzipped. The file gets its name only after it is whole,
        and the same array always gives the same bytes. A ``~`` at the start stands for your home. An open file receives
        the plain format and stays open.
    array : array_like
        Elements of type uint8, int8, int16, int32, float32 or float64, in any byte order and memory layout.
    overwrite : bool, default False
        Whether the file may replace a file that is no whole IDX file. The file may replace an IDX file in any case.

    Raises
    ------
    IdxError
        If the format has no code for the array's element type, or a dimension has 2**32 elements or more.
    ValueError
        If `path` has another type, such as bytes.
    FileExistsError
        If the path is a file that is no whole IDX file. Or if an array of the program is mapped from the file, also
        with `overwrite`.
    OSError
        If the file cannot be written: the path is a folder, a device or a FIFO, or ends in a slash, there is no folder
        for the file, the file is read-only, or the disk is full.

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> from numnet.datasets import write_idx
    >>> file = io.BytesIO()
    >>> write_idx(file, np.array([[1, 2, -1]], dtype=np.int16))
    >>> file.getvalue().hex(" ", -4)
    '00000b02 00000001 00000003 00010002 ffff'
    """
    _check_file("write", path)
    with checks.named("write_idx"):
        array = checks.array("array", array)
    header, data = contents(array)
    if not isinstance(path, (str, os.PathLike)):
        path.write(header)
        path.write(data)
        return
    with atomic(path, _IDX, overwrite) as file:
        packer = gzip.GzipFile("", "wb", 6, file, mtime=0) if Path(path).name.endswith(".gz") else nullcontext(file)
        with packer as packed:
            packed.write(header)
            packed.write(data)


def contents(array: NDArray[Any]) -> tuple[bytes, memoryview]:
    """Return the header and the data of the only IDX file, unpacked, that holds this array."""
    kind = array.dtype.str[1:]
    if kind not in _CODES:
        raise IdxError(f"IDX has no code for elements of type {array.dtype}; it has {_SIX}. Convert with astype first.")
    if max(array.shape, default=0) >= 1 << 32:
        raise IdxError(f"IDX holds sizes below 2**32; the array's shape is {array.shape}. Write it in parts.")
    header = bytes([0, 0, _CODES[kind], array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    return header, np.asarray(array, dtype=f">{kind}", order="C").data


def _check_file(method: str, path: object) -> None:
    """Raise ValueError if `path` is neither a path nor a binary file that has the method."""
    if isinstance(path, io.TextIOBase) or not (isinstance(path, (str, os.PathLike)) or hasattr(path, method)):
        raise ValueError(
            f"{method}_idx: path is of type {type(path).__name__}, "
            "expected str, os.PathLike or a file open in binary mode. "
            "For a path of bytes, use os.fsdecode; for a file's content, io.BytesIO."
        )


def _is_idx(file: IO[bytes]) -> bool:
    """Return whether a file is one whole IDX file, gzipped or not. The data are not read."""
    gzipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    unpacked: File = gzip.GzipFile(fileobj=file) if gzipped else file
    try:
        dtype, _, shape = _header(unpacked, take(unpacked, 2), "")
        return unpacked.seek(0, os.SEEK_END) == 4 + 4 * len(shape) + math.prod(shape) * dtype.itemsize
    except (IdxError, OSError, EOFError, zlib.error):
        return False


_IDX = Kind("IDX file", _is_idx)


def _header(file: File, start: bytearray, name: str) -> tuple[np.dtype[Any], bytearray, tuple[int, ...]]:
    """Return the element type, the sizes as they are in an unpacked file, and the shape; read up to the data.

    The first two bytes, `start`, are already read.
    """
    start += take(file, 2)
    if any(start[:2]):
        raise IdxError(f"{name}: {wrong_start(file, start, _TYPES)}")
    if len(start) < 4:
        raise IdxError(f"{name}: it ends after {len(start)} bytes, an IDX header has at least 4. {AGAIN}")
    code, ndim = start[2:]
    if code not in _TYPES:
        raise IdxError(f"{name}: not an IDX file: its element type has code 0x{code:02x}, not one of {_SIX}. {AGAIN}")
    sizes = take(file, 4 * ndim)
    if len(sizes) < 4 * ndim:
        raise IdxError(
            f"{name}: it ends after {4 + len(sizes)} bytes, its header of {ndim} dimensions has {4 + 4 * ndim}. {AGAIN}"
        )
    shape = tuple(np.frombuffer(sizes, dtype=">u4").tolist())
    dtype = np.dtype(f">{_TYPES[code]}")
    claim = reprlib.repr(shape)  # shortened, since a header may have 255 sizes
    try:  # strides of 0: NumPy judges the shape without taking memory for it
        np.ndarray(shape, dtype, buffer=bytes(dtype.itemsize), strides=(0,) * ndim)
    except ValueError as error:
        remedy = "Write it with another shape or, if it should have one, download or copy it again."
        remedy = little_endian(file, dtype, sizes, 0) or remedy
        raise IdxError(
            f"{name}: NumPy cannot hold an array of {ndim} dimensions {claim} ({error}). {remedy}"
        ) from error
    return dtype, sizes, shape


def _read(file: File, start: bytearray, name: str, mmap_mode: _Mode | None = None) -> NDArray[Any]:
    """Read, or map, the array in an unpacked file whose first two bytes, `start`, are already read."""
    dtype, sizes, shape = _header(file, start, name)
    size = math.prod(shape) * dtype.itemsize
    mode = mmap_mode if size else None  # zero bytes cannot be mapped
    data = b"" if mode else take(file, size + 1)
    length = os.fstat(file.fileno()).st_size - file.tell() if mode else len(data)
    if length != size:
        found = f"ends after {length} bytes of data" if length < size else "goes on after its data"
        raise IdxError(
            f"{name}: it {found}, its header claims {size} bytes: {reprlib.repr(shape)} of {dtype.name}. "
            f"{wrong_length(file, dtype, sizes, len(data))}"
        )
    if mode:
        return np.memmap(name, dtype, mode, file.tell(), shape)
    array: NDArray[Any] = np.ndarray(shape, dtype, buffer=data)
    return array.astype(dtype.newbyteorder("="), copy=False)
