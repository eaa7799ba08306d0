"""A connection taken over from HTTP: raw bytes in both directions, each closed separately."""

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
    """What a hijack needs of the HTTP protocol that it takes the connection from."""

    def hijacked(self) -> None:
        """Called when the connection is taken over: for HTTP, the response is complete."""

    async def drain(self) -> None:
        """Wait until the transport has room."""


class Hijack:
    """The raw side of one connection.

    It buffers what the client sends after the request, pauses reading if that is not consumed, and waits for a client
    that reads slowly. When the client closes its side (`read` returns `b""`), ours stays open. `lost` is set when the
    connection is gone.
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
        """Respond to the request with `head`, and take over the connection."""
        self.taken = True
        self._owner.hijacked()
        self._transport.write(head)

    def feed(self, content: bytes) -> None:
        """Called with data from the client."""
        self._received += content
        self._readable.set()
        if len(self._received) > _READ_AHEAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def feed_eof(self) -> None:
        """Called when the client has closed its side. A unix socket is then watched until the client is gone."""
        self._eof = True
        self._readable.set()
        connection = self._transport.get_extra_info("socket")
        if connection is not None and connection.family == socket.AF_UNIX and not self._transport.is_closing():
            self._hangup = _HangupWatch(connection.fileno(), self._transport.abort)

    def feed_lost(self) -> None:
        """Called when the connection is gone."""
        if self._hangup:
            self._hangup.close()
        self._eof = True
        self._readable.set()
        self.lost.set()

    async def read(self) -> bytes:
        """The next data from the client, as it arrives; `b""` at the end."""
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
        """Wait until the client has read the head, before any output is sent.

        docker-py reads the head through a buffer, and then directly from the socket: output that arrived together
        with the head would be lost. There is no event for this, but the head is usually read before there is output.
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
        """Send final data without waiting for room."""
        if not self._transport.is_closing():
            self._transport.write(content)

    async def finish(self) -> None:
        """Send buffered data and end of file, and close the connection once the client has done so, or after a while.

        Closing immediately, with unread input, would reset the connection before the client has read everything.
        """
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_S):
                    while await self.read():
                        pass
        self.close()

    def close(self) -> None:
        """Close the connection after sending buffered data."""
        if self._hangup:
            self._hangup.close()
        self._transport.close()


def _unread(fd: int) -> int:
    """How much of the sent data the peer of a unix socket has not read, in the kernel's accounting (unix(7))."""
    if fd < 0:
        return 0
    answer = fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0" * 4)
    return int.from_bytes(answer, sys.byteorder)


class _HangupWatch:
    """Calls `gone` when the peer of a unix socket has closed both sides.

    After end of file, asyncio no longer polls the socket, so a disconnected client would be noticed only at the next
    write. EPOLLHUP is always reported, and only when both sides are closed.
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
        """Stop watching; may be called repeatedly."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            with suppress(OSError):
                self._epoll.close()
