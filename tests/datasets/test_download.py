"""numnet.datasets.download, against a real web server."""

import gzip
import hashlib
import io
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tqdm
from filelock import FileLock

from numnet.datasets import DownloadError, download
from numnet.datasets.download import fetch

from .. import kill_download

BODY = bytes(range(256)) * 400
SHA256 = hashlib.sha256(BODY).hexdigest()
NAME = "data-idx3-ubyte.gz"
PART = f"{NAME}.part"
LOCK = f"{NAME}.lock"
REMEDY = "To provide the file by hand, put it in the folder."
Answer = Callable[[BaseHTTPRequestHandler], None]


def files_below(folder: Path) -> list[str]:
    """Return the names of all files below a folder, temporary ones included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return all that is below a folder: the contents of files, and None for folders."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


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
    server.folder = folder
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


def drip(request: BaseHTTPRequestHandler) -> None:
    """Send a quarter of the file, then byte by byte."""
    send(BODY[: len(BODY) // 4], Content_Length=len(BODY))(request)
    for byte in BODY[len(BODY) // 4 :]:
        if request.server.over.wait(0.05):  # type: ignore[attr-defined]
            return
        request.wfile.write(bytes([byte]))


def wait_for_some(folder: Path) -> None:
    """Wait until a part of the file is in the folder."""
    deadline = time.monotonic() + 5
    while not ((folder / PART).exists() and (folder / PART).stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)


def reset(request: BaseHTTPRequestHandler) -> None:
    """Send half of the file, and reset the connection when some of it has arrived."""
    send(BODY[: len(BODY) // 2], Content_Length=len(BODY))(request)
    wait_for_some(request.server.folder)  # type: ignore[attr-defined]
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(request.connection.detach())


def ranged(request: BaseHTTPRequestHandler) -> None:
    """Send the file, or the end of it that is asked for."""
    start = int((request.headers.get("Range") or "bytes=0-")[6:-1])
    if start >= len(BODY):
        send(b"", 416, Content_Range=f"bytes */{len(BODY)}")(request)
    elif start:
        send(BODY[start:], 206, Content_Range=f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")(request)
    else:
        send(BODY)(request)


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


@pytest.mark.parametrize("wrong", [BODY[::-1], BODY[:-1], b""], ids=["wrong", "short", "empty"])
def test_more_than_content_length_announces_is_not_read(server: Any, tmp_path: Path, wrong: bytes) -> None:
    server.answers[f"/one/{NAME}"] = send(BODY + wrong, Content_Length=len(BODY))
    assert get(server, tmp_path, "one").read_bytes() == BODY


TOO_LATE = r"time-out: .* came in 0\.3 s"
CLOSED = "the server closed the connection too early"
FAILURES = {
    "the server answers 403": (send(b"", 403), 5, "HTTP 403 Forbidden"),
    "the server answers 404": (send(b"gone", 404), 5, "HTTP 404 Not Found"),
    "the server answers 500": (send(b"oh", 500), 5, "HTTP 500 Internal Server Error"),
    "the server answers 503, try again in 2 minutes": (
        send(b"", 503, Retry_After=120),
        5,
        "HTTP 503 Service Unavailable, which asks to try again in 120 s",
    ),
    "the server answers 503, try again on a date": (
        send(b"", 503, Retry_After="Fri, 31 Dec 1999 23:59:59 GMT"),
        5,
        "HTTP 503 Service Unavailable",
    ),
    "the server answers 206 to a request for the whole file": (send(BODY, 206), 5, "HTTP 206 Partial Content"),
    "the server hangs up": (hang_up, 5, CLOSED),
    "the connection is reset in mid-body": (reset, 5, CLOSED),
    "the body is shorter than Content-Length": (send(BODY[:-10], Content_Length=len(BODY)), 5, CLOSED),
    "the body is longer than Content-Length, which is too small": (
        send(BODY, Content_Length=50000),
        5,
        f"wrong content: 50000 bytes .*expected {SHA256}",
    ),
    "the body is empty": (send(b""), 5, "wrong content: 0 bytes"),
    "an HTML error page with status 200": (
        send(b"<html>Log in</html>", Content_Type="text/html"),
        5,
        f"wrong content: 19 bytes .*expected {SHA256}",
    ),
    "right size, wrong bytes": (
        send(BODY[::-1]),
        5,
        f"wrong content: 102400 bytes with SHA-256 {hashlib.sha256(BODY[::-1]).hexdigest()}",
    ),
    "the server sends nothing": (stall, 0.3, TOO_LATE),
    "the server stalls in mid-body": (stall_halfway, 0.3, TOO_LATE),
    "the server drips the header": (trickle, 0.3, TOO_LATE),
    "the server drips the body": (drip, 0.3, TOO_LATE),
    "redirects in a circle": (send(b"", 302, Location=f"/bad/{NAME}"), 5, "too many redirects"),
    "a redirect to nonsense": (send(b"", 302, Location="http://["), 5, "Invalid IPv6 URL"),
    "a redirect to a file": (send(b"", 302, Location="file:///etc/hostname"), 5, "No connection adapters"),
}


def check_the_rest(folder: Path, killed: bool = False) -> None:
    """Check that nothing but the file's first bytes is left, and after a kill a lock that nobody has."""
    assert set(files_below(folder)) - {PART} <= ({LOCK} if killed else set())
    if (folder / PART).exists():
        assert (folder / PART).stat().st_size > 0
        assert BODY.startswith((folder / PART).read_bytes())
    with FileLock(folder / LOCK, timeout=0):
        pass


@pytest.mark.parametrize("failure", FAILURES)
def test_a_mirror_that_fails_leaves_its_reason(server: Any, tmp_path: Path, failure: str, fault: Any) -> None:
    answer, timeout, reason = FAILURES[failure]
    server.answers[f"/bad/{NAME}"] = answer
    start = time.monotonic()
    with pytest.raises(DownloadError, match=f"(?s){NAME} could not.*/bad/{NAME}: .*({reason}).*\n{REMEDY}") as info:
        get(server, tmp_path, "bad", timeout=timeout)
    assert time.monotonic() - start < 3
    assert (tmp_path / PART).exists() == (failure in PARTIAL)
    fault("Download", failure, info.value, tmp_path)
    check_the_rest(tmp_path)
    server.answers[f"/bad/{NAME}"] = BODY
    get(server, tmp_path, "bad")
    assert (tmp_path / NAME).read_bytes() == BODY
    assert files_below(tmp_path) == [NAME]


# What is there before a download, below the folder that it begins in.
BEFORE: dict[str, dict[str, bytes | None]] = {
    "no folder": {},
    "its parent": {"a": None},
    "the folder": {"a": None, "a/b": None},
    "other files": {"a": None, "a/b": None, "a/b/mine": b"mine", "a/b/empty": None, "other": b""},
    "the first bytes": {"a": None, "a/b": None, f"a/b/{PART}": BODY[:40_000]},
    "another file": {"a": None, "a/b": None, f"a/b/{NAME}": b"old"},
}


def plant(folder: Path, before: dict[str, bytes | None]) -> None:
    """Make these folders and files below a folder."""
    for name, content in before.items():
        if content is None:
            (folder / name).mkdir(parents=True)
        else:
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("failure", FAILURES)
def test_after_a_failure_there_is_what_was_there_before(server: Any, tmp_path: Path, failure: str) -> None:
    answer, timeout, _ = FAILURES[failure]
    server.answers[f"/bad/{NAME}"] = answer
    for state, before in BEFORE.items() if timeout > 1 else [("no folder", BEFORE["no folder"])]:
        work = tmp_path / state
        work.mkdir()
        plant(work, before)
        with pytest.raises(DownloadError):
            get(server, work / "a" / "b", "bad", timeout=timeout)
        after = tree(work)
        part = after.pop(f"a/b/{PART}", None)
        assert (part is not None) == (failure in PARTIAL or (state == "the first bytes" and not came(failure)))
        if part is not None:
            assert part
            assert BODY.startswith(part)
            before = {**before, "a": None, "a/b": None}
        assert after == {name: content for name, content in before.items() if not name.endswith(PART)}, state


def came(failure: str) -> bool:
    """Whether the server has sent a file, to its end, and of wrong content."""
    return "wrong content" in FAILURES[failure][2]


PARTIAL = [
    "the connection is reset in mid-body",
    "the body is shorter than Content-Length",
    "the server stalls in mid-body",
    "the server drips the body",
]


@pytest.mark.parametrize(
    ("failure", "good"),
    [
        pytest.param(failure, good, id=f"{name}-{failure}", marks=[pytest.mark.slow] * (timeout < 1))
        for failure, (_, timeout, _) in FAILURES.items()
        for good, name in ((send(BODY), "whole"), (ranged, "ranged"))
    ],
)
def test_the_next_mirror_helps(server: Any, tmp_path: Path, failure: str, good: Answer) -> None:
    answer, timeout, _ = FAILURES[failure]
    server.answers = {f"/bad/{NAME}": answer, f"/good/{NAME}": good}
    get(server, tmp_path, "bad", "good", timeout=max(timeout, 1))
    assert (tmp_path / NAME).read_bytes() == BODY
    assert files_below(tmp_path) == [NAME]
    assert [server.asked[0], server.asked[-1]] == [f"/bad/{NAME}", f"/good/{NAME}"]
    assert (server.ranges[-1] is not None) == (failure in PARTIAL)


@pytest.mark.slow
@pytest.mark.parametrize("again", [BODY, send(b"", 503, Retry_After=1)], ids=["then well", "then busy"])
def test_a_server_that_is_busy_for_a_moment_is_asked_once_more(
    server: Any, tmp_path: Path, again: bytes | Answer, fault: Any
) -> None:
    def busy(request: BaseHTTPRequestHandler) -> None:
        server.answers[f"/busy/{NAME}"] = again
        send(b"", 503, Retry_After=1)(request)

    server.answers = {f"/busy/{NAME}": busy}
    start = time.monotonic()
    if again == BODY:
        get(server, tmp_path, "busy")
        assert files_below(tmp_path) == [NAME]
        fault("Download", "the server answers 503, try again in 1 s, and then is well", "nothing: it waits", tmp_path)
    else:
        with pytest.raises(DownloadError, match="HTTP 503 Service Unavailable, which asks to try again in 1 s") as info:
            get(server, tmp_path, "busy")
        check_the_rest(tmp_path)
        fault("Download", "the server answers 503, try again in 1 s, twice", info.value, tmp_path)
    assert 1 <= time.monotonic() - start < 3
    assert server.asked == [f"/busy/{NAME}"] * 2


@pytest.mark.parametrize("status", [403, 404, 429, 500, 503])
@pytest.mark.parametrize("again", [BODY, None], ids=["then well", "then the same"])
def test_only_a_server_that_is_busy_is_asked_once_more(
    server: Any, tmp_path: Path, status: int, again: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)

    def refuse(request: BaseHTTPRequestHandler) -> None:
        server.answers[f"/one/{NAME}"] = again or refuse
        send(b"", status, Retry_After=3)(request)

    server.answers[f"/one/{NAME}"] = refuse
    busy = status in (429, 503)
    if busy and again:
        assert get(server, tmp_path, "one").read_bytes() == BODY
    else:
        reason = ", which asks to try again in 3 s" if busy else ""
        with pytest.raises(DownloadError, match=f"HTTP {status} [A-Za-z ]+{reason}\n"):
            get(server, tmp_path, "one")
    assert server.asked == [f"/one/{NAME}"] * (2 if busy else 1)
    assert waits == ([3] if busy else [])


@pytest.mark.parametrize(("seconds", "waits"), [(0, [0]), (5, [5]), (6, [])])
def test_a_busy_server_is_waited_for_up_to_five_seconds(
    server: Any, tmp_path: Path, seconds: int, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    server.answers[f"/one/{NAME}"] = send(b"", 503, Retry_After=seconds)
    with pytest.raises(DownloadError, match=f"which asks to try again in {seconds} s\n"):
        get(server, tmp_path, "one")
    assert waited == waits


@pytest.mark.parametrize("begun", [1, 40_000, len(BODY) - 1])
def test_an_interrupted_download_goes_on_where_it_stopped(server: Any, tmp_path: Path, begun: int) -> None:
    (tmp_path / PART).write_bytes(BODY[:begun])
    server.answers[f"/one/{NAME}"] = ranged
    assert get(server, tmp_path, "one").read_bytes() == BODY
    assert server.ranges == [f"bytes={begun}-"]
    assert files_below(tmp_path) == [NAME]


def test_a_body_without_an_end_is_given_up(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numnet.datasets.download._LARGEST", len(BODY) // 2)
    server.answers[f"/one/{NAME}"] = BODY
    with pytest.raises(DownloadError, match=r"it sends more than 51,200 bytes, and no published file is as long"):
        get(server, tmp_path, "one")


@pytest.mark.parametrize("there", [NAME, PART])
def test_a_whole_part_needs_no_server(server: Any, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_bytes(BODY)
    assert get(server, tmp_path, "one").read_bytes() == BODY
    assert server.asked == []
    assert files_below(tmp_path) == [NAME]


def another_range(request: BaseHTTPRequestHandler) -> None:
    """Send another part of the file than was asked for."""
    if request.headers.get("Range"):
        send(BODY[5:], 206, Content_Range=f"bytes 5-{len(BODY) - 1}/{len(BODY)}")(request)
    else:
        send(BODY)(request)


RESUMES = {
    "the server ignores Range": (BODY[:40_000], send(BODY), 1),
    "the server sends another range": (BODY[:40_000], another_range, 2),
    "the first bytes, from before, are wrong": (b"x" * 40_000, ranged, 2),
    "the first byte, from before, is wrong": (b"x", ranged, 2),
    "the bytes from before are too many": (BODY + b"x", ranged, 2),
    "the bytes from before are as many, and wrong": (BODY[::-1], ranged, 2),
}


@pytest.mark.parametrize("resume", RESUMES)
def test_where_going_on_fails_it_starts_over(server: Any, tmp_path: Path, resume: str, fault: Any) -> None:
    begun, answer, requests = RESUMES[resume]
    (tmp_path / PART).write_bytes(begun)
    server.answers[f"/one/{NAME}"] = answer
    get(server, tmp_path, "one")
    assert (tmp_path / NAME).read_bytes() == BODY
    assert server.ranges == [f"bytes={len(begun)}-", None][:requests]
    assert files_below(tmp_path) == [NAME]
    fault("Download", f"after an interruption, {resume}", "nothing: it starts over", tmp_path)


def test_it_starts_over_once_only(server: Any, tmp_path: Path, fault: Any) -> None:
    (tmp_path / PART).write_bytes(b"x" * 40_000)

    def wrong(request: BaseHTTPRequestHandler) -> None:
        start = int((request.headers.get("Range") or "bytes=0-")[6:-1])
        send(BODY[::-1][start:], 206 if start else 200, Content_Range=f"bytes {start}-")(request)

    server.answers[f"/one/{NAME}"] = wrong
    with pytest.raises(DownloadError, match="wrong content: 102400 bytes") as info:
        get(server, tmp_path, "one")
    assert server.ranges == ["bytes=40000-", None]
    assert files_below(tmp_path) == []
    fault("Download", "after an interruption, the whole is wrong twice", info.value, tmp_path)


def test_a_whole_file_that_is_wrong_is_not_asked_for_again(server: Any, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(BODY[:40_000])
    server.answers[f"/one/{NAME}"] = BODY[::-1]  # all of it, whatever is asked for
    with pytest.raises(DownloadError, match="wrong content: 102400 bytes"):
        get(server, tmp_path, "one")
    assert server.ranges == ["bytes=40000-"]
    assert files_below(tmp_path) == []


def test_the_error_has_every_mirror_with_its_own_reason(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any
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
    fault("Download", "no mirror helps, each for its own reason", info.value, tmp_path)
    assert str(info.value).splitlines() == [
        f"{NAME} could not be downloaded; every mirror failed:",
        f"  {server.mirror('gone')}{NAME}: HTTP 404 Not Found",
        f"  {refusing}{NAME}: the server refused the connection",
        f"  http://numnet.invalid/{NAME}: the server's name does not resolve",
        REMEDY,
    ]
    assert files_below(tmp_path) == []


def test_an_error_without_words_is_told_by_its_name(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BlockingIOError

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DownloadError, match=f"invalid/{NAME}: BlockingIOError\n{REMEDY}"):
        get(server, tmp_path, "http://numnet.invalid/")


def test_a_name_lookup_that_hangs_is_given_up(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: server.over.wait(10))
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"http://numnet\.invalid/.*time-out: .* 0\.3 s"):
        get(server, tmp_path, "http://numnet.invalid/", timeout=0.3)
    assert time.monotonic() - start < 3
    assert files_below(tmp_path) == []


def test_a_program_that_ends_does_not_wait_for_a_server(server: Any, tmp_path: Path) -> None:
    waited_for = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        waited_for.extend(not thread.daemon for thread in threading.enumerate() if thread.name == "numnet download")
        send(BODY)(request)

    server.answers[f"/one/{NAME}"] = answer
    get(server, tmp_path, "one")
    assert waited_for == [False]


@pytest.mark.parametrize(
    "answer",
    [send(BODY), send(b"", 404), *(pytest.param(stalls, marks=pytest.mark.slow) for stalls in (stall, stall_halfway))],
)
def test_no_thread_stays_for_long(server: Any, tmp_path: Path, answer: Answer) -> None:
    server.answers = {f"/one/{NAME}": answer, f"/two/{NAME}": BODY}
    get(server, tmp_path, "one", "two", timeout=1)
    deadline = time.monotonic() + 5
    while (running := any(thread.name == "numnet download" for thread in threading.enumerate())) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.02)
    assert not running


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send a signal to a thread")
def test_after_an_interrupt_it_goes_on(server: Any, tmp_path: Path, fault: Any) -> None:
    def interrupt(request: BaseHTTPRequestHandler) -> None:
        send(BODY[: len(BODY) // 2], Content_Length=len(BODY))(request)
        wait_for_some(tmp_path)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        stall(request)

    server.answers[f"/one/{NAME}"] = interrupt
    with pytest.raises(KeyboardInterrupt) as info:
        get(server, tmp_path, "one", timeout=60)  # longer than the interrupt can take to come
    fault("Download", "Ctrl-C", info.value, tmp_path)
    check_the_rest(tmp_path)
    server.answers[f"/one/{NAME}"] = ranged
    get(server, tmp_path, "one")
    assert server.ranges[1] in ("bytes=16384-", "bytes=32768-", "bytes=49152-")
    assert (tmp_path / NAME).read_bytes() == BODY
    assert files_below(tmp_path) == [NAME]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send a signal to a thread")
def test_after_an_interrupt_before_the_first_byte_there_is_nothing(server: Any, tmp_path: Path) -> None:
    def interrupt(request: BaseHTTPRequestHandler) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        stall(request)

    server.answers[f"/one/{NAME}"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path / "a" / "b", "one", timeout=60)
    assert tree(tmp_path) == {}


def test_a_file_that_is_there_stays_when_the_new_one_is_bad(server: Any, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"old")
    server.answers[f"/bad/{NAME}"] = BODY[:-1]
    with pytest.raises(DownloadError):
        get(server, tmp_path, "bad")
    assert (tmp_path / NAME).read_bytes() == b"old"
    assert files_below(tmp_path) == [NAME]


def test_a_folder_that_cannot_be_written_in_is_named(server: Any, tmp_path: Path, fault: Any) -> None:
    server.answers[f"/one/{NAME}"] = BODY
    folder = tmp_path / "a file"
    folder.write_bytes(b"")
    for wrong in (folder, folder / "below"):
        with pytest.raises(DownloadError, match=f"{NAME} cannot be written in the folder .*a file.*\n{REMEDY}") as info:
            get(server, wrong, "one")
    fault("Download", "the folder is below a file", info.value, "the file, as it was")
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


def test_the_file_is_on_the_disk_before_it_has_its_name(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers[f"/one/{NAME}"] = BODY
    seen = []

    def watched(descriptor: int, to_disk: Callable[[int], None] = os.fsync) -> None:
        seen.append((files_below(tmp_path), os.fstat(descriptor).st_size))
        to_disk(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    get(server, tmp_path, "one")
    assert seen == [([LOCK, PART], len(BODY))]


TINY = f"""
import sys
from pathlib import Path
from numnet.datasets.download import fetch
fetch({NAME!r}, [sys.argv[1]], {SHA256!r}, Path(sys.argv[2]), 5, False, {REMEDY!r})
"""


def mounted(options: str, mirror: str, folder: Path) -> str:
    """Download to a small file system that is mounted at the folder; return what the user sees there."""
    mount = f"mount -t tmpfs -o {options} none {folder}"
    if sys.platform != "linux" or subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs Linux and the right to")
    script = f"{mount} && {{ {shlex.join([sys.executable, '-c', TINY, mirror, str(folder)])}; ls -A {folder}; }}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True)
    assert done.stdout == ""
    return done.stderr[done.stderr.rindex("DownloadError") :].strip()


def test_a_disk_that_fills_up_is_named_and_freed(server: Any, tmp_path: Path, fault: Any) -> None:
    server.answers = {f"/one/{NAME}": BODY}
    seen = mounted("size=64k", server.mirror("one"), tmp_path)
    assert "No space left on device" in seen
    assert seen.endswith(REMEDY)
    fault("Download", "the disk fills up", seen, "nothing")


def test_a_folder_that_is_read_only_is_named(server: Any, tmp_path: Path, fault: Any) -> None:
    server.answers = {f"/one/{NAME}": BODY}
    seen = mounted("ro", server.mirror("one"), tmp_path)
    assert "Read-only file system" in seen
    assert seen.endswith(REMEDY)
    assert server.asked == []
    fault("Download", "the folder is read-only", seen, "nothing")


def start(server: Any, folder: Path) -> subprocess.Popen[bytes]:
    """Start a process that downloads the file."""
    return subprocess.Popen([sys.executable, "-c", TINY, server.mirror("one"), str(folder)], stderr=subprocess.PIPE)


@pytest.mark.slow
def test_of_several_processes_one_downloads(server: Any, tmp_path: Path) -> None:
    def slow(request: BaseHTTPRequestHandler) -> None:
        time.sleep(1)
        send(BODY)(request)

    server.answers[f"/one/{NAME}"] = slow
    processes = [start(server, tmp_path) for _ in range(3)]
    assert [process.communicate()[1] for process in processes] == [b""] * 3
    assert server.asked == [f"/one/{NAME}"]
    assert (tmp_path / NAME).read_bytes() == BODY
    assert files_below(tmp_path) == [NAME]


def test_of_several_processes_each_one_learns_why_and_leaves_no_file(server: Any, tmp_path: Path) -> None:
    def slowly(request: BaseHTTPRequestHandler) -> None:
        time.sleep(0.5)
        send(b"", 403)(request)

    server.answers[f"/one/{NAME}"] = slowly
    processes = [start(server, tmp_path / "a" / "b") for _ in range(3)]
    for process in processes:
        assert b"HTTP 403 Forbidden" in process.communicate()[1]
    assert server.asked == [f"/one/{NAME}"] * 3
    assert files_below(tmp_path) == []  # a process cannot know which empty folders another process has made


def test_a_folder_that_another_process_has_just_removed_is_made_again_and_removed(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, removed = tmp_path / "a" / "b", []

    def acquire(lock: FileLock, real: Any = FileLock.acquire, **options: Any) -> Any:
        if not removed:
            folder.rmdir()
            removed.append(folder)
            raise FileNotFoundError(folder)  # as if the folder had gone just before the lock's file was made
        return real(lock, **options)

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.raises(DownloadError, match="HTTP 404 Not Found"):
        get(server, folder, "one")
    assert removed
    assert tree(tmp_path) == {}


def test_a_folder_that_is_removed_a_hundred_times_is_given_up(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def acquire(lock: FileLock, **options: Any) -> Any:
        tries.append(lock)
        raise FileNotFoundError(2, "No such file or directory", str(lock.lock_file))

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.raises(DownloadError, match=r"cannot be written in the folder .*No such file or directory"):
        get(server, tmp_path / "a", "one")
    assert len(tries) == 100
    assert tree(tmp_path) == {}


def test_a_lock_that_somebody_has_removed_is_missed_by_nobody(server: Any, tmp_path: Path) -> None:
    def clean(request: BaseHTTPRequestHandler) -> None:
        (tmp_path / LOCK).unlink()
        send(BODY)(request)

    server.answers[f"/one/{NAME}"] = clean
    assert get(server, tmp_path, "one").read_bytes() == BODY
    assert files_below(tmp_path) == [NAME]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's /proc takes no new folders")
def test_where_no_folder_can_be_made(server: Any) -> None:
    with pytest.raises(DownloadError, match=r"cannot be written in the folder /proc/a/b: .*No such file or directory"):
        get(server, Path("/proc/a/b"), "one")
    assert server.asked == []


HOLD = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1] + ".lock"), open(sys.argv[1] + ".part", "ab", buffering=0) as part:
    print(flush=True)
    for _ in range(int(sys.argv[2])):
        part.write(b"x")
        time.sleep(0.1)
    if sys.argv[2] == "0":
        time.sleep(60)
"""


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """Let another process hold the lock and write so many bytes; if none, it does nothing and holds it for long."""
    processes = []

    def begin(count: int) -> None:
        command = [sys.executable, "-c", HOLD, str(tmp_path / NAME), str(count)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        processes[0].stdout.readline()

    yield begin
    processes[0].kill()
    processes[0].communicate()


@pytest.mark.slow
def test_a_process_that_gets_on_is_waited_for(
    server: Any, tmp_path: Path, hold: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_PATIENCE", 0.25 - 10)  # of which twice, and twice the time-out, are waited
    server.answers[f"/one/{NAME}"] = ranged
    hold(20)
    assert get(server, tmp_path, "one", timeout=10).read_bytes() == BODY
    assert files_below(tmp_path) == [NAME]


def test_one_that_gets_on_in_another_thread_is_waited_for(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_PATIENCE", 0.03 - 10)  # of which twice, and twice the time-out, are waited
    server.answers[f"/one/{NAME}"] = ranged
    lock = FileLock(tmp_path / LOCK, thread_local=False)
    lock.acquire()

    def write() -> None:
        with open(tmp_path / PART, "ab", buffering=0) as part:
            end = time.monotonic() + 0.15
            while time.monotonic() < end:
                part.write(b"x")
                time.sleep(0.001)
        lock.release()

    threading.Thread(target=write).start()
    assert get(server, tmp_path, "one", timeout=10).read_bytes() == BODY
    assert files_below(tmp_path) == [NAME]


def test_a_process_that_does_not_get_on_is_named(
    server: Any, tmp_path: Path, hold: Any, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    monkeypatch.setattr(download, "_PATIENCE", 0.05)
    hold(0)
    with pytest.raises(DownloadError, match=f"(?s){NAME} is being .* no progress in 0.5 s. Wait.*\n{REMEDY}") as info:
        get(server, tmp_path, "one", timeout=0.2)
    assert server.asked == []
    assert (tmp_path / LOCK).exists()  # it is the other process's
    fault("Download", "another process has the download, and is suspended", info.value, "what that process left")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_after_a_kill_another_process_goes_on(server: Any, tmp_path: Path, fault: Any) -> None:
    server.answers[f"/one/{NAME}"] = stall_halfway
    killed = start(server, tmp_path)
    while not (tmp_path / PART).exists() or (tmp_path / PART).stat().st_size < 49152:
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    check_the_rest(tmp_path, killed=True)
    fault("Download", "the process is killed", "nothing: the next run goes on", tmp_path)
    server.answers[f"/one/{NAME}"] = ranged
    get(server, tmp_path, "one")
    assert server.ranges == [None, "bytes=49152-"]
    assert (tmp_path / NAME).read_bytes() == BODY
    assert files_below(tmp_path) == [NAME]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_kills_at_random_moments(tmp_path: Path) -> None:
    assert sum(kill_download.run(5, tmp_path, seed=0).values()) == 5


def test_a_proxy_from_the_environment_is_used(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy is asked for whole addresses; this one has the answers itself, as its name leads nowhere.
    server.answers[f"http://numnet.invalid/{NAME}"] = BODY
    monkeypatch.setenv("http_proxy", server.mirror(""))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name)
    assert get(server, tmp_path, "http://numnet.invalid/").read_bytes() == BODY
    assert server.asked == [f"http://numnet.invalid/{NAME}"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_fails_is_named(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, fault: Any
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{unused.getsockname()[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name)
        with pytest.raises(DownloadError, match=r"the proxy .* failed: the server refused the connection") as info:
            get(server, tmp_path, f"{scheme}://numnet.invalid/")
    fault("Download", f"the proxy for {scheme} refuses the connection", info.value, tmp_path)


@pytest.fixture
def secure(server: Any, tmp_path: Path) -> str:
    """Return a mirror with a certificate that nobody vouches for; the certificate is in `server.certificate`."""
    if not shutil.which("openssl"):
        pytest.skip("making a certificate needs the openssl command")
    key, server.certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    options = [
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
    ]
    command = ["openssl", "req", *options, "-keyout", str(key), "-out", str(server.certificate)]
    subprocess.run(command, capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.answers[f"/one/{NAME}"] = BODY
    return server.mirror("one").replace("http://127.0.0.1", "https://localhost")


def test_a_certificate_that_nobody_vouches_for_is_refused(server: Any, secure: str, tmp_path: Path, fault: Any) -> None:
    folder = tmp_path / "here"
    with pytest.raises(DownloadError, match=f"{NAME}: the server's certificate is not valid: self.signed") as info:
        get(server, folder, secure)
    assert server.asked == []
    fault("Download", "a certificate that nobody vouches for", info.value, folder)


def test_a_certificate_that_the_user_vouches_for_is_taken(
    server: Any, secure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
    assert get(server, tmp_path / "here", secure).read_bytes() == BODY


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


@pytest.mark.parametrize("begun", [0, 40_000])
@pytest.mark.parametrize("known", [True, False])
def test_the_bar_has_the_name_and_how_much_is_there(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: int, known: bool
) -> None:
    server.answers[f"/one/{NAME}"] = ranged if known else chunked
    (tmp_path / PART).write_bytes(BODY[:begun])
    error = Terminal()
    monkeypatch.setattr(sys, "stderr", error)
    monkeypatch.setattr(tqdm, "tqdm", partial(tqdm.tqdm, mininterval=0, miniters=0, ncols=100))  # draws every piece
    get(server, tmp_path, "one")
    start = begun if known else 0  # in chunks, the file comes from its beginning
    counts = [f"{count / 1000:.3g}k" for count in (*range(start + 16384, len(BODY), 16384), len(BODY))]
    *drawn, wiped = error.getvalue().strip("\r").split("\r")
    assert not wiped.strip()
    assert "\n" not in error.getvalue()
    for line, count in zip(drawn[1:], [*counts, counts[-1]], strict=True):
        assert re.fullmatch(rf"{NAME}: .*{count}{'/102k' if known else 'B'} \[.*[\d.]+[kM]?B/s\]", line.strip())


@pytest.mark.parametrize("progress", [True, False])
def test_in_a_notebook_the_bar_is_shown(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progress: bool
) -> None:
    IPython = pytest.importorskip("IPython")  # noqa: N806
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    error = io.StringIO()
    monkeypatch.setattr(sys, "stderr", error)
    server.answers[f"/one/{NAME}"] = BODY
    get(server, tmp_path, "one", progress=progress)
    assert (NAME in error.getvalue()) == progress


def test_no_standard_error_at_all(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers[f"/one/{NAME}"] = BODY
    monkeypatch.setattr(sys, "stderr", None)
    assert get(server, tmp_path, "one").read_bytes() == BODY


def test_a_gzipped_file_arrives_gzipped(server: Any, tmp_path: Path) -> None:
    packed = gzip.compress(BODY)
    server.answers[f"/one/{NAME}"] = send(packed, Content_Encoding="gzip")
    sha256 = hashlib.sha256(packed).hexdigest()
    assert fetch(NAME, [server.mirror("one")], sha256, tmp_path, 5, False, REMEDY).read_bytes() == packed
