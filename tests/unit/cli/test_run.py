"""`run`, `start`, `attach` and `exec`: streams, terminal, signals, exit statuses."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.cli.conftest import PROGRAM, Answer, FakeEngine, Outcome, Request, Terminal

Sampan = Callable[..., Outcome]


class Box:
    """One container of a fake engine: what it does with its streams, and what is done to it."""

    def __init__(self, engine: FakeEngine, program: Callable[[Box, Any, Any], int], *, tty: bool = False) -> None:
        self.program = program
        self.order: list[str] = []
        self.signals: list[str] = []
        self.sizes: list[tuple[str, str]] = []
        self.signalled = threading.Event()
        self.resized = threading.Event()
        self.started = threading.Event()
        self.start_error = ""
        self._ended = threading.Event()
        self._status = 0
        self._tty = tty
        engine.on("POST", "/containers/create", Answer({"Id": "box1"}, 201))
        engine.on("POST", "/containers/box1/attach|/exec/e1/start", self._attach)
        engine.on("POST", "/containers/box1/wait", self._wait)
        engine.on("POST", "/containers/box1/start", self._start)
        engine.on("POST", "/containers/box1/kill", self._kill)
        engine.on("POST", "/(containers/box1|exec/e1)/resize", self._resize)
        engine.on("POST", "/containers/box1/exec", Answer({"Id": "e1"}, 201))
        engine.on("GET", "/exec/e1/json", lambda _: {"ExitCode": self._status})
        engine.on("GET", "/containers/box1/json", {
            "Id": "box1", "Config": {"Tty": tty, "OpenStdin": True}, "State": {"Running": True}, "HostConfig": {}
        })  # fmt: skip

    def _attach(self, request: Request) -> None:
        self.order.append("attach")
        if "exec" in request.path:
            self.started.set()
        stdin, output = request.hijack()
        self.started.wait(30)
        if not self.start_error:
            self._status = self.program(self, stdin, output)
        self._ended.set()
        request.handler.close_connection = True

    def _wait(self, request: Request) -> Answer:
        self.order.append(f"wait {request.query.get('condition', [''])[0]}".strip())

        def ending() -> Iterator[bytes]:
            self._ended.wait(30)
            error = {"Message": self.start_error} if self.start_error else None
            yield json.dumps({"StatusCode": self._status, "Error": error}).encode()

        return Answer(ending())

    def _start(self, _: Request) -> Answer:
        self.order.append("start")
        self.started.set()
        return Answer({"message": self.start_error}, 400) if self.start_error else Answer(None, 204)

    def _kill(self, request: Request) -> Answer:
        self.signals.append(request.query["signal"][0])
        self.signalled.set()
        return Answer(None, 204)

    def _resize(self, request: Request) -> Answer:
        self.sizes.append((request.query["h"][0], request.query["w"][0]))
        self.resized.set()
        return Answer(None, 200)


def frame(stream: int, content: bytes) -> bytes:
    """One frame of a multiplexed stream."""
    return bytes([stream, 0, 0, 0]) + len(content).to_bytes(4, "big") + content


def cat(_: Box, stdin: Any, output: Any) -> int:
    """Copies stdin to stdout until EOF, then says so on stderr."""
    while content := stdin.read1(65536):
        output.write(frame(1, content))
    output.write(frame(2, b"end of input\n"))
    return 3


def say_hello(_: Box, __: Any, output: Any) -> int:
    """Writes to both streams."""
    output.write(frame(1, b"hello ") + frame(2, b"oh no\n") + frame(1, b"world\n"))
    return 0


def test_output_is_split_and_stdin_closed_halfway(engine: FakeEngine, sampan: Sampan) -> None:
    box = Box(engine, cat)
    assert sampan("run", "-i", "busybox", "cat", stdin=b"x\n") == Outcome(3, "x\n", "end of input\n")
    assert box.order == ["attach", "wait next-exit", "start"]


def test_much_input_that_comes_back_at_once_stops_nobody(engine: FakeEngine, sampan: Sampan) -> None:
    Box(engine, cat)
    text = b"0123456789abcdef" * 200_000
    outcome = sampan("run", "-i", "busybox", "cat", stdin=text)
    assert outcome.out.encode() == text


def test_without_interactive_stdin_is_not_sent(engine: FakeEngine, sampan: Sampan) -> None:
    Box(engine, say_hello)
    assert sampan("run", "busybox", stdin=b"ignored") == Outcome(0, "hello world\n", "oh no\n")
    query = engine.request("POST", "/containers/box1/attach").query
    assert query == {"stream": ["1"], "stdout": ["1"], "stderr": ["1"]}


def test_only_the_chosen_streams_are_attached(engine: FakeEngine, sampan: Sampan) -> None:
    Box(engine, say_hello)
    assert sampan("run", "-a", "stderr", "busybox") == Outcome(0, "", "oh no\n")


def test_with_rm_the_removal_is_awaited(engine: FakeEngine, sampan: Sampan) -> None:
    box = Box(engine, say_hello)
    sampan("run", "--rm", "busybox")
    assert box.order == ["attach", "wait removed", "start"]
    assert engine.request("POST", "/containers/create").json["HostConfig"]["AutoRemove"] is True


def test_detached_the_id_is_printed_and_nothing_attached(engine: FakeEngine, sampan: Sampan) -> None:
    box = Box(engine, say_hello)
    assert sampan("run", "-d", "busybox") == Outcome(0, "box1\n", "")
    assert box.order == ["start"]
    body = engine.request("POST", "/containers/create").json
    assert (body["AttachStdout"], body["AttachStderr"]) == (False, False)


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ('exec: "x": executable file not found in $PATH', 127),
        ('exec: "/x": stat /x: no such file or directory', 127),
        ('exec: "/tmp": permission denied', 126),
        ('exec: "/tmp": is a directory', 126),
        ("port is already allocated", 125),
    ],
)
def test_a_failed_start_has_the_status_that_tells_why(
    reason: str, status: int, engine: FakeEngine, sampan: Sampan
) -> None:
    Box(engine, say_hello).start_error = reason
    expected = f"sampan: Error response from daemon: {reason}\n\nRun 'sampan run --help' for more information\n"
    assert sampan("run", "busybox") == Outcome(status, "", expected)
    assert sampan("run", "-d", "busybox") == Outcome(status, "", expected)


def test_a_failed_start_with_rm_waits_for_the_removal(engine: FakeEngine, sampan: Sampan) -> None:
    box = Box(engine, say_hello)
    box.start_error = "no space left on device"
    outcome = sampan("run", "--rm", "busybox")
    assert outcome.status == 125
    assert outcome.err.startswith("sampan: Error response from daemon: no space left on device\n")
    assert box.order == ["attach", "wait removed", "start"]


def test_without_a_daemon_run_fails_with_125(tmp_path: Any, sampan: Sampan) -> None:
    outcome = sampan("-H", f"unix://{tmp_path}/none", "run", "busybox")
    assert outcome.status == 125
    assert outcome.err.startswith("sampan: Cannot connect to the sampan daemon at unix://")


def test_a_terminal_is_refused_to_a_pipe(engine: FakeEngine, sampan: Sampan) -> None:
    Box(engine, say_hello, tty=True)
    refused = Outcome(1, "", "the input device is not a TTY\n")
    assert sampan("run", "-it", "busybox") == refused
    assert sampan("exec", "-it", "box1", "sh") == refused
    assert sampan("attach", "box1") == refused


def test_attach_and_detach_contradict_each_other(engine: FakeEngine, sampan: Sampan) -> None:
    outcome = sampan("run", "-d", "-a", "stdout", "busybox")
    assert outcome == Outcome(1, "", "conflicting options: cannot specify both --attach and --detach\n")


@pytest.mark.parametrize("keys", ["ctrl-", "ctrl-pp", "ab", "ctrl-p,,q"])
def test_what_are_no_detach_keys_is_refused(keys: str, engine: FakeEngine, sampan: Sampan) -> None:
    outcome = sampan("run", "--detach-keys", keys, "busybox")
    assert outcome.status == 1
    assert outcome.err.startswith(f"invalid detach keys ({keys}): ")


def test_exec_runs_a_command_and_has_its_status(engine: FakeEngine, sampan: Sampan) -> None:
    Box(engine, cat)
    assert sampan("exec", "-i", "-e", "A=1", "-w", "/w", "box1", "cat", "-", stdin=b"y") == Outcome(
        3, "y", "end of input\n"
    )
    body = engine.request("POST", "/containers/box1/exec").json
    assert (body["Cmd"], body["Env"], body["WorkingDir"], body["AttachStdin"]) == (["cat", "-"], ["A=1"], "/w", True)
    assert engine.request("POST", "/exec/e1/start").json == {"Detach": False, "Tty": False}


def test_exec_detached_only_starts(engine: FakeEngine, sampan: Sampan) -> None:
    engine.on("POST", "/containers/box1/exec", Answer({"Id": "e2"}, 201))
    engine.on("POST", "/exec/e2/start", Answer(None, 200))
    assert sampan("exec", "-d", "box1", "true") == Outcome(0, "", "")


def test_start_attached_has_the_containers_status(engine: FakeEngine, sampan: Sampan) -> None:
    box = Box(engine, cat)
    assert sampan("start", "-ai", "box1", stdin=b"z") == Outcome(3, "z", "end of input\n")
    assert box.order == ["attach", "wait next-exit", "start"]


def test_start_names_each_container_and_those_that_failed(engine: FakeEngine, sampan: Sampan) -> None:
    engine.on("POST", "/containers/(a|c)/start", Answer(None, 204))
    engine.on("POST", "/containers/b/start", Answer({"message": "No such container: b"}, 404))
    assert sampan("start", "a", "b", "c") == Outcome(
        1, "a\nc\n", "Error response from daemon: No such container: b\nError: failed to start containers: b\n"
    )
    assert sampan("start", "-a", "a", "c").err == "you cannot start and attach multiple containers at once\n"


def test_attach_follows_until_the_end(engine: FakeEngine, sampan: Sampan) -> None:
    box = Box(engine, say_hello)
    box.started.set()
    assert sampan("attach", "--no-stdin", "box1") == Outcome(0, "hello world\n", "oh no\n")


def test_attach_refuses_a_stopped_container(engine: FakeEngine, sampan: Sampan) -> None:
    engine.on("GET", "/containers/x/json", {"Id": "x", "Config": {}, "State": {"Running": False}})
    assert sampan("attach", "x") == Outcome(1, "", "You cannot attach to a stopped container, start it first\n")


def test_signals_go_to_the_container(engine: FakeEngine) -> None:
    def until_signalled(box: Box, _: Any, output: Any) -> int:
        output.write(frame(1, b"ready\n"))
        box.signalled.wait(30)
        return 42

    box = Box(engine, until_signalled)
    with subprocess.Popen([*PROGRAM, "run", "busybox"], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        program.send_signal(signal.SIGTERM)
        assert program.wait(30) == 42
    assert box.signals == ["TERM"]


def echo_typed(_: Box, stdin: Any, output: Any) -> int:
    """A terminal program that echoes what is typed, in brackets, until `q`."""
    output.write(b"$ ")
    while (typed := stdin.read1(100)) and typed != b"q":
        output.write(b"[" + typed + b"]")
    return 5


@pytest.fixture
def box_tty(engine: FakeEngine) -> Box:
    return Box(engine, echo_typed, tty=True)


def test_on_a_terminal_every_key_goes_through(box_tty: Box) -> None:
    terminal = Terminal("run", "-it", "busybox")
    terminal.until(b"$ ")
    terminal.type(b"\x03\r")
    terminal.until(b"[\x03\r]")
    terminal.type(b"q")
    assert terminal.end()[0] == 5
    assert box_tty.signals == []


def test_the_container_gets_the_terminals_size_and_its_changes(box_tty: Box, engine: FakeEngine) -> None:
    terminal = Terminal("run", "-it", "busybox")
    terminal.until(b"$ ")
    box_tty.resized.wait(30)
    assert box_tty.sizes == [("33", "101")]
    assert engine.request("POST", "/containers/create").json["HostConfig"]["ConsoleSize"] == [33, 101]
    box_tty.resized.clear()
    terminal.resize(40, 90)
    assert box_tty.resized.wait(30)
    assert box_tty.sizes[-1] == ("40", "90")
    terminal.type(b"q")
    assert terminal.end()[0] == 5


def test_a_size_that_is_refused_is_offered_again(box_tty: Box, engine: FakeEngine) -> None:
    refused: list[bool] = []

    def resize(request: Request) -> Answer:
        if len(refused) < 3:
            refused.append(True)
            return Answer({"message": "not running yet"}, 409)
        return box_tty._resize(request)

    engine.on("POST", "/exec/e1/resize", resize)
    terminal = Terminal("exec", "-it", "box1", "sh")
    assert box_tty.resized.wait(30)
    assert (len(refused), box_tty.sizes) == (3, [("33", "101")])
    terminal.type(b"q")
    assert terminal.end()[0] == 5


def test_the_detach_keys_leave_the_container_alone(box_tty: Box, engine: FakeEngine) -> None:
    terminal = Terminal("run", "-it", "busybox")
    terminal.until(b"$ ")
    terminal.type(b"\x10x")
    terminal.until(b"[\x10x]")
    terminal.type(b"\x10\x11")
    assert terminal.end()[0] == 0


def test_other_detach_keys_are_passed_on(box_tty: Box, engine: FakeEngine) -> None:
    box_tty.started.set()
    terminal = Terminal("attach", "--detach-keys", "ctrl-a,d", "box1")
    terminal.until(b"$ ")
    terminal.type(b"\x01d")
    status, seen = terminal.end()
    assert (status, seen.endswith(b"read escape sequence\r\n")) == (1, True)
    assert engine.request("POST", "/containers/box1/attach").query["detachKeys"] == ["ctrl-a,d"]
    assert box_tty.sizes == [("34", "102"), ("33", "101")]


def test_the_terminal_is_as_before_when_the_program_ends(box_tty: Box) -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with subprocess.Popen([*PROGRAM, "run", "-it", "busybox"], stdin=slave, stdout=slave, stderr=slave) as program:
        seen = b""
        while b"$ " not in seen:
            seen += os.read(master, 100)
        assert not termios.tcgetattr(slave)[3] & termios.ICANON
        os.write(master, b"q")
        program.wait(30)
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)
