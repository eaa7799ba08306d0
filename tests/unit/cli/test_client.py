"""HTTP and the client: framing, negotiation, errors, addresses."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.cli.client.client import API_VERSION, Client
from sampan.cli.client.endpoint import Endpoint, endpoint
from sampan.cli.client.frames import Demultiplexer
from sampan.cli.client.http import ProtocolError, Response
from sampan.cli.command import parse_flags
from sampan.cli.errors import CliError, ConnectionFailed, DaemonError
from sampan.cli.main import GLOBAL_FLAGS
from tests.unit.cli.conftest import Answer, FakeEngine


class Pieces:
    """A connection that delivers `content` in pieces of `size` bytes."""

    def __init__(self, content: bytes, size: int) -> None:
        self._pieces = [content[at : at + size] for at in range(0, len(content), size)]
        self.closed = False

    def receive(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello\nworldEXTRA",
        b"HTTP/1.1 200 OK\r\n\r\nhello\nworld",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n6;x=y\r\n\nworld\r\n0\r\nTrailer: x\r\n\r\n",
    ],
)
def test_bodies_are_read_whatever_the_pieces_they_arrive_in(raw: bytes, size: int) -> None:
    connection = Pieces(raw, size)
    response = Response(connection)  # type: ignore[arg-type]
    assert response.head.status == 200
    assert response.read() == b"hello\nworld"
    assert connection.closed


def test_lines_come_as_soon_as_they_are_whole() -> None:
    raw = b'HTTP/1.1 200 OK\r\n\r\n{"a":1}\r\n\r\n{"b":\n'
    lines = Response(Pieces(raw, 4)).lines()  # type: ignore[arg-type]
    assert list(lines) == [b'{"a":1}\r', b'{"b":']


def test_what_follows_an_upgrade_is_left_for_the_stream() -> None:
    response = Response(Pieces(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nfirst bytes", 1000))  # type: ignore[arg-type]
    assert (response.head.status, response.leftover(), response.leftover()) == (101, b"first bytes", b"")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    ],
)
def test_a_broken_answer_is_a_protocol_error(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        Response(Pieces(raw, 1000)).read()  # type: ignore[arg-type]


@given(
    payloads=st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8),
    cuts=st.lists(st.integers(1, 20), min_size=1),
)
def test_frames_are_split_wherever_they_are_cut(payloads: list[tuple[int, bytes]], cuts: list[int]) -> None:
    raw = b"".join(bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text for stream, text in payloads)
    frames, found, turn = Demultiplexer(), {1: b"", 2: b""}, 0
    while raw:
        piece, raw = raw[: cuts[turn % len(cuts)]], raw[cuts[turn % len(cuts)] :]
        turn += 1
        for stream, text in frames.feed(piece):
            found[stream] += text
    assert found == {number: b"".join(text for stream, text in payloads if stream == number) for number in (1, 2)}


def test_a_frame_of_the_daemons_error_is_raised() -> None:
    with pytest.raises(CliError, match="error from daemon in stream: it broke"):
        list(Demultiplexer().feed(b"\x03\0\0\0\0\0\0\x08it broke"))


@pytest.fixture
def client(engine: FakeEngine) -> Client:
    return Client(Endpoint(engine.host, path=engine.host.removeprefix("unix://")))


@pytest.mark.parametrize(
    ("theirs", "agreed"), [("1.24", "1.24"), ("1.9", "1.9"), ("1.99", API_VERSION), (API_VERSION, API_VERSION)]
)
def test_the_lower_version_is_agreed(theirs: str, agreed: str, engine: FakeEngine, client: Client) -> None:
    engine.on("GET", "/_ping", Answer(b"OK", headers={"Api-Version": theirs}))
    assert client.version == agreed


def test_the_version_is_asked_once_and_not_at_all_when_given(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = Endpoint(engine.host, path=engine.host.removeprefix("unix://"))
    engine.on("GET", "/x", {"ok": True})
    client = Client(address)
    assert (client.call("GET", "/x"), client.call("GET", "/x")) == ({"ok": True}, {"ok": True})
    assert [request.path for request in engine.requests] == ["/_ping", "/x", "/x"]
    monkeypatch.setenv("DOCKER_API_VERSION", "1.30")
    assert Client(address).version == "1.30"


def test_a_query_leaves_out_what_is_empty(engine: FakeEngine, client: Client) -> None:
    engine.on("GET", "/x", {})
    query = {"a": True, "b": False, "c": None, "d": "", "e": 0, "f": {"x": ["y z"]}, "g": ["1", "2"], "h": {}}
    client.call("GET", "/x", query=query)
    assert engine.requests[-1].query == {"a": ["1"], "e": ["0"], "f": ['{"x":["y z"]}'], "g": ["1", "2"]}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer({"message": "No such container: x"}, 404), "Error response from daemon: No such container: x"),
        (Answer(b"plain words\n", 500), "Error response from daemon: plain words"),
        (Answer(b'["odd"]', 500), 'Error response from daemon: ["odd"]'),
    ],
)
def test_errors_carry_the_daemons_words(answer: Answer, message: str, engine: FakeEngine, client: Client) -> None:
    engine.on("GET", "/x", answer)
    with pytest.raises(DaemonError) as caught:
        client.call("GET", "/x")
    assert str(caught.value) == message
    assert caught.value.code == answer.status


def test_a_body_in_pieces_is_sent_as_chunks(engine: FakeEngine, client: Client) -> None:
    engine.on("POST", "/x", Answer(None, 204))

    def pieces() -> Iterator[bytes]:
        yield from (b"a" * 70000, b"", b"b")

    assert client.call("POST", "/x", body=pieces()) is None
    assert engine.requests[-1].body == b"a" * 70000 + b"b"


def test_a_refusal_in_the_middle_of_a_long_body_is_heard(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def pieces() -> Iterator[bytes]:
            connection, _ = server.accept()
            connection.sendall(b'HTTP/1.1 400 Bad Request\r\nContent-Length: 19\r\n\r\n{"message":"no tar"}'[:-1])
            connection.close()
            for _ in range(1000):
                yield b"x" * 65536

        client = Client(Endpoint("unix", path=path))
        client._version = "1.40"
        with pytest.raises((DaemonError, ConnectionFailed)):
            client.call("POST", "/x", body=pieces())


def test_no_daemon_is_said_in_dockers_words(tmp_path: Path) -> None:
    client = Client(Endpoint(f"unix://{tmp_path}/none", path=f"{tmp_path}/none"))
    with pytest.raises(ConnectionFailed) as caught:
        client.call("GET", "/x")
    assert str(caught.value) == (
        f"Cannot connect to the sampan daemon at unix://{tmp_path}/none. Is the sampan daemon running?"
    )


def _endpoint(address: str, *flags: str) -> Endpoint:
    return endpoint(address, parse_flags(GLOBAL_FLAGS, list(flags), interspersed=False))


@pytest.fixture
def no_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_tls")
@pytest.mark.parametrize(
    ("address", "path", "host", "port"),
    [
        ("unix:///run/x.sock", "/run/x.sock", "", 0),
        ("tcp://box:99", "", "box", 99),
        ("tcp://box", "", "box", 2375),
        ("box:99", "", "box", 99),
        ("tcp://[::1]:99", "", "::1", 99),
        ("tcp://:99", "", "localhost", 99),
    ],
)
def test_addresses(address: str, path: str, host: str, port: int) -> None:
    found = _endpoint(address)
    assert (found.path, found.host, found.port, found.tls) == (path, host, port, None)


@pytest.mark.usefixtures("no_tls")
@pytest.mark.parametrize("address", ["ssh://x", "tcp://x:y"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(CliError, match="invalid bind address format"):
        _endpoint(address)


@pytest.mark.usefixtures("no_tls")
def test_tls_files_come_from_flags_then_from_the_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CERT_PATH", "/certs")
    found = _endpoint("tcp://box", "--tlsverify", "--tlskey", "/my.key")
    assert found.port == 2376
    assert found.tls == ("/certs/ca.pem", "/certs/cert.pem", "/my.key", True)
    assert _endpoint("tcp://box").tls is None
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert _endpoint("tcp://box").tls is not None
    assert _endpoint("tcp://box", "--tlsverify=false").tls is None


def test_a_socket_that_may_not_be_opened_is_named(
    tmp_path: Path, run_as_nobody: Callable[[Callable[[], None]], str]
) -> None:
    (tmp_path / "shut").mkdir(mode=0o700)

    def attempt() -> None:
        Endpoint("unix:///shut", path=str(tmp_path / "shut" / "s")).open()

    message = run_as_nobody(attempt)
    assert message.startswith("permission denied while trying to connect to the sampan daemon at unix:///shut")


@pytest.fixture
def run_as_nobody() -> Callable[[Callable[[], None]], str]:
    """Call a function as an unprivileged user; returns the `CliError`'s message."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")

    def run(act: Callable[[], None]) -> str:
        os.seteuid(65534)
        try:
            with pytest.raises(CliError) as caught:
                act()
        finally:
            os.seteuid(0)
        return str(caught.value)

    return run
