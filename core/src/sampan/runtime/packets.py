"""Reading marked packets off a socket many at a time.

conmon sends each piece of output, of 8 KiB at most, as a packet of its own, with a mark before it that names the pipe
it came from (src/ctr_stdio.c). Woken for every packet, a reader spends most of its time on being woken.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import dataclass
from typing import TypeAlias

from sampan.syscalls.timerfd import timerfd_create, timerfd_settime

Piece: TypeAlias = tuple[int, bytes]
"""A mark, and what came with it."""

_PACKET_BYTES = 8193  # conmon src/config.h: STDIO_BUF_SIZE, and the mark
_TAKE_BYTES = 512 << 10
_BUSY_NS = 1_000_000


@dataclass(frozen=True)
class _Pace:
    """How long packets may gather, and how many bytes leave no time for it as the sender has no room left."""

    pause_ns: int
    many_bytes: int


_NARROW = _Pace(200_000, 12 * _PACKET_BYTES)  # a socket as conmon makes it is full with a dozen
_WIDE = _Pace(1_000_000, _TAKE_BYTES - 2 * _PACKET_BYTES)


class Packets:
    """Takes packets off a non-blocking socket; those with one mark that follow each other become one piece.

    When packets come in quick succession it lets some gather before it takes them; what comes after a silence is
    taken at once.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer: memoryview | None = None  # untouched pages cost nothing: who is told little holds little
        self._taken_ns = self._taken_bytes = 0
        self._timer: int | None = None
        self._pace = _NARROW

    @property
    def crowded(self) -> bool:
        """Whether the last `read` found the socket as good as full."""
        return self._taken_bytes >= self._pace.many_bytes

    def widened(self) -> None:
        """The socket has room for megabytes from now on: more may gather."""
        self._pace = _WIDE

    async def read(self) -> list[Piece]:
        """What comes next, in order; nothing at the end, a reset included. Raises `OSError` if it was closed."""
        if not self.crowded and time.monotonic_ns() - self._taken_ns < _BUSY_NS:
            await self._pause()
        while True:
            try:
                pieces = self._take()
            except BlockingIOError:
                await _readable(self._socket.fileno())
            else:
                self._taken_ns = time.monotonic_ns()
                return pieces

    def close(self) -> None:
        """Let go of what it holds; the socket is its owner's."""
        if self._timer is not None:
            os.close(self._timer)
            self._timer = None

    async def _pause(self) -> None:
        """asyncio's own timers know nothing shorter than a millisecond, in which the socket would run full."""
        if self._timer is None:
            self._timer = timerfd_create()
        timerfd_settime(self._timer, self._pace.pause_ns)
        await _readable(self._timer)

    def _take(self) -> list[Piece]:
        """All that is there and fits. Raises `BlockingIOError` if there is nothing yet.

        A packet is received one byte before its place, so that its mark lands on the last byte of the one before,
        which is then put back: contents lie side by side without being copied, and without the price of recvmsg(2).
        """
        buffer = self._buffer = self._buffer or memoryview(bytearray(_TAKE_BYTES))
        pieces: list[Piece] = []
        mark, begin, end = 0, 1, 1
        while end + _PACKET_BYTES <= _TAKE_BYTES:
            covered = buffer[end - 1]
            try:
                count = self._socket.recv_into(buffer[end - 1 :])
            except ConnectionResetError:  # told once, and before what was sent earlier is handed out
                continue
            except OSError:
                if end == 1:
                    raise
                break  # nothing more for now, or an error that comes again
            if not count:
                break
            found, buffer[end - 1] = buffer[end - 1], covered
            if found != mark:
                _keep(pieces, mark, buffer[begin:end])
                mark, begin = found, end
            end += count - 1
        _keep(pieces, mark, buffer[begin:end])
        self._taken_bytes = end
        return pieces


def _keep(pieces: list[Piece], mark: int, content: memoryview) -> None:
    if content:
        pieces.append((mark, bytes(content)))


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
