"""The framing of netlink messages (netlink(7)). Layouts: Linux uapi/linux/netlink.h."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
_CODE = struct.Struct("=i")
ACKNOWLEDGED_BYTES = _CODE.size + _HEADER.size  # nlmsgerr: a negative errno, and the header of the request


def frame(kind: int, flags: int, body: bytes, number: int = 1) -> bytes:
    """One request, with `number` as its sequence number."""
    return _HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | flags, number, 0) + _padded(body)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute of a request."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + _padded(value)


def messages(answer: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The type, flags and body of each message in an answer."""
    offset = 0
    while offset + _HEADER.size <= len(answer):
        length, kind, flags, _, _ = _HEADER.unpack_from(answer, offset)
        yield kind, flags, answer[offset + _HEADER.size : offset + length]
        offset += max(_aligned(length), _HEADER.size)


def attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The type and value of each attribute."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(content):
        length, kind = _ATTRIBUTE.unpack_from(content, offset)
        yield kind, content[offset + _ATTRIBUTE.size : offset + length]
        offset += max(_aligned(length), _ATTRIBUTE.size)


def error_of(body: bytes, reason: str = "") -> OSError | None:
    """The error in the body of an NLMSG_ERROR, with `reason` if there is one; `None` for an acknowledgement."""
    (code,) = _CODE.unpack_from(body)
    return OSError(-code, reason or os.strerror(-code)) if code else None


def _padded(value: bytes) -> bytes:
    return value + bytes(_aligned(len(value)) - len(value))


def _aligned(length: int) -> int:
    return (length + 3) & ~3
