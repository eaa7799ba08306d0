"""TLS whose two directions close on their own.

asyncio's TLS ends a connection as soon as the peer has said that it sends no more. Docker's clients say that with
every `docker run -i`, and then wait for the output: so this layer passes the end of input on, and keeps sending.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_READ_SIZE = 256 * 1024


class TlsProtocol(asyncio.Protocol):
    """The server's side of TLS between a TCP connection and the protocol that `factory` makes.

    `factory` is called once the handshake is done; a client that fails it, or takes longer than `timeout_s`, is
    hung up on.
    """

    def __init__(self, context: ssl.SSLContext, factory: Callable[[], asyncio.Protocol], timeout_s: float) -> None:
        self._context = context
        self._factory = factory
        self._timeout_s = timeout_s
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._app: asyncio.Protocol | None = None
        self._input_ended = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            if app := self._app or self._shake_hands():
                self._read(app)
        except ssl.SSLError:
            self._flush()  # the alert that says why
            self._transport.close()
        else:
            self._flush()

    def eof_received(self) -> bool:
        """TCP ended, perhaps cut off on the way: unlike TLS's own end, that ends all."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        if self._app:
            self._app.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._app:
            self._app.pause_writing()

    def resume_writing(self) -> None:
        if self._app:
            self._app.resume_writing()

    def write(self, content: bytes) -> None:
        """Encrypt and send."""
        with suppress(ssl.SSLError):  # the connection is broken; `connection_lost` tells of it
            self._tls.write(content)
        self._flush()

    def write_eof(self) -> None:
        """Say that no more comes; what the client still sends is read all the same."""
        with suppress(ssl.SSLError):  # the client's own end, which this would like to see, comes later
            self._tls.unwrap()
        self._flush()

    def certificate(self) -> dict[str, Any] | None:
        """The client's, as `ssl` decodes it."""
        return self._tls.getpeercert()

    def _shake_hands(self) -> asyncio.Protocol | None:
        """The protocol above, once the handshake is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return None
        self._timer.cancel()
        self._flush()
        self._app = self._factory()
        self._app.connection_made(_TlsTransport(self, self._transport, self._context))
        return self._app

    def _read(self, app: asyncio.Protocol) -> None:
        while not self._input_ended and not self._transport.is_closing():
            try:
                content = self._tls.read(_READ_SIZE)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                content = b""
            if content:
                app.data_received(content)
                continue
            self._input_ended = True
            if not app.eof_received():
                self._transport.close()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._transport.is_closing():
            self._transport.write(self._outgoing.read())


class _TlsTransport(asyncio.Transport):
    """What the protocol above sees: the TCP connection's transport, with TLS in between."""

    def __init__(self, tls: TlsProtocol, tcp: asyncio.Transport, context: ssl.SSLContext) -> None:
        super().__init__()
        self._tls = tls
        self._tcp = tcp
        self._context = context

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "sslcontext":
            return self._context
        if name == "peercert":
            return self._tls.certificate()
        return self._tcp.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._tls.write(bytes(data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._tls.write_eof()

    def close(self) -> None:
        if not self._tcp.is_closing():
            self._tls.write_eof()
        self._tcp.close()

    def abort(self) -> None:
        self._tcp.abort()

    def is_closing(self) -> bool:
        return self._tcp.is_closing()

    def pause_reading(self) -> None:
        self._tcp.pause_reading()

    def resume_reading(self) -> None:
        self._tcp.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._tcp.set_write_buffer_limits(high, low)
