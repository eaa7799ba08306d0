"""Command-line clients of one engine, as people use them: capturing output, with pipes, on a terminal."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.support.engines import BIN_DIR, Engine


class Client:
    """`docker` or `sampan`, bound to one engine."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        self._spawned: list[subprocess.Popen[str]] = []

    def command(self, *words: str) -> list[str]:
        program = str(BIN_DIR / "sampan") if self.name == "sampan" else self.name
        return [program, "-H", self.engine.host, *words]

    def run(self, *words: str, stdin: str = "", timeout_s: float = 120) -> "subprocess.CompletedProcess[str]":
        """Run one command to completion, whatever its exit status."""
        return subprocess.run(
            self.command(*words), input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def __call__(self, *words: str, stdin: str = "", timeout_s: float = 120) -> str:
        """Run one command that must succeed and return its stdout, without the last newline."""
        done = self.run(*words, stdin=stdin, timeout_s=timeout_s)
        assert done.returncode == 0, (
            f"{self.name} {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout.rstrip("\n")

    def spawn(self, *words: str) -> "subprocess.Popen[str]":
        """Start one command with line-buffered pipes; `close` ends it at the latest."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(self.command(*words), stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1)
        self._spawned.append(process)
        return process

    def close(self) -> None:
        """Kill spawned commands that still run, as after a failed test."""
        for process in self._spawned:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(BrokenPipeError):
                    if stream is not None:
                        stream.close()

    def terminal(self, *words: str, rows: int = 24, columns: int = 80) -> "Terminal":
        return Terminal(self.command(*words), rows, columns)


class Terminal:
    """A program under a pseudo-terminal that is its controlling terminal."""

    def __init__(self, command: Sequence[str], rows: int, columns: int) -> None:
        self._master, slave = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            list(command),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=_take_terminal,  # noqa: PLW1509
        )
        os.close(slave)
        self.seen = ""

    def resize(self, rows: int, columns: int) -> None:
        """Resize as a terminal window does: the kernel sends SIGWINCH to the program."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, pattern: str, timeout_s: float = 20) -> "re.Match[str]":
        """Read until `pattern` matches; text up to the end of the match is not searched again."""
        deadline = time.monotonic() + timeout_s
        while not (found := re.search(pattern, self.seen)):
            left_s = deadline - time.monotonic()
            assert left_s > 0 and self._read(left_s), f"no {pattern!r} in {self.seen!r}"
        self.seen = self.seen[found.end() :]
        return found

    def wait(self, timeout_s: float = 30) -> int:
        """Read to the end and return the exit status."""
        deadline = time.monotonic() + timeout_s
        while self._read(max(0.0, deadline - time.monotonic())):
            pass
        return self.process.wait(timeout_s)

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self._master], [], [], timeout_s)[0]:
            return False
        try:
            content = os.read(self._master, 65536)
        except OSError:  # EIO: the other end is closed
            return False
        self.seen += content.decode(errors="replace")
        return bool(content)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


def _take_terminal() -> None:
    """In the child: start a new session and make standard input its controlling terminal."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
