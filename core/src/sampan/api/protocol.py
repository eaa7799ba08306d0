"""uvicorn's HTTP protocol, extended by what Docker's API needs and ASGI lacks: the caller, and the raw connection.

`scope["extensions"]` gets `sampan.caller` (a `Caller`), for requests that may be hijacked `sampan.hijack` (a
`Hijack`), and for those with a large body `sampan.bulk` (a `BulkBody`).
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn._types import ASGIReceiveEvent
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sampan.api.bulk import BulkBody
from sampan.api.hijack import Hijack
from sampan.engine import Caller

CALLER, HIJACK, BULK = "sampan.caller", "sampan.hijack", "sampan.bulk"
_HIJACKABLE = re.compile(r"(?:/v[0-9.]+)?/(?:containers/.+/attach|exec/.+/start)")
_WEBSOCKET = re.compile(r"(?:/v[0-9.]+)?/containers/.+/attach/ws")
_HIJACK_HEAD = re.compile(rb"POST (?:/v[0-9.]+)?/(?:containers/[^ ?]+/attach|exec/[^ ?]+/start)[ ?]")
_BULK_HEAD = re.compile(rb"POST (?:/v[0-9.]+)?/images/load[ ?]")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_NOT_AT_ONCE = re.compile(rb"\r\n(?:expect|upgrade):", re.IGNORECASE)
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CREDENTIALS = struct.Struct("3i")
_WRITE_BUFFER = 1024 * 1024
_LINGER_S = 2.0


@dataclass(frozen=True)
class HttpLimits:
    """Limits on connections and requests. Sizes are in bytes, times in seconds."""

    connections: int = 4096
    head: int = 1024 * 1024
    head_timeout_s: float = 60.0


class HttpProtocol(HttpToolsProtocol):
    """One connection, which is in `alive` until it is lost, raw or not."""

    def __init__(
        self, config: Config, state: ServerState, role: str, limits: HttpLimits, alive: set[HttpProtocol]
    ) -> None:
        super().__init__(config, state, {})
        self._alive = alive
        self._role = role
        self._limits = limits
        self._caller = Caller(role=role)
        self._extensions: dict[str, Any] = {}
        self._candidate: Hijack | None = None  # of the request being read
        self._hijack: Hijack | None = None  # set at the end of that request: gets all further bytes
        self._bulk: BulkBody | None = None  # while set, nothing is read here
        self._refused = False
        self._raw = False  # whether the parser gets no more data
        self._body_left = 0  # of an upgrade request, whose body the parser doesn't read
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self._caller = caller_of(transport, self._role)
        self._alive.add(self)
        self._arm_head_timer()
        if len(self._alive) > self._limits.connections:
            self._refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self._alive.discard(self)
        self._disarm_head_timer()
        super().connection_lost(exc)
        if self._hijack:
            self._hijack.feed_lost()
        if self._bulk:
            self._bulk.lose()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._refused:
            return
        if self._raw:
            self._feed_raw(data)
            return
        if head_bytes := self._bulk_head(data):
            self._parse(data[:head_bytes])
            self._read_in_bulk(data[head_bytes:])
            return
        request, early = self._split(data)
        self._parse(request)
        if early:
            self._feed_raw(early)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """On a raw connection, end of file from the client closes only that direction."""
        if self._hijack:
            self._hijack.feed_eof()
            return True
        return None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._arm_head_timer()
        self._extensions = {CALLER: self._caller}
        self.scope["extensions"] = self._extensions

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        self._disarm_head_timer()
        path = httptools.parse_url(self.url).path.decode("ascii", "replace")
        upgrade = self._get_upgrade()
        if _may_be_hijacked(self.parser.get_method(), path, upgrade):
            self._body_left = self._announced_body() if upgrade else 0
            self._candidate = Hijack(self, self.transport, upgrade=upgrade is not None)
            self._extensions[HIJACK] = self._candidate
        super().on_headers_complete()
        if self._candidate:
            self.cycle.keep_alive = False  # what follows belongs to the raw stream, or is ignored

    def on_message_complete(self) -> None:
        if self._body_left:
            return
        super().on_message_complete()
        self._hijack = self._candidate
        self._raw = self._raw or self._hijack is not None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._bulk:
            self._bulk.close()

    def hijacked(self) -> None:
        """Called when a handler has taken over the connection: for HTTP, the response is complete."""
        self.cycle.response_started = self.cycle.response_complete = True
        self._unset_keepalive_if_required()

    async def drain(self) -> None:
        """Wait until the transport has room."""
        if self.flow.write_paused:
            await self.flow.drain()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg)

    def abort(self) -> None:
        """Drop the connection immediately."""
        self.transport.abort()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._raw = True
            self.cycle.keep_alive = False  # close after the response to an unsupported upgrade
            self._feed_raw(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(400, "Invalid HTTP request received.")
        else:
            self._count_head(len(data))

    def _feed_raw(self, data: bytes) -> None:
        """Handle data that bypasses the parser: the rest of the body, then the raw stream."""
        if self._body_left:
            body, data = data[: self._body_left], data[self._body_left :]
            self._body_left -= len(body)
            self.on_body(body)
            if not self._body_left:
                self.on_message_complete()
        if self._hijack and data:
            self._hijack.feed(data)

    def _announced_body(self) -> int:
        return next((int(value) for name, value in self.headers if name == b"content-length"), 0)

    def _split(self, data: bytes) -> tuple[bytes, bytes]:
        """Split data into a request that may be hijacked and what follows it.

        The parser stops by itself after an upgrade request; otherwise it would continue, and parse the raw bytes as
        the next request.
        """
        if not _HIJACK_HEAD.match(data):  # checked first, as every piece of a large body passes here
            return data, b""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 or _UPGRADE.search(data, 0, end):
            return data, b""
        length = _CONTENT_LENGTH.search(data, 0, end)
        end += int(length[1]) if length else 0
        return data[:end], data[end:]

    def _bulk_head(self, data: bytes) -> int:
        """The size of the request head at the beginning of `data`; 0 if its body can't be read in bulk."""
        is_idle = self.cycle is None or self.cycle.response_complete
        if not (is_idle and self.scheme == "http" and _BULK_HEAD.match(data)):
            return 0
        end = data.find(b"\r\n\r\n") + 4
        return end if _CHUNKED.search(data, 0, end) and not _NOT_AT_ONCE.search(data, 0, end) else 0

    def _read_in_bulk(self, received: bytes) -> None:
        """Leave the body of the current request to the application, until that calls `receive` as usual."""
        if self._refused:
            return
        self.transport.pause_reading()
        connection = self.transport.get_extra_info("socket").fileno()
        bulk = self._bulk = self._extensions[BULK] = BulkBody(connection, received, self._end_bulk)
        receive = self.cycle.receive

        async def receive_the_rest() -> ASGIReceiveEvent:
            bulk.close()
            return await receive()

        self.cycle.receive = receive_the_rest  # type: ignore[method-assign]

    def _end_bulk(self, rest: bytes) -> None:
        self._bulk = None
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._parse(rest)

    def _count_head(self, received: int) -> None:
        if self._head_timer is None:  # the head is complete, this is the body
            return
        self._head_bytes += received
        if self._head_bytes > self._limits.head:
            self._refuse(431, "request header is too large")

    def _refuse(self, status: int, message: str) -> None:
        """Respond without involving the application, and close the connection a while later.

        Closing immediately, with unread input, would reset the connection before the client has read the response.
        """
        if self._refused:
            return
        self._refused = True
        self._disarm_head_timer()
        body = json.dumps({"message": message}).encode()
        phrase = HTTPStatus(status).phrase
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.write_eof()
        self._head_timer = self.loop.call_later(_LINGER_S, self.transport.close)

    def _arm_head_timer(self) -> None:
        self._disarm_head_timer()
        self._head_timer = self.loop.call_later(self._limits.head_timeout_s, self._on_head_timeout)

    def _disarm_head_timer(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_head_timeout(self) -> None:
        if self._head_bytes:
            self._refuse(408, "request header did not arrive in time")
        elif not self.transport.is_closing():
            self.transport.close()


def _may_be_hijacked(method: bytes, path: str, upgrade: bytes | None) -> bool:
    if method == b"GET":
        return upgrade == b"websocket" and _WEBSOCKET.fullmatch(path) is not None
    return method == b"POST" and _HIJACKABLE.fullmatch(path) is not None


def caller_of(transport: asyncio.Transport, role: str) -> Caller:
    """Identify the client: the peer of a unix socket, or the subject of the TLS client certificate."""
    connection = transport.get_extra_info("socket")
    if connection is None:
        return Caller(role=role)
    if connection.family == socket.AF_UNIX:
        packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, gid = _CREDENTIALS.unpack(packed)
        return Caller(uid=uid, gid=gid, pid=pid, role=role, address="unix")
    peer = transport.get_extra_info("peername")
    address = f"{peer[0]}:{peer[1]}" if peer else ""
    return Caller(subject=_subject(transport.get_extra_info("peercert")), role=role, address=address)


def _subject(certificate: dict[str, Any] | None) -> str | None:
    """The subject as `CN=name,O=organisation`, in the certificate's order."""
    if not certificate:
        return None
    names = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU"}
    pairs = (pair for part in certificate.get("subject", ()) for pair in part)
    return ",".join(f"{names.get(key, key)}={value}" for key, value in pairs)
