"""A connection to the daemon, plain or TLS, whose write side can be closed separately.

TLS uses memory buffers (`SSLObject`) instead of `ssl.wrap_socket`: so the underlying socket can be polled as usual,
and a half-close (close_notify in one direction) leaves the other direction open.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sampan.cli.client.endpoint import Endpoint

RECEIVE_BYTES = 64 * 1024


class _Codec(Protocol):
    """Converts between the bytes of the API and those on the wire."""

    def encode(self, content: bytes) -> bytes: ...

    def decode(self, raw: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class _Plain:
    def encode(self, content: bytes) -> bytes:
        return content

    def decode(self, raw: bytes) -> bytes:
        return raw

    def end(self) -> bytes:
        return b""


class _Tls:
    def __init__(self, endpoint: Endpoint, connection: socket.socket) -> None:
        import ssl

        self._ssl = ssl
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = endpoint.tls_context()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=endpoint.host)
        self._shake_hands(connection)

    def _shake_hands(self, connection: socket.socket) -> None:
        while True:
            try:
                self._tls.do_handshake()
                break
            except self._ssl.SSLWantReadError:
                connection.sendall(self._outgoing.read())
                raw = connection.recv(RECEIVE_BYTES)
                if not raw:
                    raise ConnectionError("the daemon closed the connection during the TLS handshake") from None
                self._incoming.write(raw)
        connection.sendall(self._outgoing.read())

    def encode(self, content: bytes) -> bytes:
        self._tls.write(content)
        return self._outgoing.read()

    def decode(self, raw: bytes) -> bytes:
        self._incoming.write(raw)
        parts = []
        try:
            while part := self._tls.read(RECEIVE_BYTES):
                parts.append(part)
        except (self._ssl.SSLWantReadError, self._ssl.SSLZeroReturnError):
            pass  # everything is decoded, or the daemon has sent close_notify and will close the socket
        return b"".join(parts)

    def end(self) -> bytes:
        # Our close_notify is written; the daemon's may arrive much later.
        with suppress(self._ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._outgoing.read()


class Connection:
    """Bytes to and from the daemon. Raises `ConnectionError` if the connection is lost."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._socket = endpoint.open()
        try:
            self._codec: _Codec = _Tls(endpoint, self._socket) if endpoint.tls else _Plain()
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The socket's descriptor, for poll."""
        return self._socket.fileno()

    def send(self, content: bytes) -> None:
        """Send all of `content`."""
        self._socket.sendall(self._codec.encode(content))

    def receive(self) -> bytes:
        """Wait for data and return it; b"" at the end."""
        while raw := self._socket.recv(RECEIVE_BYTES):
            if content := self._codec.decode(raw):
                return content
        return b""

    def encode(self, content: bytes) -> bytes:
        """Encode `content` for the wire, to be sent with `send_some`."""
        return self._codec.encode(content)

    def send_some(self, raw: bytes) -> int:
        """Send as many of the encoded bytes as possible without blocking; returns their number."""
        try:
            return self._socket.send(raw, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def end_writing(self) -> None:
        """Close our direction; receiving continues."""
        if goodbye := self._codec.end():
            self._socket.sendall(goodbye)
        else:
            self._socket.shutdown(socket.SHUT_WR)

    def receive_some(self) -> bytes | None:
        """Read once from a readable socket: b"" at the end, `None` if no complete TLS record has arrived."""
        raw = self._socket.recv(RECEIVE_BYTES)
        return (self._codec.decode(raw) or None) if raw else b""

    def close(self) -> None:
        """Close both directions."""
        self._socket.close()
