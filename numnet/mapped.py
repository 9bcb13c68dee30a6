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
    root = array
    while isinstance(getattr(root, "base", None), np.ndarray):
        root = root.base
    if not isinstance(array, np.ndarray) or not array.size or root.flags.owndata:
        return None
    if os.path.exists(_LIST):
        address = array.__array_interface__["data"][0]
        return next((path for first, end, path in _mappings() if first <= address < end), None)
    while array is not None:
        if isinstance(array, np.memmap) and array.filename is not None:
            return os.fspath(array.filename)
        array = getattr(array, "base", None)
    return None


def in_use(path: str | os.PathLike[str]) -> bool:
    """Return whether a file, by whatever name, is mapped into the memory of this process."""
    if os.path.exists(_LIST):
        files = {name for _, _, name in _mappings()}
    else:
        files = {found for array in gc.get_objects() if isinstance(array, np.memmap) and (found := file_of(array))}
    with suppress(OSError):
        return any(os.path.samefile(path, file) for file in files if os.path.exists(file))
    return False


def _mappings() -> Iterator[tuple[int, int, str]]:
    """Yield the first address, the end and the file of each mapping; proc_pid_maps(5) says what a line has."""
    with open(_LIST, encoding=sys.getfilesystemencoding(), errors="surrogateescape") as lines:
        for line in lines:
            place, *_, path = line.rstrip("\n").split(maxsplit=5)
            if path.startswith("/") and not path.endswith(" (deleted)"):
                first, end = (int(address, 16) for address in place.split("-"))
                yield first, end, path.replace("\\012", "\n")
