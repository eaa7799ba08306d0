"""Additional processes in a container, started by the OCI runtime directly from the daemon.

Why not under their own conmon, like init: measured with runc 1.1.5 on two cores, `runc exec` of `true` takes 39 ms
(median of 25), and 48 ms through conmon. The price: an exec's stdio ends with the daemon. The daemon is a subreaper
(see `OciRuntime.open`), so an exec becomes its child when the runtime has ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import termios
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.errdefs import SystemFailure
from sampan.runtime.attach import FileAttached
from sampan.runtime.command import RuntimeCommand
from sampan.runtime.failure import exec_failure, last_error
from sampan.runtime.interface import STDERR, STDOUT
from sampan.syscalls.pidfd import pidfd_open, pidfd_send_signal
from sampan.syscalls.process import ends_within, kill_session, reap

_RUNTIME_PATIENCE_S = 60  # in a frozen cgroup it would wait forever, and block its thread
_CONSOLE_TIMEOUT_S = 5  # a correct runtime sends the terminal before it ends


@dataclass(frozen=True)
class ExecRequest:
    """One exec to start. `dir` exists while it is being started; `tmp_dir` is a short path (see `conmon.Monitor`)."""

    command: RuntimeCommand
    id: str
    dir: Path
    tmp_dir: Path
    process: dict[str, Any]
    terminal: bool
    stdin: bool


@dataclass(frozen=True)
class Started:
    """A running process, and our ends of its stdio: output descriptors with their streams, and stdin or `None`."""

    pid: int
    pidfd: int
    outputs: dict[int, int]
    stdin: int | None


def start(request: ExecRequest) -> Started:
    """Start it. Blocks; to be run in a thread of the runtime's namespace.

    Raises the errors of `exec_failure`, and `SystemFailure` if the host has run out of a resource.
    """
    try:
        return _start(request)
    except OSError as error:
        raise SystemFailure(f"exec can't be started: {error}") from error


def _start(request: ExecRequest) -> Started:
    request.dir.mkdir(parents=True)
    try:
        (request.dir / "process.json").write_text(json.dumps({**request.process, "terminal": request.terminal}))
        with ExitStack() as undo:
            started = _start_on_terminal(request, undo) if request.terminal else _start_on_pipes(request, undo)
            undo.pop_all()
        return started
    finally:
        shutil.rmtree(request.dir, ignore_errors=True)


class ExecProcess:
    """`Exec`: a started process, watched by the event loop."""

    def __init__(self, started: Started) -> None:
        self._pid = started.pid
        self._pidfd = started.pidfd
        self._attached = FileAttached(started.outputs, started.stdin)
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def attached(self) -> FileAttached:
        return self._attached

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    async def kill(self) -> None:
        """Kill its session, which is the exec's own, as the runtime was started in a new one (see `_run`)."""
        if self._code.done():
            return
        session = os.getsid(self._pid)  # it is not reaped yet
        pidfd_send_signal(self._pidfd, signal.SIGKILL)
        await asyncio.to_thread(kill_session, session)

    def when_ended(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the event loop, once, after it has ended."""
        self._code.add_done_callback(lambda _: callback())

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        code = reap(self._pidfd)
        os.close(self._pidfd)
        self._attached.end()
        # It is not our child only if the process that called `open` is no longer a subreaper: then the code is
        # unknown.
        self._code.set_result(255 if code is None else code)


def _start_on_pipes(request: ExecRequest, undo: ExitStack) -> Started:
    """`undo` closes our ends of the pipes; the process's ends are always closed."""
    with ExitStack() as theirs:
        outputs, sinks = {}, []
        for stream in (STDOUT, STDERR):
            read_end, write_end = os.pipe()
            undo.callback(os.close, read_end)
            theirs.callback(os.close, write_end)
            outputs[read_end] = stream
            sinks.append(write_end)
        if request.stdin:
            source, stdin = os.pipe()
            undo.callback(os.close, stdin)
        else:
            source, stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), None
        theirs.callback(os.close, source)
        pid, pidfd = _run(request, (), [source, *sinks])
    return Started(pid, pidfd, outputs, stdin)


def _start_on_terminal(request: ExecRequest, undo: ExitStack) -> Started:
    with tempfile.TemporaryDirectory(dir=request.tmp_dir, prefix="") as directory:
        path = f"{directory}/console"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen(1)
            listener.settimeout(_CONSOLE_TIMEOUT_S)
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            try:
                pid, pidfd = _run(request, ("--tty", "--console-socket", path), [null] * 3)
            finally:
                os.close(null)
            undo.callback(os.close, pidfd)
            terminal = _receive_terminal(listener)
    return Started(pid, pidfd, {terminal: STDOUT}, terminal)


def _receive_terminal(listener: socket.socket) -> int:
    connection, _ = listener.accept()
    with connection:
        _, fds, _, _ = socket.recv_fds(connection, 4096, 1, socket.MSG_CMSG_CLOEXEC)
    if not fds:
        raise SystemFailure("the runtime did not send a terminal")
    # runc clears ONLCR, which staircases lines on a client's raw terminal. conmon sets it for init as well.
    settings = termios.tcgetattr(fds[0])
    settings[1] |= termios.ONLCR
    termios.tcsetattr(fds[0], termios.TCSANOW, settings)
    return fds[0]


def _run(request: ExecRequest, options: tuple[str, ...], stdio: list[int]) -> tuple[int, int]:
    """Run the runtime's `exec --detach` on `stdio`; returns the new process's pid and a pidfd for it."""
    log, pid_file = request.dir / "log", request.dir / "pid"
    with subprocess.Popen(
        [
            str(request.command.path),
            *request.command.global_arguments(log),
            *("exec", "--detach", "--process", str(request.dir / "process.json"), "--pid-file", str(pid_file)),
            *(*options, request.id),
        ],
        stdin=stdio[0],
        stdout=stdio[1],
        stderr=stdio[2],
        env={"PATH": os.defpath},
        cwd="/",
        start_new_session=True,
    ) as runtime:
        if not ends_within(runtime.pid, _RUNTIME_PATIENCE_S):
            kill_session(runtime.pid)
            raise SystemFailure(f"{request.command.name} exec has not ended in {_RUNTIME_PATIENCE_S} s")
    if runtime.returncode:
        raise exec_failure(last_error(log) or f"exit status {runtime.returncode}", request.process["args"][0])
    pid = int(pid_file.read_text())
    return pid, pidfd_open(pid)
