"""TLS whose two directions are closed separately.

asyncio's TLS closes a connection as soon as the peer has sent close_notify. Docker's clients send it in every
`docker run -i`, and then wait for the output: so this layer passes on the end of input, and keeps sending.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_READ_SIZE = 256 * 1024


class TlsProtocol(asyncio.Protocol):
    """The server side of TLS between a TCP connection and the protocol created by `factory`.

    `factory` is called once the handshake is done; if that fails, or takes longer than `timeout_s`, the connection is
    closed.
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
            self._flush()  # sends the TLS alert
            self._transport.close()
        else:
            self._flush()

    def eof_received(self) -> bool:
        """Close the connection: unlike close_notify, the end of TCP may be a truncation."""
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
        with suppress(ssl.SSLError):  # the connection is broken; `connection_lost` will be called
            self._tls.write(content)
        self._flush()

    def write_eof(self) -> None:
        """Send close_notify; data that the client still sends is read nevertheless."""
        with suppress(ssl.SSLError):  # `unwrap` expects the client's close_notify, which comes later
            self._tls.unwrap()
        self._flush()

    def certificate(self) -> dict[str, Any] | None:
        """The client's certificate, as decoded by `ssl`."""
        return self._tls.getpeercert()

    def _shake_hands(self) -> asyncio.Protocol | None:
        """Continue the handshake; returns the protocol above once it is done."""
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
    """The transport of the protocol above: the TCP connection's transport with TLS in between."""

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
