"""The few rtnetlink messages needed to start a container, packed by hand, for the core and for network drivers.

Everything else is done with pyroute2, which for these would take 1-2 ms of encoding and decoding per container, and
memory as long as the daemon runs. Layouts: Linux uapi/linux/{netlink,rtnetlink,if_link,if_addr}.h, veth.h.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path

from sampan.syscalls import netlink
from sampan.syscalls.netlink import attribute

RTM_NEWLINK, RTM_DELLINK, RTM_SETLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_DELROUTE = 16, 17, 19, 20, 24, 25
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_ACK_TLVS, NLMSGERR_ATTR_MSG = 0x200, 1
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
IFF_UP = 1
SIOCGIFHWADDR = 0x8927
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_NET_NS_FD = 20, 26, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE = 8, 1
IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 4, 33
VETH_INFO_PEER = 1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS, IFA_F_NODAD = 1, 2, 4, 8, 0x02
RTA_OIF, RTA_GATEWAY = 4, 5
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RT_SCOPE_NOWHERE, RTN_UNICAST = 254, 3, 0, 255, 1

IPV6_CONF = Path("/proc/sys/net/ipv6/conf")

_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg
_U32 = struct.Struct("=I")


@dataclass(frozen=True)
class Message:
    """One request without its header."""

    type: int
    flags: int
    body: bytes


@dataclass(frozen=True)
class Veth:
    """A veth pair to create: one end stays here, in the bridge; the peer is put into the namespace, still down."""

    ifname: str
    bridge_index: int
    mtu: int
    peer_ifname: str
    peer_netns_fd: int
    peer_mac: str | None


def new_veth(veth: Veth) -> Message:
    """Create a pair, with the peer in its namespace from the beginning. Both ends are down."""
    peer = _LINK.pack(0, 0, 0, 0, 0) + _text(IFLA_IFNAME, veth.peer_ifname) + _u32(IFLA_MTU, veth.mtu)
    peer += _u32(IFLA_NET_NS_FD, veth.peer_netns_fd)
    if veth.peer_mac is not None:
        peer += attribute(IFLA_ADDRESS, bytes.fromhex(veth.peer_mac.replace(":", "")))
    body = _LINK.pack(0, 0, 0, 0, 0) + _text(IFLA_IFNAME, veth.ifname) + _u32(IFLA_MTU, veth.mtu)
    body += _u32(IFLA_MASTER, veth.bridge_index)
    body += attribute(
        IFLA_LINKINFO, _text(IFLA_INFO_KIND, "veth") + attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer))
    )
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


@dataclass(frozen=True)
class Link:
    """A link to create, down; `data` are the attributes of its kind.

    With `netns_fd` it is put into that namespace; its parent is in the calling thread's.
    """

    ifname: str
    kind: str
    parent_index: int | None = None
    netns_fd: int | None = None
    mac: str | None = None
    mtu: int | None = None
    data: tuple[tuple[int, bytes], ...] = ()


def new_link(link: Link) -> Message:
    """Create a link."""
    body = _LINK.pack(0, 0, 0, 0, 0) + _text(IFLA_IFNAME, link.ifname)
    for kind, number in ((IFLA_LINK, link.parent_index), (IFLA_NET_NS_FD, link.netns_fd), (IFLA_MTU, link.mtu)):
        if number is not None:
            body += _u32(kind, number)
    if link.mac is not None:
        body += attribute(IFLA_ADDRESS, bytes.fromhex(link.mac.replace(":", "")))
    data = b"".join(attribute(kind, value) for kind, value in link.data)
    body += attribute(IFLA_LINKINFO, _text(IFLA_INFO_KIND, link.kind) + attribute(IFLA_INFO_DATA, data))
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def new_veth_pair(ifname: str, peer: str) -> Message:
    """Create a pair with both ends in this namespace, down."""
    other = _LINK.pack(0, 0, 0, 0, 0) + _text(IFLA_IFNAME, peer)
    return new_link(Link(ifname, "veth", data=((VETH_INFO_PEER, other),)))


def set_bridge_port(ifname: str, *, alias: str, isolated: bool, ipv6: bool) -> Message:
    """Mark a port of a bridge as ours and bring it up. An isolated port can't reach other isolated ports.

    `ipv6` means that the kernel has IPv6, so the port, which needs no address, must be told not to generate one.
    A frame may leave by the port it arrived on (mode 1, hairpin): on a host with br_netfilter, this is how a
    container reaches its own published port.
    """
    body = _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + _text(IFLA_IFNAME, ifname) + attribute(IFLA_IFALIAS, alias.encode())
    if ipv6:
        mode = attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([IN6_ADDR_GEN_MODE_NONE]))
        body += attribute(IFLA_AF_SPEC, attribute(socket.AF_INET6, mode))
    port = attribute(IFLA_BRPORT_MODE, b"\x01") + attribute(IFLA_BRPORT_ISOLATED, bytes([isolated]))
    body += attribute(IFLA_LINKINFO, _text(IFLA_INFO_SLAVE_KIND, "bridge") + attribute(IFLA_INFO_SLAVE_DATA, port))
    return Message(RTM_NEWLINK, 0, body)  # without NLM_F_CREATE; RTM_SETLINK would ignore the port's attributes


def set_up(index: int) -> Message:
    """Bring a link up."""
    return Message(RTM_SETLINK, 0, _LINK.pack(0, 0, index, IFF_UP, IFF_UP))


def delete_link(ifname: str) -> Message:
    """Delete a link; a veth is deleted together with its peer."""
    return Message(RTM_DELLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(IFLA_IFNAME, ifname))


def new_address(index: int, address: IPv4Interface | IPv6Interface) -> Message:
    """Add an address to a link, usable immediately (without duplicate address detection)."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = _ADDRESS.pack(family, address.network.prefixlen, 0, 0, index)
    body += attribute(IFA_LOCAL, address.ip.packed) + attribute(IFA_ADDRESS, address.ip.packed)
    if isinstance(address, IPv4Interface):
        body += attribute(IFA_BROADCAST, address.network.broadcast_address.packed)
    else:
        body += _u32(IFA_FLAGS, IFA_F_NODAD)
    return Message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body)


def new_default_route(index: int, gateway: IPv4Address | IPv6Address) -> Message:
    """Add a default route via a gateway."""
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, _default_route(index, gateway))


def replace_default_route(index: int, gateway: IPv4Address | IPv6Address) -> Message:
    """Add a default route via a gateway, or replace the existing one."""
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, _default_route(index, gateway))


def delete_default_route(family: socket.AddressFamily) -> Message:
    """Delete the default route of this family. The kernel answers ESRCH if there is none."""
    return Message(RTM_DELROUTE, 0, _ROUTE.pack(family, 0, 0, 0, RT_TABLE_MAIN, 0, RT_SCOPE_NOWHERE, 0, 0))


def request(*messages: Message) -> None:
    """Send the messages at once, in the calling thread's network namespace; the kernel processes them in order.

    Raises `OSError` with the kernel's message for the first that failed; the later ones are still processed.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as connection:
        connection.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        connection.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        connection.bind((0, 0))
        connection.send(b"".join(_framed(number, message) for number, message in enumerate(messages, start=1)))
        errors: list[OSError] = []
        answered = 0
        while answered < len(messages):
            for error in _acknowledgements(connection.recv(1 << 16)):
                answered += 1
                if error is not None:
                    errors.append(error)
    if errors:
        raise errors[0]


def furnish(
    ifname: str,
    addresses: Sequence[IPv4Interface | IPv6Interface],
    gateways: Iterable[IPv4Address | IPv6Address],
) -> None:
    """In a sandbox, add an interface's addresses, bring it up, and add the default routes.

    IPv6 is disabled unless it has an IPv6 address (CVE-2024-32473); advertised routes are ignored (CVE-2020-13401).
    Raises `OSError`.
    """
    index = index_of(ifname)
    if index is None:
        raise OSError(errno.ENODEV, f"no interface {ifname} in the sandbox")
    tune_ipv6(ifname, enabled=any(address.version == 6 for address in addresses))
    request(
        *(new_address(index, address) for address in addresses),
        set_up(index),
        *(new_default_route(index, gateway) for gateway in gateways),
    )


def tune_ipv6(ifname: str, *, enabled: bool) -> None:
    """Before a link is brought up, enable or disable IPv6 on it, and make it ignore advertised routes."""
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        (IPV6_CONF / ifname / "disable_ipv6").write_text("0" if enabled else "1")
        (IPV6_CONF / ifname / "accept_ra").write_text("0")


def index_of(ifname: str) -> int | None:
    """The index of a link in the calling thread's namespace, or `None`."""
    with contextlib.suppress(OSError):
        return socket.if_nametoindex(ifname)
    return None


def mac_of(ifname: str) -> str:
    """The MAC address of a link in the calling thread's namespace. Raises `OSError`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        answer = fcntl.ioctl(control, SIOCGIFHWADDR, ifname.encode().ljust(40, b"\0"))
    return answer[18:24].hex(":")  # struct ifreq: 16 bytes of name, then a sockaddr whose family takes 2


def is_missing(error: OSError) -> bool:
    """Whether the kernel reported that there is no such link."""
    return error.errno == errno.ENODEV


def _default_route(index: int, gateway: IPv4Address | IPv6Address) -> bytes:
    family = socket.AF_INET if gateway.version == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
    return body + attribute(RTA_GATEWAY, gateway.packed) + _u32(RTA_OIF, index)


def _framed(number: int, message: Message) -> bytes:
    return netlink.frame(message.type, netlink.NLM_F_ACK | message.flags, message.body, number)


def _acknowledgements(answer: bytes) -> Iterator[OSError | None]:
    for kind, flags, body in netlink.messages(answer):
        if kind == netlink.NLMSG_ERROR:
            yield netlink.error_of(body, _said(body[netlink.ACKNOWLEDGED_BYTES :]) if flags & NLM_F_ACK_TLVS else "")


def _said(content: bytes) -> str:
    said = dict(netlink.attributes(content)).get(NLMSGERR_ATTR_MSG, b"")
    return said.rstrip(b"\0").decode(errors="replace")


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def _u32(kind: int, number: int) -> bytes:
    return attribute(kind, _U32.pack(number))
