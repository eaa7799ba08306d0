"""WebSocket frames, as a server writes and reads them. Source: RFC 6455, section 5."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL, PROTOCOL_ERROR, TOO_BIG = 1000, 1002, 1009
_KNOWN = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_FINAL, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_MOST_BYTES = 1 << 20
_MOST_CONTROL_BYTES = 125
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class BadFrame(Exception):
    """The peer violated the protocol; `code` is the close code to send."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Frame:
    """One frame from the client. Fragmented messages are not reassembled, as the data is a stream of bytes."""

    opcode: int
    payload: bytes


def accept_key(key: bytes) -> str:
    """The value of Sec-WebSocket-Accept for the client's key."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()


def head(opcode: int, length: int) -> bytes:
    """The header of an unfragmented, unmasked message from the server."""
    first = bytes((_FINAL | opcode,))
    if length < 126:
        return first + bytes((length,))
    if length < 1 << 16:
        return first + b"\x7e" + length.to_bytes(2, "big")
    return first + b"\x7f" + length.to_bytes(8, "big")


def close(code: int) -> bytes:
    """A close frame."""
    return head(CLOSE, 2) + code.to_bytes(2, "big")


class FrameReader:
    """Parses the client's bytes into frames with unmasked payloads."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, content: bytes) -> Iterator[Frame]:
        """The frames completed by `content`. Raises `BadFrame`."""
        self._buffer += content
        while frame := self._next():
            yield frame

    def _next(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, short = buffer[0] & _OPCODE, buffer[1] & _LENGTH
        _check(buffer[0], buffer[1])
        begin = 2 + {126: 2, 127: 8}.get(short, 0)
        if len(buffer) < begin + 4:
            return None
        length = int.from_bytes(buffer[2:begin], "big") if begin > 2 else short
        if length > _MOST_BYTES:
            raise BadFrame(TOO_BIG, f"a frame of {length} bytes is too big")
        end = begin + 4 + length
        if len(buffer) < end:
            return None
        payload = _unmasked(bytes(buffer[begin + 4 : end]), bytes(buffer[begin : begin + 4]))
        del buffer[:end]
        return Frame(opcode, payload)


def _check(first: int, second: int) -> None:
    opcode = first & _OPCODE
    if first & _RESERVED or opcode not in _KNOWN:
        raise BadFrame(PROTOCOL_ERROR, "a frame of an extension that was not agreed on")
    if not second & _MASKED:
        raise BadFrame(PROTOCOL_ERROR, "a client's frames must be masked")
    if opcode >= CLOSE and (second & _LENGTH > _MOST_CONTROL_BYTES or not first & _FINAL):
        raise BadFrame(PROTOCOL_ERROR, "a control frame must be short and in one piece")


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """Unmask as one large integer, which is a hundred times faster than a loop over the bytes."""
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")
    return number.to_bytes(len(payload), "little")
