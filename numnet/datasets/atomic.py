"""A file that has its name only once it is whole."""

import os
import secrets
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
        The name to be; what has it now stays until the new file is whole and on the disk.

    Yields
    ------
    binary file
        A temporary file in the same folder, open for writing.

    Raises
    ------
    OSError
        If the folder is missing or cannot be written in, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
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
