"""A file that has its name only once it is whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Write a file that appears at `path` when the block ends without an error, and not at all otherwise.

    Parameters
    ----------
    path : str or os.PathLike
        The name to be; what has it now stays until the new file is whole and on the disk. Links are followed.

    Yields
    ------
    binary file
        A temporary file in the same folder, open for writing. Where the system can (Linux), it has no name until it is
        whole, so that nothing is left of it if the process is killed while it writes.

    Raises
    ------
    OSError
        If the folder is missing or cannot be written in, what has the name is no file, or the disk is full.
    """
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} cannot be written: it exists, and is a folder or a device")
    temporary = path.with_name(f"{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        unnamed = _open_unnamed(path.parent)
        # Not tempfile: its files are readable by their owner only, and the final file would stay so.
        with open(temporary if unnamed is None else unnamed, "xb" if unnamed is None else "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if unnamed is not None:  # Python calls linkat, which follows the link, only with a descriptor
                os.link(f"/proc/self/fd/{unnamed}", temporary, src_dir_fd=unnamed, follow_symlinks=True)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and str(temporary) in (str(error.filename), str(error.filename2)):
            raise OSError(error.errno, error.strerror, str(path)) from error  # the name that was given
        raise


def _open_unnamed(folder: Path) -> int | None:
    """Open a file without a name; None where the system or the file system has none, see open(2), O_TMPFILE."""
    if not hasattr(os, "O_TMPFILE") or not os.path.exists("/proc/self/fd"):
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
    except OSError:
        return None


def _sync_folder(folder: Path) -> None:
    """Get the new name onto the disk, too, where the system lets folders be opened (not Windows)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
