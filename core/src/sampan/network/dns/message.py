"""DNS messages, packed by hand (RFC 1035, EDNS: RFC 6891).

A library takes 50 to 100 µs for a query and its answer, this a tenth of that. It supports only what a DNS server with
a few names needs; everything else is relayed unchanged.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

A, PTR, MX, AAAA, OPT = 1, 12, 15, 28, 41
IN, ANY_CLASS = 1, 255
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NOT_IMPLEMENTED, REFUSED = 0, 1, 2, 4, 5
PLAIN_SIZE, MOST_SIZE, OUR_SIZE = 512, 65535, 1232
"""Bytes: of an answer over UDP without EDNS, of any message, and what we announce to accept (no fragments)."""

TTL_S = 5
"""How long an answer may be cached. Docker says 600, so caching clients miss that a container has moved."""

_HEADER = struct.Struct(">6H")  # id, flags, and the numbers of questions, answers, authorities and additionals
_RECORD = struct.Struct(">HHIH")  # type, class, time to live, length
_QUESTION = struct.Struct(">HH")
_TO_THE_QUESTION = b"\xc0\x0c"  # a pointer to the name that follows the header
_RESPONSE, _TRUNCATED, _DESIRED, _AVAILABLE = 0x8000, 0x0200, 0x0100, 0x0080
_OPCODE, _RCODE = 0x7800, 0x000F
_REVERSE_V4, _REVERSE_V6 = b".in-addr.arpa", b".ip6.arpa"
_LONGEST_NAME = 255


class Query(NamedTuple):
    """One question.

    `name` is in lower case and without the trailing dot; `question` has the bytes of the question, which every answer
    repeats; `size` is how large an answer the client accepts over UDP.
    """

    id: int
    flags: int
    name: bytes
    type: int
    class_: int
    question: bytes
    size: int
    edns: bool


def parse_query(packet: bytes) -> Query | None:
    """The query in a packet; `None` if it is not a query, or not one that any server answers."""
    if len(packet) < _HEADER.size + 5:
        return None
    id, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(packet)
    if flags & _RESPONSE or questions != 1 or answers or authorities:
        return None
    if (end := _end_of_name(packet, _HEADER.size)) is None or end + 4 > len(packet):
        return None
    kind, class_ = _QUESTION.unpack_from(packet, end)
    size = _edns_size(packet, end + 4) if additionals else None
    name = _dotted(packet, _HEADER.size)
    question = packet[_HEADER.size : end + 4]
    return Query(id, flags, name, kind, class_, question, max(size or 0, PLAIN_SIZE), size is not None)


def is_standard(query: Query) -> bool:
    """Whether it is an ordinary Internet query, which may be about names known here."""
    return not query.flags & _OPCODE and query.class_ in (IN, ANY_CLASS)


def answer(query: Query, records: Sequence[bytes], *, most: int | None = None) -> bytes:
    """The answer with these data as its records of the type asked for; no records mean that there are none.

    What exceeds `most` bytes (by default, what the client accepts) is cut off, and the answer is marked as truncated.
    """
    head = [_TO_THE_QUESTION + _RECORD.pack(query.type, IN, TTL_S, len(data)) + data for data in records]
    room = (query.size if most is None else most) - _HEADER.size - len(query.question) - len(_opt(query))
    fitting = _fitting(head, room)
    flags = _RESPONSE | (query.flags & _DESIRED) | _AVAILABLE | (_TRUNCATED if len(fitting) < len(head) else 0)
    header = _HEADER.pack(query.id, flags, 1, len(fitting), 0, int(query.edns))
    return header + query.question + b"".join(fitting) + _opt(query)


def refusal(query: Query, code: int) -> bytes:
    """A response without an answer, with the reason as response code."""
    flags = _RESPONSE | (query.flags & (_OPCODE | _DESIRED)) | _AVAILABLE | code
    return _HEADER.pack(query.id, flags, 1, 0, 0, int(query.edns)) + query.question + _opt(query)


def response_code(packet: bytes) -> int:
    """The response code of a response."""
    return packet[3] & _RCODE


def answers_query(packet: bytes, id: int, query: Query) -> bool:
    """Whether a packet is the response to `query`, which was sent with the ID `id`."""
    if len(packet) < _HEADER.size:
        return False
    found, flags, questions, *_ = _HEADER.unpack_from(packet)
    if found != id or not flags & _RESPONSE:
        return False
    if questions == 0:  # some servers omit the question when they refuse
        return bool(flags & _RCODE)
    asked = packet[_HEADER.size : _HEADER.size + len(query.question)]
    return questions == 1 and asked.lower() == query.question.lower()


def with_id(packet: bytes, id: int) -> bytes:
    """The same message with another ID."""
    return id.to_bytes(2, "big") + packet[2:]


def address_data(address: IPv4Address | IPv6Address) -> bytes:
    """The data of an A or AAAA record."""
    return address.packed


def name_data(name: str) -> bytes:
    """The data of a PTR record."""
    labels = [label.encode()[:63] for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def reversed_address(name: bytes) -> IPv4Address | IPv6Address | None:
    """The address that a name under in-addr.arpa or ip6.arpa stands for; `None` if it is incomplete."""
    try:
        if name.endswith(_REVERSE_V4):
            numbers = name.removesuffix(_REVERSE_V4).decode().split(".")
            return IPv4Address(".".join(reversed(numbers)))
        if name.endswith(_REVERSE_V6):
            digits = name.removesuffix(_REVERSE_V6).decode().split(".")
            if len(digits) == 32 and all(len(digit) == 1 for digit in digits):
                return ip_address(bytes.fromhex("".join(reversed(digits))))
    except ValueError:
        return None
    return None


def _end_of_name(packet: bytes, offset: int) -> int | None:
    """The end of the name at `offset`; `None` if it is malformed. Questions contain no pointers."""
    start = offset
    while offset < len(packet):
        length = packet[offset]
        offset += 1 + length
        if length == 0:
            return offset if offset - start <= _LONGEST_NAME else None
        if length > 63:
            return None
    return None


def _dotted(packet: bytes, offset: int) -> bytes:
    labels = []
    while length := packet[offset]:
        labels.append(packet[offset + 1 : offset + 1 + length])
        offset += 1 + length
    return b".".join(labels).lower()


def _edns_size(packet: bytes, offset: int) -> int | None:
    """The size in an OPT record, if the first additional record is one, as with all clients."""
    if packet[offset : offset + 3] != b"\0\0" + bytes([OPT]) or len(packet) < offset + 11:
        return None
    return int.from_bytes(packet[offset + 3 : offset + 5], "big")


def _opt(query: Query) -> bytes:
    return b"\0" + _RECORD.pack(OPT, OUR_SIZE, 0, 0) if query.edns else b""


def _fitting(records: Iterable[bytes], room: int) -> list[bytes]:
    fitting = []
    for record in records:
        room -= len(record)
        if room < 0:
            break
        fitting.append(record)
    return fitting
