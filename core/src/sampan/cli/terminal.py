# ruff: noqa: PLC0415  # only for a terminal
"""The user's terminal: is it one, how large is it, raw mode."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


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
