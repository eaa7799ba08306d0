"""Adds and deletes elements of sets and maps, thousands in one transaction.

With libnftables, which parses them from text, a thousand elements take four times as much CPU time. Source: Linux
uapi/linux/netfilter/nf_tables.h, nfnetlink.h; net/netfilter/nfnetlink.c (nfnetlink_rcv_batch).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from sampan_bridge_net.tables import (
    HEADER,
    NETLINK_NETFILTER,
    NFNL_SUBSYS_NFTABLES,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    messages,
)

ADD, DELETE = 12, 14
"""NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM."""

_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_ELEMENT, _KEY, _DATA, _VALUE, _USERDATA = 1, 1, 2, 1, 6
_NLA_F_NESTED = 0x8000
_SO_SNDBUFFORCE = 32
_MOST_BYTES = 0xF000
"""The limit for the elements in one message, as the length of an attribute has 16 bits."""

_GENERAL = struct.Struct(">BBH")  # nfgenmsg: family, version, resource
_ATTRIBUTE = struct.Struct("=HH")
KEY_AT = 3 * _ATTRIBUTE.size
"""The offset of the key in an element."""


@dataclass(frozen=True)
class Change:
    """A change to one set or map: `ADD` or `DELETE`, and the encoded elements."""

    verb: int
    family: int
    table: str
    name: str
    elements: Sequence[bytes]


def encoded(key: bytes, data: bytes = b"", comment: str | None = None) -> bytes:
    """Encode an element: its key, in a map its data (all parts padded to four bytes), and nft's comment."""
    parts = _nested(_KEY, _attribute(_VALUE, key))
    if data:
        parts += _nested(_DATA, _attribute(_VALUE, data))
    if comment is not None:
        text = comment.encode() + b"\0"
        parts += _attribute(_USERDATA, bytes([0, len(text)]) + text)
    return _nested(_ELEMENT, parts)


def bare(key: bytes) -> bytes:
    """An element that consists of its key only, for deletions and for sets without comments."""
    return _before_key(len(key)) + key


def data_at(key: bytes) -> int:
    """The offset of the data in an element with this key."""
    return KEY_AT + len(key) + 2 * _ATTRIBUTE.size


@cache
def _before_key(length: int) -> bytes:
    return encoded(bytes(length))[:KEY_AT]


class ElementSocket:
    """A connection to nftables for changes of elements, in the network namespace of the thread that first uses it.

    It stays open, because closing it makes the kernel wait for what was deleted through it (nft_rcv_nl_event). Not
    thread-safe.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def apply(self, changes: Iterable[Change]) -> None:
        """Apply all changes or none. Raises `OSError`."""
        batch = b"".join(_messages(changes))
        connection = self._opened()
        connection.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * len(batch))
        connection.send(batch)  # when this returns, the kernel has applied it or reported errors
        if errors := list(_errors(connection)):
            raise OSError(errors[0], os.strerror(errors[0]))

    def _opened(self) -> socket.socket:
        if self._socket is None:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
            self._socket = socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
            weakref.finalize(self, self._socket.close)
            self._socket.bind((0, 0))
        return self._socket


def _errors(connection: socket.socket) -> Iterator[int]:
    """The errors that the kernel has reported."""
    while True:
        try:
            news = connection.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:  # more errors than fit into the buffer
            yield error.errno or errno.EIO
            continue
        for kind, body in messages(news):
            if kind == NLMSG_ERROR and (code := struct.unpack_from("=i", body)[0]):
                yield -code


def _messages(changes: Iterable[Change]) -> Iterator[bytes]:
    frame = _GENERAL.pack(0, 0, NFNL_SUBSYS_NFTABLES)
    yield _message(_BATCH_BEGIN, frame)
    for change in changes:
        kind = NFNL_SUBSYS_NFTABLES << 8 | change.verb
        begin = _GENERAL.pack(change.family, 0, 0)
        for number, name in ((_LIST_TABLE, change.table), (_LIST_SET, change.name)):
            begin += _attribute(number, name.encode() + b"\0")
        for some in _portions(change.elements):
            yield _message(kind, begin + _nested(_LIST_ELEMENTS, b"".join(some)))
    yield _message(_BATCH_END, frame)


def _portions(elements: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Split into as many elements as fit into one message."""
    number = _MOST_BYTES // max(map(len, elements), default=1)
    for first in range(0, len(elements), number):
        yield elements[first : first + number]


def _message(kind: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST, 0, 0) + body


def _nested(kind: int, content: bytes) -> bytes:
    return _attribute(kind | _NLA_F_NESTED, content)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)
