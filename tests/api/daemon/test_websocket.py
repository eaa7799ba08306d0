"""Attach over a WebSocket, with the client library that docker-py uses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import websocket

from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import InProcess, wait_until

ALL = "stream=1&stdin=1&stdout=1&stderr=1"
INPUT: dict[str, Any] = {"OpenStdin": True, "StdinOnce": True}


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house()


@contextmanager
def attached(house: InProcess, path: str, **options: Any) -> Iterator[websocket.WebSocket]:
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    raw.settimeout(30)
    raw.connect(str(house.socket))
    with (
        closing(raw),
        closing(websocket.create_connection(f"ws://docker{path}", socket=raw, **options)) as connection,
    ):
        yield connection


def everything(connection: websocket.WebSocket) -> bytes:
    content = b""
    while True:
        opcode, payload = connection.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            assert payload == b"\x03\xe8"
            return content
        content += payload


def test_output_comes_in_binary_messages_and_the_end_closes(shared: InProcess) -> None:
    id = shared.create("sh", "-c", "echo out; echo err >&2")
    with attached(shared, f"/containers/{id}/attach/ws?{ALL}") as connection:
        shared.call("POST", f"/containers/{id}/start")
        assert everything(connection) == b"out\nerr\n"


def test_old_clients_get_text_and_all_streams(shared: InProcess) -> None:
    id = shared.create("echo", "text")
    with attached(shared, f"/v1.27/containers/{id}/attach/ws?stream=1") as connection:
        shared.call("POST", f"/containers/{id}/start")
        assert connection.recv_data() == (websocket.ABNF.OPCODE_TEXT, b"text\n")


@pytest.mark.parametrize("send", ["send", "send_binary"])
def test_what_is_sent_is_input(shared: InProcess, send: str) -> None:
    id = shared.launch("cat", **INPUT)
    with attached(shared, f"/containers/{id}/attach/ws?{ALL}") as connection:
        getattr(connection, send)(b"hello\n")
        assert connection.recv() == b"hello\n"
        connection.ping("are you there")
        assert connection.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_PONG, b"are you there")


def test_who_closes_has_been_heard_and_ends_the_input(shared: InProcess) -> None:
    id = shared.launch("cat", **INPUT)
    with attached(shared, f"/containers/{id}/attach/ws?{ALL}") as connection:
        connection.send(b"last words\n")
        connection.close()
    assert shared.call("POST", f"/containers/{id}/wait").body == {"StatusCode": 0}
    assert b"last words\n" in shared.call("GET", f"/containers/{id}/logs?stdout=1").body


def test_the_logs_come_first(shared: InProcess) -> None:
    id = shared.finish("echo", "before")
    with attached(shared, f"/containers/{id}/attach/ws?logs=1&stdout=1") as connection:
        assert everything(connection) == b"before\n"


def test_detach_keys_leave_it_running(shared: InProcess) -> None:
    id = shared.launch("cat", Tty=True, OpenStdin=True)
    with attached(shared, f"/containers/{id}/attach/ws?{ALL}&detachKeys=ctrl-a,b") as connection:
        connection.send(b"\x01b")
        assert everything(connection) == b""
    assert shared.state(id)["Running"]


def test_one_that_breaks_the_protocol_is_told_so(shared: InProcess) -> None:
    id = shared.launch("cat", Tty=True, OpenStdin=True)
    with attached(shared, f"/containers/{id}/attach/ws?{ALL}") as connection:
        assert connection.sock is not None
        connection.sock.sendall(b"\x81\x05Hello")
        assert connection.recv_data() == (websocket.ABNF.OPCODE_CLOSE, b"\x03\xea")
    assert shared.state(id)["Running"]


def test_one_that_goes_away_leaves_no_job(shared: InProcess) -> None:
    id = shared.launch("cat", Tty=True, OpenStdin=True)
    with attached(shared, f"/containers/{id}/attach/ws?{ALL}") as connection:
        assert connection.sock is not None
        connection.sock.close()
    wait_until(lambda: not [job for job in shared.engine.jobs() if job.name == "container_attach" and not job.ended])


@pytest.mark.parametrize("origin", ["https://evil.example", "http://docker.evil.example", "null"])
def test_a_page_of_somebody_else_is_refused(shared: InProcess, origin: str) -> None:
    id = shared.create("true")
    with (
        pytest.raises(websocket.WebSocketBadStatusException) as refused,
        attached(shared, f"/containers/{id}/attach/ws?{ALL}", origin=origin),
    ):
        pass
    assert refused.value.status_code == 403


def test_refusals_are_ordinary_answers(shared: InProcess) -> None:
    with (
        pytest.raises(websocket.WebSocketBadStatusException) as refused,
        attached(shared, "/containers/nosuch/attach/ws?stream=1"),
    ):
        pass
    assert refused.value.status_code == 404
    plain = shared.call("GET", "/containers/nosuch/attach/ws?stream=1")
    assert (plain.status, plain.message) == (
        400,
        "this needs a WebSocket: the request has to ask for the upgrade",
    )
