"""Servers as child processes: start, wait until ready, stop."""

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO


class StartFailed(Exception):
    """A server exited or did not become ready in time; the message holds the end of its log."""


def start_notifying(
    command: Sequence[str | Path],
    log: Path,
    *,
    notify: Path,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 120,
) -> "subprocess.Popen[bytes]":
    """Start a server that speaks sd_notify and return once it has sent READY=1 to the socket `notify`.

    Its output goes to `log`. Raises `StartFailed` if it exits or `timeout_s` elapse first.
    """
    notify.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(notify))
        environment = {**os.environ, **(env or {}), "NOTIFY_SOCKET": str(notify)}
        process = spawn(command, log, environment)
        try:
            _await_ready(listener, process, timeout_s)
        except TimeoutError:
            end(process)
            raise StartFailed(f"{command[0]} was not ready after {timeout_s} s:\n{tail(log)}") from None
        except ChildProcessError:
            raise StartFailed(f"{command[0]} ended with {process.wait()}:\n{tail(log)}") from None
        finally:
            notify.unlink()
    return process


def spawn(command: Sequence[str | Path], log: Path, env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, start_new_session=True
        )


def _await_ready(listener: socket.socket, process: "subprocess.Popen[bytes]", timeout_s: float) -> None:
    """Raises `TimeoutError`, or `ChildProcessError` if the process exits first."""
    deadline = time.monotonic() + timeout_s
    pidfd = os.pidfd_open(process.pid)
    waited: list[socket.socket | int] = [listener, pidfd]
    try:
        while (left_s := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select(waited, [], [], left_s)
            if listener in readable and b"READY=1" in listener.recv(4096).split(b"\n"):
                return
            if pidfd in readable:
                raise ChildProcessError
    finally:
        os.close(pidfd)
    raise TimeoutError


def await_line(stream: IO[str], word: str) -> str:
    """Read a server's log up to the first line with `word` and return it; raises `StartFailed` at end of file."""
    read: list[str] = []
    for line in stream:
        read.append(line)
        if word in line:
            return line
    raise StartFailed("".join(read[-20:]))


def end(process: "subprocess.Popen[bytes]", *, patience_s: float = 30) -> int:
    """Send SIGTERM, then SIGKILL after `patience_s`; returns the exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
