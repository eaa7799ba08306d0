"""The engine's `Streams` over a WebSocket: attach for clients that can't hijack a connection, such as browsers.

The protocol is implemented here, over the hijacked connection: uvicorn would load a library for it, which takes
megabytes in every daemon, and of which a stream of bytes needs little.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from sampan.api import frames
from sampan.api.batch import Batch
from sampan.api.frames import BadFrame, Frame, FrameReader
from sampan.api.hijack import Hijack
from sampan.api.versions import Version
from sampan.engine import Job
from sampan.errdefs import Forbidden, InvalidArgument

_log = logging.getLogger(__name__)
_BINARY_SINCE = (1, 28)
_READ_AHEAD = 16  # frames
_GRACE_S = 1.0


def handshake_key(headers: Mapping[str, str]) -> bytes:
    """The key of a WebSocket handshake request.

    Raises `InvalidArgument` if it is not one, and `Forbidden` for a page of another origin in a browser that has a
    client certificate: for WebSockets, checking the origin is left to the server (RFC 6455, section 10.2).
    """
    key = headers.get("sec-websocket-key", "")
    if headers.get("upgrade", "").lower() != "websocket" or not key:
        raise InvalidArgument("this needs a WebSocket: the request has to ask for the upgrade")
    if headers.get("sec-websocket-version") != "13":
        raise InvalidArgument("only version 13 of the WebSocket protocol is supported")
    origin = headers.get("origin", "")
    if origin and urlsplit(origin).netloc != headers.get("host", ""):
        raise Forbidden(f"pages of {origin} may not open a WebSocket here")
    return key.encode("latin-1")


class WebSocketStreams:
    """Messages in both directions: text and binary messages are input; stdout and stderr are one stream.

    There is no half-close: when the client closes, both directions end.
    """

    def __init__(self, hijack: Hijack, key: bytes, version: Version, job_id: str) -> None:
        self._hijack = hijack
        self._key = key
        self._opcode = frames.BINARY if version >= _BINARY_SINCE else frames.TEXT
        self._job_id = job_id
        self._batch = Batch(hijack.write)
        self._input: asyncio.Queue[bytes] = asyncio.Queue(_READ_AHEAD)
        self._all_read = asyncio.Event()
        self._closed = asyncio.Event()
        self._code = frames.NORMAL
        self._reading: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        return self._hijack.taken

    @property
    def lost(self) -> bool:
        return self._closed.is_set() or self._hijack.lost.is_set()

    def join(self, job: Job[Any]) -> None:
        job.streams = self

    async def accept(self, *, multiplexed: bool) -> None:
        head = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {frames.accept_key(self._key)}\r\nSampan-Job: {self._job_id}\r\n\r\n"
        )
        self._hijack.take(head.encode())
        self._reading = asyncio.create_task(self._read(), name=f"websocket of job {self._job_id}")

    async def read(self) -> bytes:
        content = await self._input.get()
        if not content:
            self._all_read.set()
        return content

    async def write(self, stream: int, content: bytes) -> None:
        if self.lost:
            raise ConnectionResetError("the client is gone")
        await self._batch.write(frames.head(self._opcode, len(content)), content)

    async def gone(self) -> None:
        await self._closed.wait()

    async def fail(self, message: str) -> None:
        _log.warning("job %s ended early: %s", self._job_id, message)

    async def finish(self) -> None:
        await self._batch.write(frames.close(self._code))
        await self._batch.close()
        self._stop()
        await self._hijack.finish()

    def abandon(self) -> None:
        self._stop()
        self._batch.cancel()
        if self._hijack.taken:
            if not self._hijack.lost.is_set():
                self._hijack.write_now(frames.close(self._code))
            self._hijack.close()

    async def _read(self) -> None:
        """Receive from the client to the end; input sent right before closing still gets a while to be read."""
        await self._read_frames()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await self._input.put(b"")
                await self._all_read.wait()
        self._closed.set()

    async def _read_frames(self) -> None:
        """Read frames until the client closes, disconnects, or violates the protocol."""
        reader = FrameReader()
        try:
            while content := await self._hijack.read():
                for frame in reader.feed(content):
                    if not await self._take(frame):
                        return
        except BadFrame as error:
            _log.info("job %s: %s", self._job_id, error)
            self._code = error.code
        except ConnectionError:  # the client is gone, and a ping could not be answered
            return

    async def _take(self, frame: Frame) -> bool:
        """Handle a frame; returns false if it was the last."""
        if frame.opcode == frames.PING:
            await self._batch.write(frames.head(frames.PONG, len(frame.payload)), frame.payload)
        elif frame.opcode == frames.CLOSE:
            return False
        elif frame.opcode != frames.PONG and frame.payload:
            await self._input.put(frame.payload)
        return True

    def _stop(self) -> None:
        if self._reading:
            self._reading.cancel()
