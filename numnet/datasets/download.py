"""Download a file whose SHA-256 is known.

Modules that are slow to import are imported where they are needed, so that `import numnet` does not wait for them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..notebook import in_notebook

if TYPE_CHECKING:
    import requests

_PIECE = 1 << 14
_PATIENCE = 5.0  # seconds
_LARGEST = 1 << 28  # bytes: ten times the largest file of these sets. A body without an end would fill the disk
_Item = TypeVar("_Item")


class DownloadError(ValueError):
    """A data file or a folder that is missing, could not be downloaded, or does not have the published contents.

    Examples
    --------
    >>> import numnet as nn
    >>> try:
    ...     nn.datasets.mnist("no-such-folder", download=False)
    ... except nn.datasets.DownloadError as error:
    ...     print(error)
    there is no folder no-such-folder: correct data_dir, or give download=True to fill it
    """


class _MirrorError(Exception):
    """The reason why a mirror did not deliver the file."""


class _BusyError(_MirrorError):
    """A mirror that asks to come back later."""

    def __init__(self, status: str, seconds: int) -> None:
        super().__init__(f"{status}, which asks to try again in {seconds} s")
        self.seconds = seconds


def fetch(
    name: str, mirrors: Sequence[str], sha256: str, folder: Path, timeout: float, progress: bool, remedy: str
) -> Path:
    """Download a file from the first mirror that delivers the published file.

    Parameters
    ----------
    name : str
        The name of the file, on the mirrors and in the folder.
    mirrors : sequence of str
        Base addresses, each ending in ``/``. The mirrors are tried in this order.
    sha256 : str
        The SHA-256 of the file's bytes, in hexadecimal.
    folder : Path
        Where the file goes. A missing folder is made. A bad or partial file never has the name ``name`` in the folder,
        however the download ends. The bytes that came before an interruption stay as ``name.part``, and the next
        download goes on from there. Otherwise a download that fails leaves nothing: the folders that it has made are
        removed, too. If the process is killed, a file ``name.lock`` can stay. If several processes need the file, one
        process downloads, and the other processes wait. If all of them fail, a new folder can stay, without a file.
    timeout : float
        The seconds that each mirror has for each 16 KiB, name lookup included.
    progress : bool
        Whether to show a progress bar on standard error if that is a terminal, or in a notebook.
    remedy : str
        What the user can do if the download fails. The error message ends with this text.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DownloadError
        If no mirror delivers the file (the message gives the reason of each mirror), the file cannot be written, or
        another process is downloading the file and makes no progress.
    """
    from filelock import Timeout

    path, part = folder / name, folder / f"{name}.part"
    patience = len(mirrors) * 2 * (timeout + _PATIENCE)  # longer than the other process can be between two pieces
    try:
        with _alone(folder / f"{name}.lock", part, patience):
            reasons = _try_each([mirror + name for mirror in mirrors], path, part, sha256, timeout, progress)
            if not reasons:
                return path
    except Timeout as error:
        raise DownloadError(
            f"{name} is being downloaded to the folder {folder} by another process, which made no progress in "
            f"{patience:g} s. Wait for that process or end it, then try again.\n{remedy}"
        ) from error
    except OSError as error:
        raise DownloadError(f"{name} cannot be written in the folder {folder}: {error}.\n{remedy}") from error
    raise DownloadError(f"{name} could not be downloaded; every mirror failed:\n{''.join(reasons)}{remedy}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def _alone(lock: Path, part: Path, patience: float) -> Iterator[None]:
    """Hold the lock, in a folder that is made if it is missing. Leave neither the lock nor a new folder that is empty.

    Wait for the lock as long as the process that holds it makes progress.
    """
    from filelock import FileLock, Timeout

    holder = FileLock(lock)
    made: list[Path] = []
    removed = 0
    try:
        while not holder.is_locked:
            before = _size(part)
            made += [folder for folder in lock.parents if not folder.exists()]
            try:
                lock.parent.mkdir(parents=True, exist_ok=True)
                holder.acquire(timeout=patience)
            except FileNotFoundError:  # another process had made the folder, failed, and has just removed the folder
                removed += 1
                if removed == 100:  # no process can be so unlucky: no folder can be made there, as in Linux's /proc
                    raise
            except Timeout:
                if _size(part) == before:
                    raise
        yield
    finally:
        if holder.is_locked:
            with suppress(OSError):
                lock.unlink()  # before the release: a process that has opened this file then takes a new one
            holder.release()
        for folder in made:
            with suppress(OSError):  # the folder is not empty
                folder.rmdir()


def _size(path: Path) -> int:
    """Return the number of bytes in a file, 0 if it is missing."""
    return path.stat().st_size if path.exists() else 0


def _try_each(
    urls: Sequence[str], path: Path, part: Path, sha256: str, timeout: float, progress: bool
) -> Sequence[str]:
    """Put the file of the first good address at `path`. If no address is good, return the reason of each address."""
    if path.is_file() and sha256_of(path) == sha256:  # another process was faster
        return []
    reasons = []
    try:
        for url in urls:
            try:
                _complete(part, url, sha256, timeout, progress)
                os.replace(part, path)
                return []
            except _MirrorError as error:
                reasons.append(f"  {url}: {error}\n")
    except OSError:  # such as a full disk: the part must not keep it full
        with suppress(OSError):
            part.unlink()
        raise
    finally:
        if not _size(part):
            part.unlink(missing_ok=True)
    return reasons


def _complete(part: Path, url: str, sha256: str, timeout: float, progress: bool) -> None:
    """Make `part`, which can have the first bytes already, the published file, and get it onto the disk."""
    if _size(part) and sha256_of(part) == sha256:
        return
    while True:
        try:
            resumed = _transfer(url, part, timeout, progress)
        except _BusyError as busy:
            if busy.seconds > _PATIENCE:
                raise
            time.sleep(busy.seconds)
            resumed = _transfer(url, part, timeout, progress)
        if (got := sha256_of(part)) == sha256:
            return
        size = _size(part)
        part.unlink()
        if not resumed:
            raise _MirrorError(f"wrong content: {size} bytes with SHA-256 {got}, expected {sha256}")


def _transfer(url: str, part: Path, timeout: float, progress: bool) -> bool:
    """Copy the file at `url` into `part`, from the end of `part` if the server can; return whether the server could."""
    import requests  # noqa: F401  (imported here, so that the import does not use up the mirror's time)
    from tqdm import tqdm

    shown = progress and (in_notebook() or (sys.stderr is not None and sys.stderr.isatty()))
    name = url.rpartition("/")[2]
    with (
        open(part, "ab") as file,
        tqdm(desc=name, unit="B", unit_scale=True, leave=False, disable=not shown) as bar,
    ):
        offset = file.tell()
        resumed = offset > 0
        for start, total, piece in _within(timeout, _pieces(url, offset, timeout)):
            file.seek(start)
            file.truncate()
            file.write(piece)
            resumed = resumed and start >= offset
            bar.total = total
            bar.update(start + len(piece) - bar.n)
        file.flush()
        os.fsync(file.fileno())
    return resumed


def _within(timeout: float, items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield the items. Wait for each item at most `timeout` seconds, whatever hangs."""
    import queue
    import threading

    # The time-outs of requests cover neither the name lookup nor a server that sends very slowly. So a thread does the
    # work: if the thread hangs, it can be left behind.
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


def _pieces(url: str, start: int, timeout: float) -> Iterator[tuple[int, int | None, bytes]]:
    """Yield the pieces of the file at `url`, from byte `start` on if the server can do so, otherwise from byte 0.

    Each piece comes with the position of its first byte and with the size of the whole file, or None if the size is
    unknown. The last piece is empty. Every failure of the network or the server is raised as a _MirrorError.
    """
    import requests
    from urllib3.exceptions import HTTPError

    # Some servers declare a .gz as gzipped for the transfer only, and then it would arrive unpacked. So ask for
    # "identity", and do not decode.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        # This time-out only ends a thread that was left behind. It is doubled, so that `_within` always ends first.
        with requests.get(url, stream=True, timeout=2 * timeout, headers=headers) as response:
            cannot_resume = start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            if cannot_resume and response.status_code in (206, 416):
                yield from _pieces(url, 0, timeout)
                return
            if response.status_code != (206 if start and not cannot_resume else 200):
                raise _refusal(response)
            position = 0 if cannot_resume else start
            left = response.raw.length_remaining
            total = None if left is None else position + left
            while True:
                piece = response.raw.read(_PIECE, decode_content=False)
                yield position, total, piece
                if not piece:
                    return
                position += len(piece)
                if position > _LARGEST:
                    raise _MirrorError(f"it sends more than {_LARGEST:,} bytes, and no published file is as long")
    except (OSError, HTTPError, ValueError) as error:  # requests raises OSErrors, and ValueError for a bad redirect
        raise _MirrorError(_words(error)) from error


def _refusal(response: requests.Response) -> _MirrorError:
    """Return the error for a response that is not the file."""
    status = f"HTTP {response.status_code} {response.reason}"
    wait = response.headers.get("Retry-After", "")
    if response.status_code in (429, 503) and wait.isdecimal():  # otherwise the header is a date or missing
        return _BusyError(status, int(wait))
    return _MirrorError(status)


def _words(error: Exception) -> str:
    """Return the first cause of a network error in plain words."""
    import socket
    import ssl
    from http.client import HTTPException, IncompleteRead

    import requests

    root: BaseException = error
    cause = error.__cause__ or error.__context__
    while cause:
        if isinstance(cause, (OSError, HTTPException)):  # in urllib3 before 2, the first cause is its own TypeError
            root = cause
        cause = cause.__cause__ or cause.__context__
    plain: dict[type | tuple[type, ...], str] = {
        requests.TooManyRedirects: "too many redirects",
        socket.gaierror: "the server's name does not resolve",
        ConnectionRefusedError: "the server refused the connection",
        (ConnectionError, IncompleteRead): "the server closed the connection too early",
    }
    words = next((words for kind, words in plain.items() if isinstance(root, kind)), str(root) or type(root).__name__)
    if isinstance(root, ssl.SSLCertVerificationError):
        words = f"the server's certificate is not valid: {root.verify_message}"
    if isinstance(error, requests.exceptions.ProxyError):
        words = f"the proxy that the environment names (https_proxy, http_proxy or all_proxy) failed: {words}"
    return words
