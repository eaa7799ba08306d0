"""Large request bodies, which the consumer's thread reads from the socket, bypassing the parser and the event loop.

A client sends an archive in chunks of some 32 KiB. Passing these through the event loop one by one takes more CPU
time than hashing them.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_BLOCK_BYTES = 1 << 20
_READ_BYTES = 1 << 18
_CHUNK_HEAD = re.compile(rb"([0-9a-fA-F]{1,8})\r\n")
_HALF_HEAD = re.compile(rb"[0-9a-fA-F]{0,8}\r?")
_LINE_END = b"\r\n"


class BulkBody:
    """The chunked body (RFC 9112, section 7.1) of a request of which the parser has seen only the head.

    It handles ordinary chunks. At anything else, such as the last chunk, and when it is closed, the parser continues:
    `go_on` is called once, in the event loop, with the data to parse first. Until then, nothing else may read from
    the connection.
    """

    def __init__(self, connection: int, received: bytes, go_on: Callable[[bytes], None]) -> None:
        """`connection` is the socket's descriptor, `received` the data that arrived together with the head."""
        self._socket = socket.socket(fileno=os.dup(connection))
        self._socket.setblocking(False)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._go_on = go_on
        self._received = received
        self._chunk_left = 0
        self._in_chunk = False  # until the CRLF after its data has been read too
        self._in_use = False
        self._ended = False

    async def beginning(self, count: int) -> bytes:
        """Peek at the first `count` bytes; fewer if the first chunk is shorter or not an ordinary one."""
        loop = asyncio.get_running_loop()
        with self._used():
            while missing := self._missing(count):
                received = await loop.sock_recv(self._socket, missing)
                if not received:
                    break
                self._received += received
        head = _CHUNK_HEAD.match(self._received)
        return self._received[head.end() : head.end() + min(count, int(head[1], 16))] if head else b""

    def _missing(self, count: int) -> int:
        """How many bytes are missing to return the first `count`, or to find that there are fewer."""
        head = _CHUNK_HEAD.match(self._received)
        if head is None:
            return count if _HALF_HEAD.fullmatch(self._received) else 0
        return max(head.end() + min(count, int(head[1], 16)) - len(self._received), 0)

    @contextmanager
    def blocks(self) -> Iterator[Iterator[bytes]]:
        """Iterate over the body in blocks of about a megabyte, in one thread, which must end within the context.

        The iterator ends where the parser continues, or after `stop`.
        """
        try:
            with self._used():
                yield self._blocks()
        finally:
            self.close()

    def stop(self) -> None:
        """Make the thread stop waiting."""
        self._ended = True
        if self._stop >= 0:
            os.eventfd_write(self._stop, 1)

    def close(self) -> None:
        """Let the parser continue, as soon as no thread is reading."""
        self.stop()
        if self._in_use or self._stop < 0:
            return
        self._socket.close()
        os.close(self._stop)
        self._stop = -1
        # Within a chunk, the parser gets the head of a chunk of the remaining size, plus one byte in place of those
        # already read.
        begun = b"%x\r\n." % (self._chunk_left + 1) if self._in_chunk else b""
        self._go_on(begun + self._received)

    def lose(self) -> None:
        """Called when the connection is lost: wakes up whoever is waiting for data."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)
        self.close()

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Keep the socket open within the context, as it may be waited for."""
        self._in_use = True
        try:
            yield
        finally:
            self._in_use = False
            if self._ended:
                self.close()

    def _blocks(self) -> Iterator[bytes]:
        parts = list(self._contents(self._received))
        size = sum(map(len, parts))
        while not self._ended and (received := self._receive()):
            for content in self._contents(self._received + received):
                parts.append(content)
                size += len(content)
            if size >= _BLOCK_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
        if parts:
            yield b"".join(parts)
        self._in_use = False

    def _receive(self) -> bytes:
        """The next data; b"" at the end of the connection, or after `stop`."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        waiting.register(self._stop, select.POLLIN)
        while not self._ended:
            try:
                received = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                waiting.poll()
                continue
            except OSError:  # the connection is broken, which its transport will detect
                received = b""
            if not received:
                self._in_chunk, self._received = False, b""
            return received
        return b""

    def _contents(self, received: bytes) -> Iterator[memoryview]:
        """Yield the contents of the chunks in `received`; the unparsed rest stays in `_received`."""
        view, at = memoryview(received), 0
        while at < len(received):
            if self._chunk_left:
                content = view[at : at + self._chunk_left]
                self._chunk_left -= len(content)
                at += len(content)
                yield content
            elif self._in_chunk and received.startswith(_LINE_END, at):
                self._in_chunk = False
                at += len(_LINE_END)
            elif (head := self._head(received, at)) is not None:
                self._chunk_left, self._in_chunk = int(head[1], 16), True
                at = head.end()
            else:
                break
        self._received = received[at:]

    def _head(self, received: bytes, at: int) -> re.Match[bytes] | None:
        """Match the head of an ordinary chunk. If the data can't become one, the parser is to continue."""
        if self._in_chunk:
            if not _LINE_END.startswith(received[at : at + 2]):
                self._ended = True
            return None
        head = _CHUNK_HEAD.match(received, at)
        if head is not None and int(head[1], 16):
            return head
        if head is not None or not _HALF_HEAD.fullmatch(received, at):
            self._ended = True  # never back to false: `stop` may have set it
        return None
