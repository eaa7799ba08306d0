"""The addresses of this host's interfaces, by rtnetlink. Source: Linux uapi/linux/{rtnetlink,if_addr}.h."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST_DUMP = 0x1 | 0x300
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")


def host_addresses() -> list[tuple[str, IPv4Address | IPv6Address]]:
    """Interfaces and their addresses, in the calling thread's network namespace. Raises `OSError`."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as connection:
        connection.bind((0, 0))
        body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        length = _HEADER.size + len(body)
        connection.send(_HEADER.pack(length, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0) + body)
        return list(_answers(connection))


def _answers(connection: socket.socket) -> Iterator[tuple[str, IPv4Address | IPv6Address]]:
    while True:
        answer = connection.recv(1 << 16)
        offset = 0
        while offset + _HEADER.size <= len(answer):
            length, kind, *_ = _HEADER.unpack_from(answer, offset)
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                (code,) = struct.unpack_from("=i", answer, offset + _HEADER.size)
                raise OSError(-code, os.strerror(-code))
            if kind == _RTM_NEWADDR:
                yield from _address(answer[offset + _HEADER.size : offset + length])
            offset += (length + 3) & ~3


def _address(body: bytes) -> Iterator[tuple[str, IPv4Address | IPv6Address]]:
    """The interface and address in a message.

    On an IPv4 point-to-point link, `IFA_ADDRESS` is the peer's address; the interface's own is `IFA_LOCAL`.
    """
    _, _, _, _, index = _ADDRESS.unpack_from(body)
    found: dict[int, bytes] = {}
    offset = _ADDRESS.size
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        found[kind] = body[offset + _ATTRIBUTE.size : offset + length]
        offset += max((length + 3) & ~3, _ATTRIBUTE.size)
    own = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    try:
        ifname = socket.if_indextoname(index)
    except OSError:  # gone in the meantime
        return
    if own:
        yield ifname, ip_address(own)
