"""The standard streams: writing to them, and the terminal that they may be."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

STDIN, STDOUT, STDERR = 0, 1, 2


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of `content`, waiting if the descriptor takes no more at once.

    Not through `sys.stdout`: unbuffered (PYTHONUNBUFFERED), it drops what a pipe did not take at once.
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
    """Rows and columns, (0, 0) when it is no terminal."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return 0, 0
    return size.lines, size.columns


@contextmanager
def raw_mode(descriptor: int) -> Iterator[None]:
    """Pass every key and every byte through unchanged; restored at the end, whatever happens."""
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
