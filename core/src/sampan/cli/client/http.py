"""HTTP/1.1 as far as the Docker Engine API needs it: one request and its response per connection.

Not http.client, as its import (email, ssl) takes 40 ms, half of the startup budget, and its buffered reader keeps
bytes of the stream after an upgrade. Source: RFC 9112.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sampan.cli.client.connection import Connection

MAX_HEAD_BYTES = 64 * 1024
Body = bytes | Iterable[bytes]


class Head(NamedTuple):
    """The status and the headers (lower-case names) of a response."""

    status: int
    reason: str
    headers: Mapping[str, str]


class ProtocolError(ConnectionError):
    """The response is not valid HTTP/1.1."""


def send_request(
    connection: Connection, method: str, target: str, headers: Mapping[str, str], body: Body = b""
) -> None:
    """Send a request. A body in pieces is sent chunked, each piece as it is produced."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if isinstance(body, bytes):
        if body or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body)}")
        connection.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return
    lines.append("Transfer-Encoding: chunked")
    connection.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
    for piece in body:
        if piece:
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    connection.send(b"0\r\n\r\n")


class Response:
    """A response whose head has been read; at the end of its body, the connection is closed."""

    def __init__(self, connection: Connection, *, has_body: bool = True) -> None:
        self.connection = connection
        self._has_body = has_body
        self._buffer = bytearray()
        self.head = self._read_head()

    def chunks(self) -> Iterator[bytes]:
        """The body, in pieces as they arrive."""
        try:
            yield from self._body()
        finally:
            self.connection.close()

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks())

    def lines(self) -> Iterator[bytes]:
        """The non-empty lines of the body, each as soon as it is complete, for streams of JSON documents."""
        rest = b""
        for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line for line in whole if line.strip())
        if rest.strip():
            yield rest

    def leftover(self) -> bytes:
        """Data that arrived after the head: the first bytes of an upgraded stream."""
        content = bytes(self._buffer)
        self._buffer.clear()
        return content

    def _read_head(self) -> Head:
        while True:
            head = self._parse_head(self._until(b"\r\n\r\n"))
            if head.status >= 200 or head.status == 101:
                return head

    @staticmethod
    def _parse_head(raw: bytes) -> Head:
        status_line, *fields = raw.decode("latin-1").split("\r\n")
        version, _, rest = status_line.partition(" ")
        code, _, reason = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not code.isdigit():
            raise ProtocolError(f"malformed HTTP response {status_line[:80]!r}")
        pairs = (field.partition(":") for field in fields)
        return Head(int(code), reason, {name.strip().lower(): value.strip() for name, _, value in pairs})

    def _body(self) -> Iterator[bytes]:
        if not self._has_body or self.head.status in (204, 304):
            return iter(())
        if "chunked" in self.head.headers.get("transfer-encoding", "").lower():
            return self._chunked()
        length = self.head.headers.get("content-length")
        return self._rest() if length is None else self._exactly(_size(length, 10))

    def _chunked(self) -> Iterator[bytes]:
        while size := _size(self._until(b"\r\n").partition(b";")[0], 16):
            yield from self._exactly(size)
            self._until(b"\r\n")
        while self._until(b"\r\n"):
            pass  # trailers

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._buffer:
                self._fill()
            piece = bytes(self._buffer[:size])
            del self._buffer[:size]
            size -= len(piece)
            yield piece

    def _rest(self) -> Iterator[bytes]:
        if self._buffer:
            yield self.leftover()
        while piece := self.connection.receive():
            yield piece

    def _until(self, end: bytes) -> bytes:
        while (at := self._buffer.find(end)) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise ProtocolError("HTTP response header is too long")
            self._fill()
        found = bytes(self._buffer[:at])
        del self._buffer[: at + len(end)]
        return found

    def _fill(self) -> None:
        piece = self.connection.receive()
        if not piece:
            raise ProtocolError("the daemon closed the connection in the middle of its answer")
        self._buffer += piece


def _size(digits: str | bytes, base: int) -> int:
    try:
        size = int(digits, base)
    except ValueError:
        size = -1
    if size < 0:
        raise ProtocolError(f"malformed length {digits[:80]!r} in HTTP response")
    return size
