"""Reads marked packets from a socket, many at a time.

conmon sends each piece of output, at most 8 KiB, as a separate packet, preceded by a mark for the pipe it came from
(src/ctr_stdio.c). A reader that wakes up for every packet spends most of its time on wakeups.
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
"""A mark, and the bytes that follow it."""

_PACKET_BYTES = 8193  # conmon src/config.h: STDIO_BUF_SIZE, and the mark
_TAKE_BYTES = 512 << 10
_BUSY_NS = 1_000_000


@dataclass(frozen=True)
class _Pace:
    """How long packets may accumulate, and how many bytes rule that out as the sender runs out of room."""

    pause_ns: int
    many_bytes: int


_NARROW = _Pace(200_000, 12 * _PACKET_BYTES)  # a socket as conmon creates it is full with a dozen
_WIDE = _Pace(1_000_000, _TAKE_BYTES - 2 * _PACKET_BYTES)


class Packets:
    """Takes packets off a non-blocking socket; consecutive ones with the same mark are joined to one piece.

    If packets arrive in quick succession, it lets some accumulate before taking them; after a silence, it takes them
    at once.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer: memoryview | None = None  # untouched pages cost nothing, so with little output it stays small
        self._taken_ns = self._taken_bytes = 0
        self._timer: int | None = None
        self._pace = _NARROW

    @property
    def crowded(self) -> bool:
        """Whether the last `read` found the socket almost full."""
        return self._taken_bytes >= self._pace.many_bytes

    def widened(self) -> None:
        """Called when the socket has room for megabytes, so that more packets may accumulate."""
        self._pace = _WIDE

    async def read(self) -> list[Piece]:
        """The next pieces, in order; none at the end or after a reset. Raises `OSError` if it was closed."""
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
        """Release its resources; the socket belongs to the caller."""
        if self._timer is not None:
            os.close(self._timer)
            self._timer = None

    async def _pause(self) -> None:
        """asyncio's own timers have a resolution of a millisecond, in which the socket would overflow."""
        if self._timer is None:
            self._timer = timerfd_create()
        timerfd_settime(self._timer, self._pace.pause_ns)
        await _readable(self._timer)

    def _take(self) -> list[Piece]:
        """Everything that is available and fits. Raises `BlockingIOError` if there is nothing yet.

        A packet is received one byte before its place, so that its mark overwrites the last byte of the previous one,
        which is then restored: contents are adjacent without being copied, and without the cost of recvmsg(2).
        """
        buffer = self._buffer = self._buffer or memoryview(bytearray(_TAKE_BYTES))
        pieces: list[Piece] = []
        mark, begin, end = 0, 1, 1
        while end + _PACKET_BYTES <= _TAKE_BYTES:
            covered = buffer[end - 1]
            try:
                count = self._socket.recv_into(buffer[end - 1 :])
            except ConnectionResetError:  # reported once, before data sent earlier
                continue
            except OSError:
                if end == 1:
                    raise
                break  # nothing more for now, or an error that will come again
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
