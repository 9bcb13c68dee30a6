"""A real web server on loopback that answers each path as a test says."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Server(ThreadingHTTPServer):
    """Answers the paths in `answers`, with bytes or by a function; `asked` and `ranges` have what was asked for."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        self.answers: dict[str, bytes | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []
        self.ranges: list[str | None] = []
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), Request)

    def mirror(self, name: str) -> str:
        """Return the address of a mirror on this server."""
        return f"http://127.0.0.1:{self.server_port}/{name}/"

    def handle_error(self, *_: object) -> None:
        """Stay silent when a client goes away."""


class Request(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        """Answer as the test says; 404 to what it does not mention."""
        self.server.asked.append(self.path)
        self.server.ranges.append(self.headers.get("Range"))
        answer = self.server.answers.get(self.path)
        if answer is None:
            self.send_error(404)
        elif isinstance(answer, bytes):
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        else:
            answer(self)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run a server; proxies in the environment do not come between."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*")
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()
