"""Messages to a running conmon, and terminal sizes."""

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
_MOST_BYTES = 4096


def _set_window_size(terminal: int, height: int, width: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def resize_exec(container: WatchedContainer, exec_id: str, height: int, width: int) -> None:
    """Set the size of an exec's terminal. Raises `NotFound`, or `Conflict` if it no longer has one."""
    try:
        _set_window_size(container.execs[exec_id].attached.terminal, height, width)
    except KeyError:
        raise NotFound(f"No such exec instance: {exec_id}") from None
    except OSError:
        raise Conflict(f"Exec {exec_id} has no terminal or is not running") from None


async def tell_monitor(container: WatchedContainer, message: str) -> None:
    """Send conmon a message, and wait until it has read it. Raises `Conflict` if conmon is gone.

    Given two messages at once, conmon 2.1 executes the first one twice (src/ctrl.c, read_from_ctrl_buffer). A resize
    goes through two fifos, so both must be empty before the next message. A conmon that waits for a slow attached
    caller reads nothing; then this message replaces those that it has not read, and is executed later.
    """
    path = container.bundle / conmon.CONTROL_FIFO
    try:
        with _fifo(path, os.O_WRONLY) as control, _fifo(container.bundle / conmon.RESIZE_FIFO, os.O_WRONLY) as resize:
            async with container.control:
                if not await _read_by_monitor(control, resize):
                    message = _newest(_taken_back(path) + message)
                os.write(control, message.encode())
                await _read_by_monitor(control, resize)
    except OSError:
        raise Conflict(f"Container {container.record.id} is not running") from None


async def _read_by_monitor(*fifos: int) -> bool:
    """Whether it reads everything within the time that an idle conmon needs."""
    deadline = time.monotonic() + _CONTROL_PATIENCE_S
    while unread := any(_unread(fifo) for fifo in fifos):  # there is no event for it
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.001)
    return not unread


def _taken_back(path: Path) -> str:
    """Take back the messages that conmon has not read."""
    with _fifo(path, os.O_RDONLY) as control, contextlib.suppress(BlockingIOError):
        return os.read(control, _MOST_BYTES).decode()
    return ""


def _newest(messages: str) -> str:
    """The last of each kind.

    Reopening the log comes first: only the first of two messages is certain to be executed.
    """
    by_kind = {int(message.split()[0]): message for message in messages.splitlines(keepends=True)}
    return "".join(by_kind[kind] for kind in sorted(by_kind, key=(conmon.REOPEN_LOG, conmon.RESIZE).index))


@contextlib.contextmanager
def _fifo(path: Path, mode: int) -> Iterator[int]:
    fd = os.open(path, mode | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _unread(fifo: int) -> int:
    count: int = struct.unpack("i", fcntl.ioctl(fifo, termios.FIONREAD, bytes(4)))[0]
    return count
