"""Write files that get their names only after they are whole."""

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
        The name of the new file. An old file of this name stays until the new file is whole and on the disk. Links are
        followed.

    Yields
    ------
    binary file
        A temporary file in the same folder, open for writing. If the system can do so (Linux), the temporary file has
        no name until it is whole. Then nothing is left of the file if the process is killed while it writes.

    Raises
    ------
    OSError
        If the folder is missing or cannot be written in, `path` is a folder or a device, or the disk is full.
    """
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} cannot be written: it exists, and is a folder or a device")
    temporary = path.with_name(f"{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        unnamed = _open_unnamed(path.parent)
        # Not with tempfile: only the owner can read its files, and only the owner could read the final file.
        with open(temporary if unnamed is None else unnamed, "xb" if unnamed is None else "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if unnamed is not None:  # linkat follows the link, and Python calls linkat only if a descriptor is given
                os.link(f"/proc/self/fd/{unnamed}", temporary, src_dir_fd=unnamed, follow_symlinks=True)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and str(temporary) in (str(error.filename), str(error.filename2)):
            raise OSError(error.errno, error.strerror, str(path)) from error  # with the name that the user gave
        raise


def _open_unnamed(folder: Path) -> int | None:
    """Open a file without a name; None if the system or the file system cannot do so: see O_TMPFILE in open(2)."""
    if not hasattr(os, "O_TMPFILE") or not os.path.exists("/proc/self/fd"):
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
    except OSError:
        return None


def _sync_folder(folder: Path) -> None:
    """Get the new name onto the disk, too, if the system can open folders (Windows cannot)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
