"""A file that has its name only once it is whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
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
        A temporary file in the same folder, open for writing.

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
        # Not tempfile: its files are readable by their owner only, and the final file would stay so.
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
