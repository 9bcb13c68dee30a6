"""Write files that get their names only after they are whole. Refuse what must not be written, and what cannot be read.

Every function of numnet that writes a file does so by `atomic`.
"""

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from . import mapped


class Kind(NamedTuple):
    """What a function writes: its name in messages, and a function that tells whether an open file is of this kind."""

    name: str
    holds: Callable[[IO[bytes]], bool]


@contextmanager
def atomic(path: str | os.PathLike[str], kind: Kind, overwrite: bool = False) -> Iterator[IO[bytes]]:
    """Write a file that appears at `path` when the block ends without an error, and not at all otherwise.

    Parameters
    ----------
    path : str or os.PathLike
        The name of the new file. An old file of this name stays until the new file is whole and on the disk, and its
        permission bits are kept. Links are followed. A ``~`` at the start stands for the user's home.
    kind : Kind
        What the block writes.
    overwrite : bool, default False
        Whether the new file may replace a file of another kind.

    Yields
    ------
    binary file
        A temporary file in the same folder, open for writing. If the system can do so (Linux), the temporary file has
        no name until it is whole. Then nothing is left of the file if the process is killed while it writes.

    Raises
    ------
    OSError
        For the reasons that `writable` gives, before the block is entered. Or if the disk is full.
    """
    path = writable(path, kind, overwrite)
    with _temporary(path) as (file, name):
        _keep_permissions(path, file)
        yield file
        file.flush()
        os.fsync(file.fileno())
        if not name.exists():
            _link(file, name, path)
        file.close()
        _replace(name, path)
        _sync_folder(path.parent)


def writable(path: str | os.PathLike[str], kind: Kind, overwrite: bool = False) -> Path:
    """Return the file that a path stands for, links followed, or raise an error if `atomic` would not write this file.

    Parameters
    ----------
    path, kind, overwrite
        As for `atomic`.

    Raises
    ------
    FileExistsError
        If anything in this process is mapped from the file, also with `overwrite`. Or if the file is neither empty nor
        of this kind.
    IsADirectoryError
        If the path is a folder, or ends in a slash.
    FileNotFoundError
        If there is no such folder, or the path is empty.
    NotADirectoryError
        If there is a file in the place of the folder.
    PermissionError
        If the file is read-only, or the user may not write in the folder.
    OSError
        If the path is a device, a FIFO or a socket, the name is too long, or the disk is full.
    TypeError
        If the path is neither a string nor an os.PathLike.
    """
    given = _expanded(path)
    if not given:
        raise FileNotFoundError("a file without a name cannot be written: the path is ''. Name a file")
    if os.path.basename(given) in ("", os.curdir, os.pardir):
        raise IsADirectoryError(f"{given!r} cannot be written: it is the name of a folder. Name a file in it")
    file = Path(os.path.realpath(given))
    if file.parent.is_file():
        raise NotADirectoryError(f"{file} cannot be written: {file.parent} is a file, and no folder. Name another file")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{file} cannot be written: there is no folder {file.parent}. Make the folder first")
    with suppress(FileNotFoundError):  # most often there is no old file
        old = os.stat(file)
        _refuse_special(file, old.st_mode, "written")
        if mapped.in_use(file):
            raise FileExistsError(
                f"{file} cannot be replaced: an array of this program is mapped from the file. Name another file"
            )
        if not old.st_mode & 0o222:  # root could write to the file all the same
            raise PermissionError(f"{file} cannot be replaced: it is read-only. Name another file, or make it writable")
        with open(file, "r+b") as opened:
            if not overwrite and old.st_size and not kind.holds(opened):
                raise FileExistsError(
                    f"{file} is there already, and is no {kind.name}, or is damaged: name another file, or give "
                    "overwrite=True"
                )
    with _temporary(file):
        return file


def readable(path: str | os.PathLike[str]) -> str:
    """Return a path with the user's home for ``~``, or raise an error if the path is no file.

    A FIFO could make the reader wait for ever, and a device could fill the memory.

    Raises
    ------
    IsADirectoryError
        If the path is a folder.
    FileNotFoundError
        If there is nothing.
    OSError
        If the path is a device, a FIFO or a socket.
    TypeError
        If the path is neither a string nor an os.PathLike.
    """
    path = _expanded(path)
    _refuse_special(path, os.stat(path).st_mode, "read")
    return path


def _expanded(path: str | os.PathLike[str]) -> str:
    """Return a path with the user's home for ``~``."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"a path must be a string or an os.PathLike, got {path!r}: give the name of a file, 'run.npz'")
    return os.path.expanduser(os.fspath(path))


def _refuse_special(path: str | Path, mode: int, done: str) -> None:
    """Raise OSError if a path is no regular file."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} cannot be {done}: it is a folder. Name a file in it")
    if not stat.S_ISREG(mode):
        what = "a FIFO" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise OSError(f"{path} cannot be {done}: it is {what}. Name a file")


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Open a new file in the folder of a file, and remove it at the end; yield it with the name that it has or may get.

    The name is short enough for every file system. Errors have the path instead of this name.
    """
    name = path.with_name(f"{path.name[:16]}.{os.urandom(4).hex()}.tmp")
    try:
        with _open_unnamed(path.parent) or open(name, "x+b") as file:
            yield file, name
    except OSError as error:
        if error.errno and error.filename in (None, str(name)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        with suppress(OSError):
            name.unlink()


def _open_unnamed(folder: Path) -> IO[bytes] | None:
    """Open a file without a name; None if the system or the file system cannot do so: see O_TMPFILE in open(2)."""
    if not hasattr(os, "O_TMPFILE") or not os.path.exists("/proc/self/fd"):
        return None
    try:  # not with tempfile: only the owner can read its files, and only the owner could read the final file
        return open(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    except OSError:
        return None


def _keep_permissions(path: Path, file: IO[bytes]) -> None:
    """Give a new file the owner and the permission bits of the file that it will replace, if there is such a file."""
    if hasattr(os, "fchown") and path.exists():  # Windows has fchmod from Python 3.13 on, but no owners
        old = path.stat()
        for owner in (-1, old.st_uid):  # the group by itself first: only root may give files away
            with suppress(OSError):
                os.fchown(file.fileno(), owner, old.st_gid)
        os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))


def _link(file: IO[bytes], name: Path, path: Path) -> None:
    """Give a file without a name a name; copy it if the file system refuses to do so."""
    try:  # linkat follows the link, and Python calls linkat only if a descriptor is given
        os.link(f"/proc/self/fd/{file.fileno()}", name, src_dir_fd=file.fileno(), follow_symlinks=True)
    except OSError:
        file.seek(0)
        with open(name, "xb") as copy:
            _keep_permissions(path, copy)
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())


def _replace(name: Path, path: Path) -> None:
    """Rename a file, and try for about a second.

    Windows refuses as long as somebody reads the old file, and a network's file system may refuse once.
    """
    for _ in range(10):
        with suppress(OSError):
            return os.replace(name, path)
        time.sleep(0.1)
    os.replace(name, path)


def _sync_folder(folder: Path) -> None:
    """Get the new name onto the disk, too, if the system can open folders (Windows cannot)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
