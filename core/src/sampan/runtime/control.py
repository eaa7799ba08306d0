"""Messages to a running conmon, and the size of terminals."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from sampan.errdefs import Conflict, NotFound
from sampan.runtime import conmon
from sampan.runtime.watched import WatchedContainer

_CONTROL_PATIENCE_S = 0.2


def _set_window_size(terminal: int, height: int, width: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def resize_exec(container: WatchedContainer, exec_id: str, height: int, width: int) -> None:
    """Set the size of an exec's terminal. Raises `NotFound`, or `Conflict` if it has none any more."""
    try:
        _set_window_size(container.execs[exec_id].attached.terminal, height, width)
    except KeyError:
        raise NotFound(f"No such exec instance: {exec_id}") from None
    except OSError:
        raise Conflict(f"Exec {exec_id} has no terminal or is not running") from None


async def tell_monitor(container: WatchedContainer, message: str) -> None:
    """Tell conmon, and wait until it has read it. Raises `Conflict` if conmon is gone.

    Given two messages at once, conmon 2.1 obeys the first one twice (src/ctrl.c, read_from_ctrl_buffer). A resize
    passes through two fifos, so both must be empty before the next. A conmon that waits for a slow attacher reads
    nothing; then this one is given to it all the same, and is obeyed later.
    """
    try:
        with (
            _fifo(container.bundle / conmon.CONTROL_FIFO) as control,
            _fifo(container.bundle / conmon.RESIZE_FIFO) as resize,
        ):
            async with container.control:
                await _read_by_monitor(control, resize)
                os.write(control, message.encode())
                await _read_by_monitor(control, resize)
    except OSError:
        raise Conflict(f"Container {container.record.id} is not running") from None


async def _read_by_monitor(*fifos: int) -> None:
    deadline = time.monotonic() + _CONTROL_PATIENCE_S
    while any(_unread(fifo) for fifo in fifos) and time.monotonic() < deadline:  # noqa: ASYNC110 no event tells
        await asyncio.sleep(0.001)


@contextlib.contextmanager
def _fifo(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _unread(fifo: int) -> int:
    count: int = struct.unpack("i", fcntl.ioctl(fifo, termios.FIONREAD, bytes(4)))[0]
    return count
