"""A small fake engine that speaks the API over a real socket, and the program run against it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import socketserver
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sampan.cli.main import main as program

PROGRAM = [sys.executable, "-c", "import sys; from sampan.cli.main import main; sys.exit(main())"]
API_VERSION = "1.48"


@dataclass
class Request:
    """One request as received; `hijack` answers it and returns the raw streams."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    handler: BaseHTTPRequestHandler

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def hijack(self, content_type: str = "application/vnd.docker.multiplexed-stream") -> tuple[Any, Any]:
        head = f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        self.handler.wfile.write(head.encode())
        self.handler.wfile.flush()
        return self.handler.rfile, self.handler.wfile


@dataclass
class Answer:
    """A status and a body: bytes, an iterator (sent chunked as it yields), or else JSON."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Route = Callable[[Request], Any]


class FakeEngine:
    """Routes by method and a pattern for the unversioned path; every request is kept in `requests`."""

    def __init__(self, path: Path) -> None:
        self.host = f"unix://{path}"
        self.requests: list[Request] = []
        self._routes: list[tuple[str, re.Pattern[str], Route]] = []
        self.on("GET", "/_ping", lambda _: Answer(b"OK", headers={"Api-Version": API_VERSION, "Ostype": "linux"}))

    def on(self, method: str, pattern: str, answer: Any) -> None:
        """Answer requests whose whole path matches; later routes win. `answer` may be a function of the request."""
        self._routes.insert(0, (method, re.compile(pattern), answer if callable(answer) else lambda _: answer))

    def answer(self, request: Request) -> Any:
        self.requests.append(request)
        for method, pattern, route in self._routes:
            if method == request.method and pattern.fullmatch(request.path):
                return route(request)
        return Answer({"message": f"page not found: {request.path}"}, 404)

    def request(self, method: str, pattern: str) -> Request:
        """The only matching request."""
        found = [
            request for request in self.requests if request.method == method and re.fullmatch(pattern, request.path)
        ]
        assert len(found) == 1, [f"{request.method} {request.path}" for request in self.requests]
        return found[0]


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False


def _handler(engine: FakeEngine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):  # the program leaves once it has seen an error
                super().handle()

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            path = re.sub(r"^/v1\.\d+(?=/)", "", parts.path)
            self.versioned = parts.path != path
            request = Request(self.command, path, parse_qs(parts.query), self._read_body(), self)
            answer = engine.answer(request)
            if answer is not None:
                self._send(answer if isinstance(answer, Answer) else Answer(answer))

        do_GET = do_POST = do_DELETE = do_PUT = handle_any  # noqa: N815

        def _read_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _send(self, answer: Answer) -> None:
            body, plain = answer.body, isinstance(answer.body, bytes)
            self.send_response(answer.status)
            if not plain and not isinstance(body, Iterator):
                body = b"" if body is None else json.dumps(body).encode()
            self.send_header("Content-Type", "text/plain" if plain else "application/json")
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if isinstance(body, bytes):
                if answer.status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if body:
                    self.wfile.write(body)
                return
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.flush()
            for piece in body:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing: the tests look at `requests`."""

    return Handler


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    """A running fake engine, with the environment pointing at it."""
    for name in ("SAMPAN_HOST", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION"):
        monkeypatch.delenv(name, raising=False)
    fake = FakeEngine(tmp_path / "engine.sock")
    monkeypatch.setenv("DOCKER_HOST", fake.host)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    with _Server(str(tmp_path / "engine.sock"), _handler(fake)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        server.shutdown()
        thread.join()


@dataclass
class Outcome:
    """The result of running the program."""

    status: int
    out: str
    err: str


@pytest.fixture
def sampan() -> Callable[..., Outcome]:
    """Run the program in its own process: `sampan("ps", "-a", stdin=b"")`."""

    def run(*argv: str, stdin: bytes = b"") -> Outcome:
        done = subprocess.run(
            [*PROGRAM, *argv], input=stdin, capture_output=True, timeout=60, check=False, env=dict(os.environ)
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def main(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the program in this process: faster, for commands that read no stdin."""

    def run(*argv: str) -> Outcome:
        status = program(list(argv))
        out, err = capfd.readouterr()
        return Outcome(status, out, err)

    return run


# Makes the pty the controlling terminal, so that the kernel sends SIGWINCH on a resize.
ON_TERMINAL = [
    sys.executable,
    "-c",
    "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "from sampan.cli.main import main; sys.exit(main())",
]


class Terminal:
    """The program on a pseudo-terminal of 33 rows and 101 columns."""

    def __init__(self, *argv: str) -> None:
        self._master, slave = pty.openpty()
        self.resize(33, 101)
        self._program = subprocess.Popen(
            [*ON_TERMINAL, *argv], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self._seen = b""

    def until(self, text: bytes) -> None:
        """Read until `text` has appeared."""
        while text not in self._seen:
            ready, _, _ = select.select([self._master], [], [], 30)
            assert ready, self._seen
            self._seen += os.read(self._master, 4096)

    def type(self, text: bytes) -> None:
        os.write(self._master, text)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self) -> tuple[int, bytes]:
        """Wait for the exit, and return the status and all output."""
        try:
            while content := os.read(self._master, 4096):
                self._seen += content
        except OSError:
            pass  # EIO: the program has closed its side
        os.close(self._master)
        return self._program.wait(30), self._seen
