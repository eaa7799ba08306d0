"""The host's side: starts the machine, passes its output on, and receives the command's exit status."""

from __future__ import annotations

import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMED_OUT, NO_GUEST = 124, 125
_BOOT_S = 180.0
_REPORT_S = 120.0
_POWER_OFF_S = 20.0
_TOLD_BYTES = 4000


@dataclass(frozen=True)
class Patience:
    """How long the command may take in total, and how long without output."""

    whole_s: float
    silence_s: float = math.inf


class Line:
    """A serial line: `guest_end` is passed to the machine as an open file, `host_end` is ours."""

    def __init__(self) -> None:
        self.host_end, self.guest_end = socket.socketpair()
        self.fd = self.guest_end.fileno()


class Conversation:
    """Handles data from the two lines until the machine has ended or timed out.

    A command that times out, or produces no output for too long, is not just killed: the guest is asked for a report
    of what is stuck.
    """

    def __init__(self, output: socket.socket, control: socket.socket, patience: Patience) -> None:
        self.status: int | None = None
        self.problem = ""
        self.owes_report = False
        self._output, self._control, self._patience = output, control, patience
        self._end, self._at_end = time.monotonic() + _BOOT_S, self._no_guest
        self._silence_end = math.inf
        self._told = b""
        self._over = False

    def listen(self) -> int:
        """Run until the end, and return the exit status."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ, self._pass_on)
            selector.register(self._control, selectors.EVENT_READ, self._take)
            while selector.get_map() and not self._over:
                ready = selector.select(max(0.0, min(self._end, self._silence_end) - time.monotonic()))
                for key, _ in ready:
                    self._receive(selector, key)
                if not ready:
                    self._be_late()
        if self.status is None:
            self.status, self.problem = NO_GUEST, "the guest ended without a word"
        return self.status

    def _receive(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        connection = self._output if key.fileobj is self._output else self._control
        try:
            content = connection.recv(65536)
        except ConnectionError:
            content = b""
        if content:
            key.data(content)
        else:
            selector.unregister(connection)

    def _pass_on(self, content: bytes) -> None:
        if self._silence_end < math.inf:
            self._silence_end = time.monotonic() + self._patience.silence_s
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()

    def _take(self, content: bytes) -> None:
        *lines, self._told = (self._told + content).split(b"\n")
        for word, *rest in filter(None, map(bytes.split, lines)):
            if word == b"ready":
                self._await_command()
            elif word == b"reported":
                self.owes_report, self._over = False, True
            elif word == b"exit":
                self.status = int(rest[0]) if self.status is None else self.status
                self.owes_report = False  # a report ends with killing the command
                self._wait(_POWER_OFF_S, self._stop)

    def _await_command(self) -> None:
        self._wait(self._patience.whole_s, self._ask_for_report)
        self._silence_end = time.monotonic() + self._patience.silence_s

    def _wait(self, seconds: float, at_end: Callable[[], None]) -> None:
        self._end, self._at_end = time.monotonic() + seconds, at_end
        self._silence_end = math.inf

    def _be_late(self) -> None:
        now = time.monotonic()
        if now >= self._end:
            self._at_end()
        elif now >= self._silence_end:
            self._ask_for_report(f"the command said nothing for {self._patience.silence_s:g} s")

    def _no_guest(self) -> None:
        self.status, self.problem = NO_GUEST, f"no guest after {_BOOT_S:g} s"
        self._stop()

    def _ask_for_report(self, problem: str = "") -> None:
        self.status = TIMED_OUT
        self.problem = problem or f"the command did not end within {self._patience.whole_s:g} s"
        self.owes_report = True
        self._wait(_REPORT_S, self._stop)
        self._control.send(b"report\n")

    def _stop(self) -> None:
        self._over = True


def run(
    make_command: Callable[[Line, Line], Sequence[str]],
    log: Path,
    patience: Patience,
    ask_kernel: Callable[[], str],
) -> int:
    """Run the machine started by `make_command(output, control)`; returns the exit status of the guest's command.

    `ask_kernel` is called for the kernel's state if the guest's programs no longer respond; it may raise `OSError`.
    """
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
    conversation = Conversation(output.host_end, control.host_end, patience)
    try:
        status = conversation.listen()
        if conversation.problem:
            print(f"guest: {conversation.problem}\n{_last_words(log)}", file=sys.stderr)
        if conversation.owes_report:
            print(_answer_of(ask_kernel), file=sys.stderr)
    finally:
        _end(machine)
        output.host_end.close()
        control.host_end.close()
    return status


def _answer_of(ask_kernel: Callable[[], str]) -> str:
    try:
        return f"guest: its programs do not answer; its kernel says\n{ask_kernel()}"
    except OSError as error:
        return f"guest: neither its programs nor its kernel answer: {error}"


def _end(machine: subprocess.Popen[bytes]) -> None:
    if machine.poll() is None:
        os.killpg(machine.pid, signal.SIGKILL)
    machine.wait()


def _last_words(log: Path) -> str:
    return log.read_bytes()[-_TOLD_BYTES:].decode(errors="replace")
