"""Say what a file is that is not the IDX file that it should be, and what opens it.

In the hints, `path` stands for the path of the file. A hint for a gzipped file opens what the file holds.
"""

import codecs
import gzip
import io
import math
import os
import re
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

AGAIN = "The file is damaged or incomplete: download or copy it again."
File = IO[bytes] | gzip.GzipFile

_PIECE = 1 << 16
_FIRST = 512  # bytes that tell what a file is. A tar archive has its signature at byte 257
_MOST = 1 << 30  # bytes up to which the data of a gzipped file are counted, since they could go on without end
_SIGNATURES = {
    b"\x1f\x8b": "a file that was gzipped twice: read_idx({}) reads it",
    b"\xfd7zXZ\0": "a file compressed by xz: read_idx(lzma.open({})) reads it",
    b"BZh": "a file compressed by bzip2: read_idx(bz2.open({})) reads it",
    b"PK\x03\x04": "a zip archive: read_idx(zipfile.ZipFile({}).open(name)) reads the file `name` in it",
    b"\x93NUMPY": "an array saved by NumPy (npy): np.load({}) reads it",
    b"version https://git-lfs": "a Git LFS pointer: `git lfs pull` in its repository gets the file that it stands for",
    b"\x89PNG\r\n": "a picture (PNG): matplotlib.pyplot.imread({}) reads it",
    b"\xff\xd8\xff": "a picture (JPEG): matplotlib.pyplot.imread({}) reads it",
    b"GIF8": "a picture (GIF): matplotlib.pyplot.imread({}) reads it",
    b"MATLAB 5.0": "a MATLAB file: scipy.io.loadmat({}) reads it",
}


def take(file: File, size: int) -> bytearray:
    """Read `size` bytes, or fewer if the file ends before. Memory is taken only as the bytes come."""
    data = bytearray()
    while len(data) < size and (piece := file.read(min(size - len(data), _PIECE))):
        data += piece
    return data


def wrong_start(file: File, start: bytearray, types: Mapping[int, str]) -> str:
    """Return what a file is whose first bytes, `start`, are not those of an IDX file, and what opens it."""
    start += take(file, _FIRST - len(start))
    header = 4 + 4 * start[0]
    swapped = start[2:4] == b"\0\0" and start[1] in types and len(start) >= header
    if swapped and (hint := little_endian(file, np.dtype(types[start[1]]), start[4:header], len(start) - header)):
        return f"not an IDX file, since its header is little-endian. {hint}"
    if kind := _kind(start, "gzip.open(path)" if isinstance(file, gzip.GzipFile) else "path"):
        return f"not an IDX file but {kind}."
    return f"not an IDX file: it starts with the bytes {start[:4].hex(' ')}, an IDX file with 00 00. {AGAIN}"


def little_endian(file: File, dtype: np.dtype[Any], sizes: bytearray, taken: int) -> str:
    """Return what reads the file if its sizes, taken as little-endian, fit its data; otherwise nothing.

    Of the data, `taken` bytes are already read.
    """
    shape = _shape(sizes, "<")
    size = math.prod(shape) * dtype.itemsize
    if not shape or not size or _length(file, taken, _MOST) != size:
        return ""
    opened = _opened(file, dtype.newbyteorder("<"), sizes, shape)
    return f"Its sizes are little-endian, {_by(shape)}, which fits its data: {opened} reads the file."


def wrong_length(file: File, dtype: np.dtype[Any], sizes: bytearray, taken: int) -> str:
    """Return how a header disagrees with its data, of which `taken` bytes are already read, and what to do."""
    shape = _shape(sizes, ">")
    row = math.prod(shape[1:]) * dtype.itemsize
    size = row * math.prod(shape[:1])
    if taken < size and (hint := little_endian(file, dtype, sizes, taken)):
        return hint
    length = _length(file, taken, 256 * size)  # a missing dimension is not as long
    if not length or not row:
        return AGAIN
    if size and length > size and length % size == 0:
        longer = (*shape, length // size)
        width = length // size * dtype.itemsize
        wide = f", or does each element have {width} bytes" if width in (2, 4, 8) else ""
        return (
            f"There are {length} bytes, {length // size} times as many: is a dimension missing, {_by(longer)}{wide}? "
            f"{_opened(file, dtype, sizes, longer)} reads the file so."
        )
    if shape and length % row == 0:
        fitting = (length // row, *shape[1:])
        opened = _opened(file, dtype, sizes, fitting)
        remedy = f"If the header is wrong, {opened} reads the file; otherwise download or copy it again."
        return f"There are {length} bytes, enough for the shape {_by(fitting)}. {remedy}"
    return f"There are {length} bytes. {AGAIN}" if length > size else AGAIN


def _length(file: File, taken: int, most: int) -> int | None:
    """Return how many bytes of data there are, `taken` of them already read; None if this is unknown."""
    if isinstance(file, gzip.GzipFile):
        while taken <= most and (piece := file.read(_PIECE)):
            taken += len(piece)
        return taken if taken <= most else None
    if isinstance(file, (io.BufferedReader, io.FileIO, io.BytesIO)) and file.seekable():
        here = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(here)
        return taken + end - here
    return None


def _kind(start: bytearray, path: str) -> str:
    """Return what a file with these first bytes is, and what opens it; nothing if this is unknown."""
    if start[:4] == b"PK\x03\x04" and start[30 : 30 + int.from_bytes(start[26:28], "little")].endswith(b".npy"):
        return f"arrays saved by NumPy (npz): np.load({path}) reads them"
    for signature, kind in _SIGNATURES.items():
        if start.startswith(signature):
            return kind.format(path)
    if re.match(rb"\x80[\x02-\x05]", start):
        opened = path if "(" in path else "open(path, 'rb')"
        return f"a pickle: pickle.load({opened}) reads it and runs the code in it, so load only what you trust"
    if start[257:262] == b"ustar":
        return "a tar archive: read_idx(tarfile.open(path).extractfile(name)) reads the file `name` in it"
    if re.match(rb"(\xef\xbb\xbf)?\s*<[!?a-zA-Z]", start):
        return "a web page (HTML or XML): open it in a browser to see what the server answered, and get the file again"
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(start).strip()  # its last character may be cut
    except UnicodeDecodeError:
        return ""
    if not text or not all(character.isprintable() or character.isspace() for character in text):
        return ""
    first = text.splitlines()[0]
    for delimiter in ",;\t":
        fields = [field.strip() for field in first.split(delimiter)]
        if len(fields) > 1 and first[0] not in "{[" and not re.search(r"\s", "".join(fields)):
            names = "" if re.match(r"[-+.\d]", first) else ", skiprows=1"
            return f"a table of text (CSV): np.loadtxt({path}, delimiter={delimiter!r}{names}) reads it"
    return f"text that begins with {first[:40]!r}: open it in an editor to see what it is, and get the file again"


def _shape(sizes: bytearray, order: str) -> tuple[int, ...]:
    """Return the sizes of a header as numbers."""
    return tuple(np.frombuffer(sizes, f"{order}u4").tolist())


def _by(shape: tuple[int, ...]) -> str:
    """Return a shape as 60000 x 28 x 28, shortened in the middle if there are many dimensions."""
    return " x ".join(map(str, shape if len(shape) <= 8 else (*shape[:4], "...", *shape[-2:])))


def _opened(file: File, dtype: np.dtype[Any], sizes: bytearray, shape: tuple[int, ...]) -> str:
    """Return the call that reads the data after a header with another shape or byte order."""
    kind = dtype.name if dtype.itemsize == 1 else dtype.str
    rest = f"{kind!r}, offset={4 + len(sizes)}).reshape{shape}"
    if isinstance(file, gzip.GzipFile):
        return f"np.frombuffer(gzip.open(path).read(), {rest}"
    return f"np.fromfile(path, {rest}"
