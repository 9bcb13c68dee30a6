"""numnet.datasets.download, against a real web server."""

import gzip
import hashlib
import io
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from numnet.datasets import DownloadError
from numnet.datasets.download import fetch

BODY = bytes(range(256)) * 400
SHA256 = hashlib.sha256(BODY).hexdigest()
NAME = "data-idx3-ubyte.gz"
REMEDY = "Ask a friend for the file."
Answer = Callable[[BaseHTTPRequestHandler], None]


def files_below(folder: Path) -> list[str]:
    """Return the names of all files below a folder, temporary ones included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def send(body: bytes, status: int = 200, **headers: object) -> Answer:
    """Answer with these bytes; a header given here replaces the usual one."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in ({"Content_Length": len(body)} | headers).items():
            request.send_header(name.replace("_", "-"), str(value))
        request.end_headers()
        request.wfile.write(body)

    return answer


def get(server: Any, folder: Path, *mirrors: str, timeout: float = 5.0, progress: bool = True) -> Path:
    """Fetch the file from these mirrors of the server, or from this address where it is one."""
    addresses = [mirror if ":" in mirror else server.mirror(mirror) for mirror in mirrors]
    return fetch(NAME, addresses, SHA256, folder, timeout, progress, REMEDY)


def trickle(request: BaseHTTPRequestHandler) -> None:
    """Send a header that never ends, byte by byte."""
    request.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
    while not request.server.over.wait(0.05):  # type: ignore[attr-defined]
        request.wfile.write(b"z")


def stall(request: BaseHTTPRequestHandler) -> None:
    """Send nothing at all."""
    request.server.over.wait(10)  # type: ignore[attr-defined]


def stall_halfway(request: BaseHTTPRequestHandler) -> None:
    """Send half of the file, then nothing."""
    send(BODY[: len(BODY) // 2], Content_Length=len(BODY))(request)
    request.server.over.wait(10)  # type: ignore[attr-defined]


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""


def chunked(request: BaseHTTPRequestHandler) -> None:
    """Send the file in chunks, its size unknown, as HTTP/1.1 allows."""
    request.protocol_version = "HTTP/1.1"
    request.close_connection = True
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    for start in range(0, len(BODY), 5000):
        piece = BODY[start : start + 5000]
        request.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    request.wfile.write(b"0\r\n\r\n")


def negotiated(request: BaseHTTPRequestHandler) -> None:
    """Send the file compressed on the way, to a client that accepts it."""
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        send(gzip.compress(BODY), Content_Encoding="gzip")(request)
    else:
        send(BODY)(request)


@pytest.mark.parametrize(
    "answer",
    [
        send(BODY),
        chunked,
        negotiated,
        send(BODY, Content_Encoding="x-gzip"),  # as Apache labels a .gz; it must not be unpacked for it
        send(b"", 302, Location=f"/elsewhere/{NAME}"),
    ],
    ids=["plain", "chunked", "negotiated", "labelled", "redirected"],
)
def test_the_file_is_there_and_nothing_else(server: Any, tmp_path: Path, answer: Answer) -> None:
    folder = tmp_path / "made" / "on demand"
    server.answers = {f"/one/{NAME}": answer, f"/elsewhere/{NAME}": BODY}
    assert get(server, folder, "one", "never") == folder / NAME
    assert (folder / NAME).read_bytes() == BODY
    assert files_below(tmp_path) == [os.path.join("made", "on demand", NAME)]
    assert f"/never/{NAME}" not in server.asked


FAILURES = [
    pytest.param(send(b"gone", 404), 5, "HTTP 404 Not Found", id="404"),
    pytest.param(send(b"", 403), 5, "HTTP 403 Forbidden", id="403"),
    pytest.param(
        send(BODY[::-1]), 5, f"102400 bytes with SHA-256 {hashlib.sha256(BODY[::-1]).hexdigest()}", id="wrong"
    ),
    pytest.param(send(b"<html>Log in</html>", Content_Type="text/html"), 5, f"19 bytes .*expected {SHA256}", id="page"),
    pytest.param(send(b""), 5, "wrong content: 0 bytes", id="empty"),
    pytest.param(send(BODY[:-10], Content_Length=len(BODY)), 5, "IncompleteRead|wrong content: 102390 bytes", id="cut"),
    pytest.param(hang_up, 5, "closed connection without response", id="hang-up"),
    pytest.param(stall, 0.3, r"time-out: .* came in 0\.3 s", id="stall"),
    pytest.param(stall_halfway, 0.3, r"time-out: .* came in 0\.3 s", id="stall-halfway"),
    pytest.param(trickle, 0.3, r"time-out: .* came in 0\.3 s", id="trickle"),
]


@pytest.mark.parametrize(("answer", "timeout", "reason"), FAILURES)
def test_a_mirror_that_fails_leaves_nothing_but_its_reason(
    server: Any, tmp_path: Path, answer: Answer, timeout: float, reason: str
) -> None:
    server.answers[f"/bad/{NAME}"] = answer
    start = time.monotonic()
    with pytest.raises(DownloadError, match=f"(?s){NAME} could not.*/bad/{NAME}: .*({reason}).*\n{REMEDY}"):
        get(server, tmp_path, "bad", timeout=timeout)
    assert time.monotonic() - start < 3
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(("answer", "timeout", "reason"), FAILURES)
def test_the_next_mirror_helps(server: Any, tmp_path: Path, answer: Answer, timeout: float, reason: str) -> None:
    server.answers = {f"/bad/{NAME}": answer, f"/good/{NAME}": BODY}
    get(server, tmp_path, "bad", "good", timeout=max(timeout, 1))
    assert (tmp_path / NAME).read_bytes() == BODY
    assert files_below(tmp_path) == [NAME]
    assert server.asked == [f"/bad/{NAME}", f"/good/{NAME}"]


def test_the_error_has_every_mirror_with_its_own_reason(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookup = socket.getaddrinfo

    def no_such_name(host: str, *rest: object, **options: object) -> object:
        if host == "numnet.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return lookup(host, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        try:
            raise LookupError("the caller's own trouble, which is not the mirrors'")
        except LookupError:
            with pytest.raises(DownloadError) as info:
                get(server, tmp_path, "gone", refusing, "http://numnet.invalid/")
    assert str(info.value).splitlines() == [
        f"{NAME} could not be downloaded; every mirror failed:",
        f"  {server.mirror('gone')}{NAME}: HTTP 404 Not Found",
        f"  {refusing}{NAME}: the server refused the connection",
        f"  http://numnet.invalid/{NAME}: the server's name does not resolve",
        REMEDY,
    ]
    assert files_below(tmp_path) == []


def test_a_name_lookup_that_hangs_is_given_up(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: server.over.wait(10))
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"http://numnet\.invalid/.*time-out: .* 0\.3 s"):
        get(server, tmp_path, "http://numnet.invalid/", timeout=0.3)
    assert time.monotonic() - start < 3
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("answer", [send(BODY), send(b"", 404), stall, stall_halfway])
def test_no_thread_stays_for_long(server: Any, tmp_path: Path, answer: Answer) -> None:
    server.answers = {f"/one/{NAME}": answer, f"/two/{NAME}": BODY}
    get(server, tmp_path, "one", "two", timeout=0.3)
    deadline = time.monotonic() + 3
    while (running := any(thread.name == "numnet download" for thread in threading.enumerate())) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.02)
    assert not running


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send a signal to a thread")
def test_an_interrupt_leaves_nothing(server: Any, tmp_path: Path) -> None:
    def interrupt(request: BaseHTTPRequestHandler) -> None:
        send(BODY[: len(BODY) // 2], Content_Length=len(BODY))(request)
        deadline = time.monotonic() + 5
        while not files_below(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        stall(request)

    server.answers[f"/one/{NAME}"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path, "one")
    assert files_below(tmp_path) == []


def test_a_file_that_is_there_stays_when_the_new_one_is_bad(server: Any, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"old")
    server.answers[f"/bad/{NAME}"] = BODY[:-1]
    with pytest.raises(DownloadError):
        get(server, tmp_path, "bad")
    assert (tmp_path / NAME).read_bytes() == b"old"
    assert files_below(tmp_path) == [NAME]


def test_a_folder_that_cannot_be_written_in_is_named(server: Any, tmp_path: Path) -> None:
    server.answers[f"/one/{NAME}"] = BODY
    folder = tmp_path / "a file"
    folder.write_bytes(b"")
    for wrong in (folder, folder / "below"):
        with pytest.raises(DownloadError, match=f"{NAME} cannot be written in the folder .*a file.*\n{REMEDY}"):
            get(server, wrong, "one")
    assert files_below(tmp_path) == ["a file"]


def test_a_full_disk_is_not_blamed_on_the_mirrors(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers[f"/one/{NAME}"] = BODY

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DownloadError, match=f"cannot be written in the folder .*No space left on device.*\n{REMEDY}"):
        get(server, tmp_path, "one", "two")
    assert server.asked == [f"/one/{NAME}"]
    assert files_below(tmp_path) == []


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_is_shown_only_on_a_terminal_and_when_asked_for(
    server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    terminal: bool,
    progress: bool,
) -> None:
    server.answers[f"/one/{NAME}"] = BODY
    error = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", error)
    get(server, tmp_path, "one", progress=progress)
    assert (NAME in error.getvalue()) == (terminal and progress)
    assert error.getvalue() == "" or (terminal and progress)
    assert capfd.readouterr() == ("", "")


def test_no_standard_error_at_all(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers[f"/one/{NAME}"] = BODY
    monkeypatch.setattr(sys, "stderr", None)
    assert get(server, tmp_path, "one").read_bytes() == BODY


def test_a_gzipped_file_arrives_gzipped(server: Any, tmp_path: Path) -> None:
    packed = gzip.compress(BODY)
    server.answers[f"/one/{NAME}"] = send(packed, Content_Encoding="gzip")
    sha256 = hashlib.sha256(packed).hexdigest()
    assert fetch(NAME, [server.mirror("one")], sha256, tmp_path, 5, False, REMEDY).read_bytes() == packed
