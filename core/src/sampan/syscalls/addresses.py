"""The addresses of this host's interfaces, by rtnetlink. Source: Linux uapi/linux/{rtnetlink,if_addr}.h."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from sampan.syscalls import netlink

_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index


def host_addresses() -> list[tuple[str, IPv4Address | IPv6Address]]:
    """Interfaces and their addresses, in the calling thread's network namespace. Raises `OSError`."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as connection:
        connection.bind((0, 0))
        body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        connection.send(netlink.frame(_RTM_GETADDR, netlink.NLM_F_DUMP, body))
        return list(_answers(connection))


def _answers(connection: socket.socket) -> Iterator[tuple[str, IPv4Address | IPv6Address]]:
    while True:
        for kind, _, body in netlink.messages(connection.recv(1 << 16)):
            if kind == netlink.NLMSG_DONE:
                return
            if kind == netlink.NLMSG_ERROR and (error := netlink.error_of(body)):
                raise error
            if kind == _RTM_NEWADDR:
                yield from _address(body)


def _address(body: bytes) -> Iterator[tuple[str, IPv4Address | IPv6Address]]:
    """The interface and address in a message.

    On an IPv4 point-to-point link, `IFA_ADDRESS` is the peer's address; the interface's own is `IFA_LOCAL`.
    """
    _, _, _, _, index = _ADDRESS.unpack_from(body)
    found = dict(netlink.attributes(body[_ADDRESS.size :]))
    own = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    try:
        ifname = socket.if_indextoname(index)
    except OSError:  # gone in the meantime
        return
    if own:
        yield ifname, ip_address(own)
