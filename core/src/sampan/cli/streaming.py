"""Copies between the user's terminal and an attached container, in one loop without threads.

Both directions wait in one `poll`, and sending never blocks: otherwise a container that writes without reading (`cat`
with much input) would deadlock both sides.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterable

from sampan.cli.client.frames import Demultiplexer
from sampan.cli.client.http import Response
from sampan.cli.detach_keys import DEFAULT, DetachKeys, key_bytes
from sampan.cli.errors import CliError
from sampan.cli.terminal import STDIN, STDOUT, is_terminal, raw_mode, write_all

_READ_BYTES = 32 * 1024
_MOST_UNSENT_BYTES = 256 * 1024
_RESIZE_TRIES = 10


def check_tty(*, stdin: bool, tty: bool) -> None:
    """Refuse a terminal for the container's stdin if ours is not one, as docker does. Raises `CliError`."""
    if stdin and tty and not is_terminal(STDIN):
        raise CliError("the input device is not a TTY")


class Attachment:
    """A hijacked connection, and which of the user's streams are attached to it."""

    def __init__(
        self, response: Response, *, stdin: bool, outputs: Iterable[int], tty: bool, detach_keys: str = ""
    ) -> None:
        self._connection = response.connection
        self._first = response.leftover()
        self._stdin = stdin
        self._outputs = set(outputs)
        self._tty = tty
        self._frames = None if tty else Demultiplexer()
        self._keys = DetachKeys(key_bytes(detach_keys or DEFAULT)) if tty and stdin else None
        self._unsent = b""
        self._resize: Callable[[], bool] | None = None
        self._resize_tries = 0

    def resize_with(self, resize: Callable[[], bool]) -> None:
        """Call `resize` until it succeeds (the process may not exist yet), at most ten times."""
        if not resize():
            self._resize, self._resize_tries = resize, 1

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def copy(self, ended: int | None = None) -> bool:
        """Copy until the container closes its side; returns true if the user typed the detach keys.

        If no output is attached, copy until the descriptor `ended` becomes readable.
        """
        try:
            if self._stdin and self._tty:
                with raw_mode(STDIN):
                    return self._loop(ended)
            return self._loop(ended)
        finally:
            self._connection.close()

    def _loop(self, ended: int | None) -> bool:
        self._write(self._first)
        poll = select.poll()
        ended = None if self._outputs else ended
        while True:
            self._watch(poll, ended)
            for descriptor, event in poll.poll(self._try_resize()):
                if descriptor == ended or (descriptor == self._connection.fileno() and not self._exchange(event)):
                    return False
                if descriptor == STDIN and not self._read_stdin():
                    poll.unregister(STDIN)
                if self._keys and self._keys.detached:
                    return True

    def _watch(self, poll: select.poll, ended: int | None) -> None:
        poll.register(self._connection.fileno(), select.POLLIN | (select.POLLOUT if self._unsent else 0))
        if self._stdin:
            poll.register(STDIN, select.POLLIN if len(self._unsent) < _MOST_UNSENT_BYTES else 0)
        if ended is not None:
            poll.register(ended, select.POLLIN)

    def _exchange(self, event: int) -> bool:
        """Send and receive without blocking; returns false once the container has closed its side."""
        if event & select.POLLOUT:
            self._send_unsent()
        if not event & ~select.POLLOUT:
            return True
        try:
            content = self._connection.receive_some()
        except ConnectionResetError:
            return False
        if content:
            self._write(content)
        return content != b""

    def _read_stdin(self) -> bool:
        """Read input from the user; returns false at the end."""
        try:
            typed = os.read(STDIN, _READ_BYTES)
        except OSError:
            typed = b""  # EIO: the terminal is gone
        if not typed:
            self._stdin = False
        elif self._keys:
            typed = self._keys.filter(typed)
        if typed:
            self._unsent += self._connection.encode(typed)
        self._send_unsent()
        return self._stdin

    def _send_unsent(self) -> None:
        try:
            if self._unsent:
                self._unsent = self._unsent[self._connection.send_some(self._unsent) :]
            if not self._stdin and not self._unsent:
                self._connection.end_writing()
        except OSError:
            # The container has closed its stdin, but may still send output.
            self._unsent, self._stdin = b"", False

    def _write(self, content: bytes) -> None:
        if self._frames is None:
            if STDOUT in self._outputs:
                write_all(STDOUT, content)
            return
        for stream, payload in self._frames.feed(content):
            if stream in self._outputs:
                write_all(stream, payload)

    def _try_resize(self) -> int | None:
        """Resize if that is pending; returns the maximum time to wait, in milliseconds."""
        if self._resize and (self._resize() or self._resize_tries == _RESIZE_TRIES):
            self._resize = None
        if self._resize is None:
            return None
        self._resize_tries += 1
        return self._resize_tries * 10
