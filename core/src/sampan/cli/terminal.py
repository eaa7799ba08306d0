"""The standard streams: writing to them, and handling a terminal."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

STDIN, STDOUT, STDERR = 0, 1, 2


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of `content`, waiting if the descriptor is not ready.

    Not through `sys.stdout`, which if unbuffered (PYTHONUNBUFFERED) drops the rest after a short write to a pipe.
    """
    while content:
        try:
            content = content[os.write(descriptor, content) :]
        except BlockingIOError:
            waiter = select.poll()
            waiter.register(descriptor, select.POLLOUT)
            waiter.poll()


def write_text(descriptor: int, text: str) -> None:
    """Write all of `text`, in UTF-8."""
    write_all(descriptor, text.encode(errors="replace"))


def is_terminal(descriptor: int) -> bool:
    """Whether the descriptor is open and a terminal."""
    return os.isatty(descriptor)


def size_of(descriptor: int) -> tuple[int, int]:
    """Rows and columns, (0, 0) if it is not a terminal."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return 0, 0
    return size.lines, size.columns


@contextmanager
def raw_mode(descriptor: int) -> Iterator[None]:
    """Put a terminal into raw mode within the context: every key and byte is passed through unchanged."""
    if not is_terminal(descriptor):
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
