"""The engine's `Streams` and `Output` over HTTP: hijacked, chunked, and as JSON items.

Each class is also a `run.Sink`, which ends the response and notices when the client is gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel
from starlette.types import Receive, Send

from sampan.api.accept import JSON_SEQUENCE, RECORD_SEPARATOR
from sampan.api.batch import Batch
from sampan.api.bulk import BulkBody
from sampan.api.compat import dump_json
from sampan.api.framing import content_type, header
from sampan.api.headers import STANDARD_LINES
from sampan.api.hijack import Hijack
from sampan.api.versions import Version
from sampan.engine import Job

_log = logging.getLogger(__name__)


class HijackedStreams:
    """For attach and exec: the raw connection, in both directions."""

    def __init__(self, hijack: Hijack, version: Version, job_id: str) -> None:
        self._hijack = hijack
        self._version = version
        self._job_id = job_id
        self._batch = Batch(hijack.write)
        self._multiplexed = False

    @property
    def started(self) -> bool:
        return self._hijack.taken

    @property
    def lost(self) -> bool:
        return self._hijack.lost.is_set()

    def join(self, job: Job[Any]) -> None:
        job.streams = self

    async def accept(self, *, multiplexed: bool) -> None:
        self._multiplexed = multiplexed
        if self._hijack.upgrade:
            head = (
                f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type(self._version, multiplexed=multiplexed)}\r\n"
            )
            head += "Connection: Upgrade\r\nUpgrade: tcp\r\n"
        else:  # only an old client doesn't request an upgrade
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type((1, 24), multiplexed=False)}\r\n"
        self._hijack.take(f"{head}{STANDARD_LINES}Sampan-Job: {self._job_id}\r\n\r\n".encode())

    async def read(self) -> bytes:
        return await self._hijack.read()

    async def write(self, stream: int, content: bytes) -> None:
        if self.lost:
            raise ConnectionResetError("the client is gone")
        if self._multiplexed:
            await self._batch.write(header(stream, len(content)), content)
        else:
            await self._batch.write(content)

    async def gone(self) -> None:
        await self._hijack.lost.wait()

    async def fail(self, message: str) -> None:
        _log.warning("job %s ended early: %s", self._job_id, message)

    async def finish(self) -> None:
        await self._batch.close()
        await self._hijack.finish()

    def abandon(self) -> None:
        self._batch.cancel()
        if self._hijack.taken:
            self._hijack.close()


class _Answer:
    """The body of an ordinary HTTP response, sent in pieces while the job runs."""

    def __init__(
        self, media_type: str, receive: Receive, send: Send, *, has_body: bool = False, bulk: BulkBody | None = None
    ) -> None:
        self.media_type = media_type
        self.headers: list[tuple[bytes, bytes]] = []
        self.started = False
        self._send = send
        self._lost = asyncio.Event()
        self._body = _RequestBody(receive, self._lost, bulk)
        self._has_body = has_body
        self._batch = Batch(self._send_piece)

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    def join(self, job: Job[Any]) -> None:
        if self._has_body:
            job.body = self._body

    async def start(self) -> None:
        """Send the response head, if it hasn't been sent."""
        if self.started:
            return
        self.started = True
        headers = [(b"content-type", self.media_type.encode())] if self.media_type else []
        headers += self.headers
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write_pieces(self, *pieces: bytes) -> None:
        """Queue pieces of the body to be sent. Raises `ConnectionResetError` when the client is gone."""
        if self.lost:
            raise ConnectionResetError("the client is gone")
        await self._batch.write(*pieces)

    async def gone(self) -> None:
        if self._has_body:
            await self._body.complete.wait()
        await self._body.drain()

    async def finish(self) -> None:
        await self.start()
        await self._batch.close()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def abandon(self) -> None:
        self._batch.cancel()

    async def _send_piece(self, content: bytes) -> None:
        await self._send({"type": "http.response.body", "body": content, "more_body": True})


class ChunkedStreams(_Answer):
    """For logs: output only, in the body of an ordinary response."""

    def __init__(self, version: Version, receive: Receive, send: Send) -> None:
        super().__init__(content_type(version, multiplexed=False), receive, send)
        self._version = version
        self._multiplexed = False

    def join(self, job: Job[Any]) -> None:
        super().join(job)
        job.streams = self

    async def accept(self, *, multiplexed: bool) -> None:
        self._multiplexed = multiplexed
        self.media_type = content_type(self._version, multiplexed=multiplexed)
        await self.start()

    async def read(self) -> bytes:
        return b""

    async def write(self, stream: int, content: bytes) -> None:
        if self._multiplexed:
            await self.write_pieces(header(stream, len(content)), content)
        else:
            await self.write_pieces(content)

    async def fail(self, message: str) -> None:
        _log.warning("logs ended early: %s", message)


class OutputStream(_Answer):
    """For pull, load, events, wait: one JSON object for each item, with a newline and the prefix of `media_type`."""

    def __init__(
        self,
        version: Version,
        media_type: str,
        receive: Receive,
        send: Send,
        *,
        has_body: bool = False,
        bulk: BulkBody | None = None,
        early_head: bool = True,
        breaks_off: bool = False,
    ) -> None:
        super().__init__(media_type, receive, send, has_body=has_body, bulk=bulk)
        self._version = version
        self._early_head = early_head
        self._breaks_off = breaks_off
        self._begin = RECORD_SEPARATOR if media_type == JSON_SEQUENCE else b""

    def join(self, job: Job[Any]) -> None:
        super().join(job)
        job.output = self

    async def open(self) -> None:
        if self._early_head:
            await self.start()

    async def write(self, item: Any) -> None:
        await self.start()
        if isinstance(item, BaseModel):
            await self.write_pieces(self._begin, dump_json(item, self._version), b"\r\n")
        else:
            await self.write_pieces(self._begin, json.dumps(item, separators=(",", ":")).encode(), b"\r\n")

    async def fail(self, message: str) -> None:
        if self._breaks_off:
            _log.warning("an answer was cut off: %s", message)
            raise ConnectionAbortedError(message)
        await self.write({"errorDetail": {"message": message}, "error": message})


class TarStream(_Answer):
    """Streams an archive. A model that the job writes before the first bytes is sent in a header."""

    def __init__(self, version: Version, header: str, receive: Receive, send: Send) -> None:
        super().__init__("application/x-tar", receive, send)
        self._version = version
        self._header = header.encode()

    def join(self, job: Job[Any]) -> None:
        super().join(job)
        job.output = self

    async def open(self) -> None:
        await self.start()

    async def write(self, item: Any) -> None:
        if isinstance(item, BaseModel):
            self.headers.append((self._header, b64encode(dump_json(item, self._version))))
        else:
            await self.start()
            await self.write_pieces(item)

    async def fail(self, message: str) -> None:
        """Abort the connection, so that the client can't mistake a partial archive for a complete one."""
        _log.warning("an archive ended early: %s", message)
        raise ConnectionAbortedError(message)


class Upload(_Answer):
    """For requests with a body whose response is only a status."""

    def __init__(self, receive: Receive, send: Send) -> None:
        super().__init__("", receive, send, has_body=True)
        self.headers = [(b"content-length", b"0")]

    async def fail(self, message: str) -> None:
        """Only called after the head, which is sent at the end: until then, errors are sent as a status."""
        raise ConnectionAbortedError(message)


class _RequestBody(AsyncIterator[bytes]):
    """The body of a request, as it arrives; afterwards it detects when the client disconnects.

    With `bulk`, most of it can first be read by a thread.
    """

    def __init__(self, receive: Receive, lost: asyncio.Event, bulk: BulkBody | None) -> None:
        self._receive = receive
        self._lost = lost
        self.bulk = bulk
        self.complete = asyncio.Event()

    async def __anext__(self) -> bytes:
        while not self.complete.is_set():
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._lost.set()
                raise ConnectionResetError("the client went away before its request was complete")
            if not message.get("more_body", False):
                self.complete.set()
            if content := message.get("body", b""):
                return bytes(content)
        raise StopAsyncIteration

    async def drain(self) -> None:
        """Discard further input until the client disconnects."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._lost.set()
