"""Which files the memory of this process is mapped from.

Linux lists all mappings, so there it does not matter who made a mapping and who holds it. Other systems do not list
them. There only NumPy's own mapped arrays are found.
"""

from __future__ import annotations

import bisect
import gc
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import IO, Any, NamedTuple

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
            f"reach to byte {found[1]}: the file has been cut short since. Map what is "
            "there now, or write the whole file again and map that"
        )


def _file_and_end(array: Any) -> tuple[str, int] | None:
    """Return the file of an array, and the place in the file at which the array's memory ends."""
    root = array
    while isinstance(getattr(root, "base", None), np.ndarray):
        root = root.base
    if not isinstance(array, np.ndarray) or not array.size:
        return None
    memory = root.base.obj if isinstance(root.base, memoryview) else root.base
    if root.flags.owndata or isinstance(memory, (bytes, bytearray)):  # the list takes longer than a small batch
        return None
    if os.path.exists(_LIST):
        address = array.__array_interface__["data"][0]
        last = (
            address + array.itemsize + sum(max(s, 0) * (n - 1) for s, n in zip(array.strides, array.shape, strict=True))
        )
        with _open_list() as file:
            lines = file.readlines()  # in the order of the addresses
        # A list of thousands is not looked through for each batch.
        i = bisect.bisect_right(lines, address, key=lambda line: _addresses(line)[1])
        for one in _mappings(lines[i : i + 1]):
            if one.first <= address and one.exists:
                return one.path, one.offset + last - one.first
        return None
    while array is not None:
        if isinstance(array, np.memmap) and array.filename is not None and not isinstance(array.base, np.memmap):
            return os.fspath(array.filename), array.offset + array.nbytes
        array = getattr(array, "base", None)
    return None


def in_use(path: str | os.PathLike[str]) -> bool:
    """Return whether a file, by whatever name, is mapped into the memory of this process."""
    with suppress(FileNotFoundError, NotADirectoryError):  # but not that the list cannot be read
        if not os.path.exists(_LIST):
            # isinstance would ask objects for their class, at which some of PyTorch's warn.
            files = [file_of(array) for array in gc.get_objects() if issubclass(type(array), np.memmap)]
            return any(os.path.samefile(path, file) for file in files if file is not None and os.path.exists(file))
        file = os.stat(path)
        number = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x} {file.st_ino}"
        names = set()
        with _open_list() as lines:
            for one in _mappings(lines):
                if one.number == number:  # whatever its name was when it was mapped
                    return True
                if one.exists:
                    names.add(one.path)
        # The list may have other numbers than stat, as with layers of file systems.
        return any(os.path.samefile(path, name) for name in names if os.path.exists(name))
    return False


class _Mapping(NamedTuple):
    """A mapping: its first address, the file, and the place in the file at which the mapping begins."""

    first: int
    path: str
    offset: int
    number: str  # of the file, with its device
    exists: bool  # whether the file still has this name


def _open_list() -> IO[str]:
    """Open the list of mappings. A name in the list may have any character but a line feed."""
    return open(_LIST, encoding=sys.getfilesystemencoding(), errors="surrogateescape", newline="\n")


def _addresses(line: str) -> tuple[int, int]:
    """Return the first address of a mapping and its end."""
    first, _, end = line.partition(" ")[0].partition("-")
    return int(first, 16), int(end, 16)


def _mappings(lines: Iterable[str]) -> Iterator[_Mapping]:
    """Yield each mapping of a file; proc_pid_maps(5) says what a line of the list has."""
    for line in lines:
        _, _, offset, device, number, *path = line.removesuffix("\n").split(maxsplit=5)
        if path and path[0].startswith("/"):
            name, there = path[0].replace("\\012", "\n"), not path[0].endswith(" (deleted)")
            yield _Mapping(_addresses(line)[0], name, int(offset, 16), f"{device} {number}", there)
