"""A connection taken away from HTTP: raw bytes both ways, each way closed on its own."""

from __future__ import annotations

import asyncio
import fcntl
import select
import socket
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

_READ_AHEAD = 256 * 1024
_LINGER_S = 5.0
_HEAD_PATIENCE_S = 1.0
_LOOK_AGAIN_S = 0.001


class Owner(Protocol):
    """What a hijack asks of the HTTP protocol that it takes the connection from."""

    def hijacked(self) -> None:
        """The request is answered as far as HTTP is concerned."""

    async def drain(self) -> None:
        """Wait until the transport has room."""


class Hijack:
    """The raw side of one connection.

    It collects what the client sends from the end of the request on, stops reading from a client that sends more
    than is asked for, and waits for one that reads slowly. The client's end of input (`read` answers `b""`) does
    not end our side. `lost` is set when the connection is gone.
    """

    def __init__(self, owner: Owner, transport: asyncio.Transport, *, upgrade: bool) -> None:
        self.upgrade = upgrade
        self.taken = False
        self.lost = asyncio.Event()
        self._owner = owner
        self._transport = transport
        self._received = bytearray()
        self._eof = False
        self._paused = False
        self._head_is_read = False
        self._readable = asyncio.Event()
        self._hangup: _HangupWatch | None = None

    def take(self, head: bytes) -> None:
        """Answer the request with `head`, and speak HTTP no more."""
        self.taken = True
        self._owner.hijacked()
        self._transport.write(head)

    def feed(self, content: bytes) -> None:
        """The client sent something."""
        self._received += content
        self._readable.set()
        if len(self._received) > _READ_AHEAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def feed_eof(self) -> None:
        """The client has closed its side. A unix socket then still tells when the client is gone altogether."""
        self._eof = True
        self._readable.set()
        connection = self._transport.get_extra_info("socket")
        if connection is not None and connection.family == socket.AF_UNIX and not self._transport.is_closing():
            self._hangup = _HangupWatch(connection.fileno(), self._transport.abort)

    def feed_lost(self) -> None:
        """The connection is gone."""
        if self._hangup:
            self._hangup.close()
        self._eof = True
        self._readable.set()
        self.lost.set()

    async def read(self) -> bytes:
        """What the client sent, as it comes; `b""` at its end."""
        while not self._received and not self._eof:
            self._readable.clear()
            await self._readable.wait()
        content = bytes(self._received)
        self._received.clear()
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return content

    async def write(self, content: bytes) -> None:
        """Send; waits for a slow client. Raises `ConnectionResetError` when it is gone."""
        if not self._head_is_read:
            await self._until_head_is_read()
        if self.lost.is_set() or self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(content)
        await self._owner.drain()

    async def _until_head_is_read(self) -> None:
        """Keep the first output apart from the head.

        docker-py reads the head through a buffer and then from the socket itself: output that came along with the
        head would be lost to it. Nothing tells when a peer has read; mostly it has long before there is output.
        """
        self._head_is_read = True
        connection = self._transport.get_extra_info("socket")
        if connection is None or connection.family != socket.AF_UNIX:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + _HEAD_PATIENCE_S
        while not self.lost.is_set() and loop.time() < end and _unread(connection.fileno()):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_AGAIN_S)

    def write_now(self, content: bytes) -> None:
        """Send a last word, whether or not there is room."""
        if not self._transport.is_closing():
            self._transport.write(content)

    async def finish(self) -> None:
        """Send what is buffered, say that no more comes, and hang up once the client has seen it.

        Closing at once would, with input still unread, turn the client's end of output into a connection reset.
        """
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_S):
                    while await self.read():
                        pass
        self.close()

    def close(self) -> None:
        """Hang up, after what is buffered."""
        if self._hangup:
            self._hangup.close()
        self._transport.close()


def _unread(fd: int) -> int:
    """How much of what was sent the peer of a unix socket has not read, in the kernel's measure (unix(7))."""
    if fd < 0:
        return 0
    answer = fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0" * 4)
    return int.from_bytes(answer, sys.byteorder)


class _HangupWatch:
    """Calls `gone` when the peer of a unix socket has closed both sides.

    After the end of input asyncio no longer looks at the socket, so that a client that went away would be seen at
    the next write only. EPOLLHUP is reported without being asked for, and comes only when both sides are closed.
    """

    def __init__(self, fd: int, gone: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._epoll.register(fd, 0)
        self._gone = gone
        self._loop.add_reader(self._epoll.fileno(), self._on_hangup)

    def _on_hangup(self) -> None:
        self.close()
        self._gone()

    def close(self) -> None:
        """Stop watching; may be called again."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            with suppress(OSError):
                self._epoll.close()
