"""Download a file whose SHA-256 is known.

Modules that are slow to import are imported where they are needed, so that `import numnet` does not wait for them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar

from ..atomic import atomic

_PIECE = 1 << 14
_Item = TypeVar("_Item")


class DownloadError(ValueError):
    """A data file that is missing and could not be downloaded, or is not the one that was published."""


class _MirrorError(Exception):
    """Why one mirror did not deliver the file."""


def fetch(
    name: str, mirrors: Sequence[str], sha256: str, folder: Path, timeout: float, progress: bool, remedy: str
) -> Path:
    """Download a file from the first mirror that delivers it as published.

    Parameters
    ----------
    name : str
        The file's name, on the mirrors and in the folder.
    mirrors : sequence of str
        Base addresses, each ending in ``/``, in the order to try them.
    sha256 : str
        The SHA-256 of the file's bytes, in hexadecimal.
    folder : Path
        Where the file goes; made if missing. A bad or partial file never has the name there, and a temporary file does
        not stay, however the download ends.
    timeout : float
        The seconds that each mirror has for each 16 KiB, name lookup included.
    progress : bool
        Whether to show a progress bar on standard error if that is a terminal, or in a notebook.
    remedy : str
        What the user can do when it fails, to end the error message with.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DownloadError
        If no mirror delivers the file, with each one's reason, or it cannot be written.
    """
    path = folder / name
    reasons = []
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for url in (mirror + name for mirror in mirrors):
            try:
                with atomic(path) as file:
                    _transfer(url, file, sha256, timeout, progress)
                return path
            except _MirrorError as error:
                reasons.append(f"  {url}: {error}\n")
        if new:
            with suppress(OSError):  # another process may have put something there
                folder.rmdir()
    except OSError as error:
        raise DownloadError(f"{name} cannot be written in the folder {folder}: {error}.\n{remedy}") from error
    raise DownloadError(f"{name} could not be downloaded; every mirror failed:\n{''.join(reasons)}{remedy}")


def _transfer(url: str, file: IO[bytes], sha256: str, timeout: float, progress: bool) -> None:
    """Copy what is at `url` into `file`, and check it."""
    import hashlib

    import requests  # noqa: F401  (so that the time it takes to load is not the mirror's)
    from tqdm import tqdm

    shown = progress and ("ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty()))
    digest = hashlib.sha256()
    name = url.rpartition("/")[2]
    with tqdm(desc=name, unit="B", unit_scale=True, leave=False, disable=not shown) as bar:
        for total, piece in _within(timeout, _pieces(url, timeout)):
            file.write(piece)
            digest.update(piece)
            bar.total = total
            bar.update(len(piece))
    if digest.hexdigest() != sha256:
        raise _MirrorError(f"wrong content: {file.tell()} bytes with SHA-256 {digest.hexdigest()}, expected {sha256}")


def _within(timeout: float, items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield the items, waiting for each one `timeout` seconds at most, whatever it is that hangs."""
    import queue
    import threading

    # requests' own time-outs cover neither the name lookup nor bytes that trickle. A thread can be left behind.
    wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()
    came: queue.SimpleQueue[_Item | Exception | None] = queue.SimpleQueue()

    def work() -> None:
        while wanted.get():
            try:
                came.put(next(items, None))
            except Exception as error:
                came.put(error)

    threading.Thread(target=work, name="numnet download", daemon=True).start()
    try:
        while True:
            wanted.put(True)
            try:
                item = came.get(timeout=timeout)
            except queue.Empty:
                raise _MirrorError(f"time-out: nothing, or too little, came in {timeout:g} s") from None
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        wanted.put(False)


def _pieces(url: str, timeout: float) -> Iterator[tuple[int | None, bytes]]:
    """Yield the whole size, if known, with each piece of what is at `url`; trouble on the way is a _MirrorError."""
    import requests
    from urllib3.exceptions import HTTPError

    try:
        # "identity", and no decoding: some servers announce a .gz as gzipped on the way, and it would arrive unpacked.
        headers = {"Accept-Encoding": "identity"}
        # The time-out only ends a thread that was left behind; twice, so that it never comes before `_within`'s.
        with requests.get(url, stream=True, timeout=2 * timeout, headers=headers) as response:
            if response.status_code != 200:
                raise _MirrorError(f"HTTP {response.status_code} {response.reason}")
            total = response.raw.length_remaining
            while piece := response.raw.read(_PIECE, decode_content=False):
                yield total, piece
    except (OSError, HTTPError) as error:  # requests' own errors are OSErrors
        raise _MirrorError(_words(error)) from error


def _words(error: BaseException) -> str:
    """Say in plain words what lies at the bottom of a network error."""
    import socket
    from http.client import HTTPException

    cause = error.__cause__ or error.__context__
    while cause:
        if isinstance(cause, (OSError, HTTPException)):  # urllib3 before 2 has a TypeError of its own at the bottom
            error = cause
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, socket.gaierror):
        return "the server's name does not resolve"
    if isinstance(error, ConnectionRefusedError):
        return "the server refused the connection"
    return str(error) or type(error).__name__
