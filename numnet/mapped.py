"""Which files the memory of this process is mapped from.

Linux lists all mappings, so there it does not matter who made a mapping and who holds it. Other systems do not list
them. There only NumPy's own mapped arrays are found.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

_LIST = "/proc/self/maps"


def file_of(array: Any) -> str | None:
    """Return the file that the memory of an array is mapped from, also if the array is a view; None if there is none.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from numnet.mapped import file_of
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.npy")
    ...     np.save(path, np.arange(10))
    ...     x = np.load(path, mmap_mode="r")
    ...     os.path.samefile(path, file_of(np.asarray(x)[::-1]))
    True
    """
    found = _file_and_end(array)
    return None if found is None else found[0]


def refuse_cut(name: str, array: Any) -> None:
    """Refuse an array if its file has become too short for it: to touch what is gone would end the process."""
    found = _file_and_end(array)
    if found is not None and os.path.exists(found[0]) and os.path.getsize(found[0]) < found[1]:
        raise ValueError(
            f"{name} are mapped from the file {found[0]}, which has {os.path.getsize(found[0])} bytes now, and they "
            f"reach to byte {found[1]}: the file has been cut short since. Map it again"
        )


def _file_and_end(array: Any) -> tuple[str, int] | None:
    """Return the file of an array, and the place in the file at which the array's memory ends."""
    root = array
    while isinstance(getattr(root, "base", None), np.ndarray):
        root = root.base
    if not isinstance(array, np.ndarray) or not array.size or root.flags.owndata:
        return None
    if os.path.exists(_LIST):
        address = array.__array_interface__["data"][0]
        last = (
            address + array.itemsize + sum(max(s, 0) * (n - 1) for s, n in zip(array.strides, array.shape, strict=True))
        )
        for first, end, path, offset in _mappings():
            if first <= address < end:
                return path, offset + last - first
        return None
    while array is not None:
        if isinstance(array, np.memmap) and array.filename is not None and not isinstance(array.base, np.memmap):
            return os.fspath(array.filename), array.offset + array.nbytes
        array = getattr(array, "base", None)
    return None


def in_use(path: str | os.PathLike[str]) -> bool:
    """Return whether a file, by whatever name, is mapped into the memory of this process."""
    if os.path.exists(_LIST):
        files = {name for _, _, name, _ in _mappings()}
    else:
        files = {found for array in gc.get_objects() if isinstance(array, np.memmap) and (found := file_of(array))}
    with suppress(OSError):
        # By the number first: the name in the list may have been removed since, and the file have another name.
        return _numbered(os.stat(path)) or any(os.path.samefile(path, file) for file in files if os.path.exists(file))
    return False


def _numbered(file: os.stat_result) -> bool:
    """Return whether the list has a file by its device and its number there."""
    if not os.path.exists(_LIST):
        return False
    number = f" {os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x} {file.st_ino} "
    with open(_LIST, encoding=sys.getfilesystemencoding(), errors="surrogateescape") as lines:
        return any(number in line for line in lines)


def _mappings() -> Iterator[tuple[int, int, str, int]]:
    """Yield of each mapping the first address, the end, the file, and the place in the file at which it begins.

    proc_pid_maps(5) says what a line of the list has.
    """
    with open(_LIST, encoding=sys.getfilesystemencoding(), errors="surrogateescape") as lines:
        for line in lines:
            addresses, _, offset, *_, path = line.rstrip("\n").split(maxsplit=5)
            if path.startswith("/") and not path.endswith(" (deleted)"):
                first, end = addresses.split("-")
                yield int(first, 16), int(end, 16), path.replace("\\012", "\n"), int(offset, 16)
