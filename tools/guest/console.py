"""The host's side: start the machine, pass its output on, and learn how the command ended."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

TIMED_OUT, NO_GUEST = 124, 125
_BOOT_S = 180.0
_POWER_OFF_S = 20.0
_TOLD_BYTES = 4000


class Line:
    """A serial line: `guest_end` is given to the machine as an open file, `host_end` is ours."""

    def __init__(self) -> None:
        self.host_end, self.guest_end = socket.socketpair()
        self.fd = self.guest_end.fileno()


class Conversation:
    """What comes over the two lines until the machine has gone or its time is over."""

    def __init__(self, timeout_s: float) -> None:
        self.status: int | None = None
        self.problem = ""
        self._timeout_s = timeout_s
        self._deadline, self._late = time.monotonic() + _BOOT_S, (NO_GUEST, f"no guest after {_BOOT_S:g} s")
        self._told = b""

    def listen(self, output: socket.socket, control: socket.socket) -> int:
        """Answers the exit status."""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ, (output, self._pass_on))
            selector.register(control, selectors.EVENT_READ, (control, self._take))
            while selector.get_map() and (left := self._deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    self._receive(selector, *key.data)
            if selector.get_map() and self.status is None:
                self.status, self.problem = self._late
        if self.status is None:
            self.status, self.problem = NO_GUEST, "the guest ended without a word"
        return self.status

    def _receive(
        self, selector: selectors.BaseSelector, connection: socket.socket, handle: Callable[[bytes], None]
    ) -> None:
        try:
            content = connection.recv(65536)
        except ConnectionError:
            content = b""
        if content:
            handle(content)
        else:
            selector.unregister(connection)

    def _pass_on(self, content: bytes) -> None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()

    def _take(self, content: bytes) -> None:
        *lines, self._told = (self._told + content).split(b"\n")
        for word, *rest in filter(None, map(bytes.split, lines)):
            if word == b"ready":
                self._deadline = time.monotonic() + self._timeout_s
                self._late = TIMED_OUT, f"the command did not end within {self._timeout_s:g} s"
            elif word == b"exit":
                self.status = int(rest[0])
                self._deadline = time.monotonic() + _POWER_OFF_S


def run(make_command: Callable[[Line, Line], Sequence[str]], log: Path, timeout_s: float) -> int:
    """Run the machine that `make_command(output, control)` says; answers the exit status of the guest's command."""
    output, control = Line(), Line()
    with log.open("wb") as file:
        machine = subprocess.Popen(
            make_command(output, control),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            pass_fds=(output.fd, control.fd),
            start_new_session=True,
        )
    output.guest_end.close()
    control.guest_end.close()
    conversation = Conversation(timeout_s)
    try:
        status = conversation.listen(output.host_end, control.host_end)
    finally:
        _end(machine)
    if conversation.problem:
        print(f"guest: {conversation.problem}\n{_last_words(log)}", file=sys.stderr)
    return status


def _end(machine: subprocess.Popen[bytes]) -> None:
    if machine.poll() is None:
        os.killpg(machine.pid, signal.SIGKILL)
    machine.wait()


def _last_words(log: Path) -> str:
    return log.read_bytes()[-_TOLD_BYTES:].decode(errors="replace")
