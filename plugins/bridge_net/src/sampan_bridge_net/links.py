"""Bridges and routes of the host, through pyroute2: everything that does not delay a container's start.

pyroute2 is imported at first use (about 200 ms and 9 to 26 MB) and used in a dedicated thread, as its objects belong
to the thread that opened them and run their own event loop.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface, ip_network
from typing import Any, TypeVar

from sampan.errdefs import Conflict, SystemFailure
from sampan.syscalls import rtnetlink
from sampan.syscalls.netns import in_own_thread

ResultT = TypeVar("ResultT")

ONWARD_V6 = "fe80::73:7067"
"""What is sent to this address through a pair's entry arrives at its exit."""

_WHOLE_PACKETS = 65535  # bytes: reassembled packets are not fragmented again
_UP_WITHOUT_ARP = 0x1 | 0x80  # IFF_UP, IFF_NOARP
_HOST_SCOPE = 254  # RT_SCOPE_HOST
_RTPROT_KERNEL = 2  # systemd-networkd deletes all other rules that it does not know


@dataclass(frozen=True)
class Bridge:
    """A bridge as it should be.

    `alias` marks it as ours. `mac` is fixed, because the kernel would change it whenever a port comes or goes, and
    the neighbours' caches would be wrong.
    """

    ifname: str
    alias: str
    mac: str
    mtu: int
    addresses: tuple[IPv4Interface | IPv6Interface, ...]


def put_bridge(bridge: Bridge, before_up: Callable[[], None]) -> None:
    """Create the bridge, or correct what differs; `before_up` runs when it exists but is not up yet.

    Raises `Conflict` if a link of that name exists that is not this bridge.
    """
    _with_pyroute2(lambda route: _put_bridge(route, bridge, before_up))


def link_local(mac: str) -> IPv6Interface:
    """The link-local address that the kernel makes of a MAC address (RFC 4291, appendix A)."""
    first, *octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([first ^ 0x02, *octets[:2], 0xFF, 0xFE, *octets[2:]])
    return IPv6Interface((bytes([0xFE, 0x80, *bytes(6)]) + identifier, 64))


def delete_bridge(alias: str) -> None:
    """Delete the bridge with this mark, if it exists."""
    _with_pyroute2(lambda route: _delete_bridge(route, alias))


@dataclass(frozen=True)
class Pair:
    """A veth pair within the host: what is sent to `entry` arrives at `exit`, whatever its destination.

    Neither end uses ARP, and both have the same MAC address. `address` is that of the exit. For IPv6 packets with the
    mark `mark`, the routing table of that number leads everything to the exit.
    """

    entry: str
    exit: str
    alias: str
    mac: str
    address: IPv4Interface
    mark: int


def put_pair(pair: Pair, before_up: Callable[[], None]) -> None:
    """Create the pair, or restore what is missing; `before_up` runs when it exists but is not up yet."""
    _with_pyroute2(lambda route: _put_pair(route, pair, before_up))


def delete_pair(pair: Pair) -> None:
    """Delete the pair, if it exists, and the rule that leads to its routes; the routes disappear with the links."""
    _with_pyroute2(lambda route: _delete_pair(route, pair))


def aliases() -> list[str]:
    """The marks of all links."""
    return _with_pyroute2(
        lambda route: [alias for link in route.get_links() if (alias := link.get_attr("IFLA_IFALIAS"))]
    )


def networks_on_host() -> list[IPv4Network | IPv6Network]:
    """The destinations of all routes except default, local and link-local ones."""
    return _with_pyroute2(lambda route: list(_destinations(route)))


def _with_pyroute2(work: Callable[[Any], ResultT]) -> ResultT:
    def run() -> ResultT:
        from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415 - see the module's docstring

        with IPRoute() as route:
            try:
                return work(route)
            except NetlinkError as error:
                raise SystemFailure(f"the kernel refused a change of the network: {error}") from error

    return in_own_thread(run)


def _put_bridge(route: Any, bridge: Bridge, before_up: Callable[[], None]) -> None:
    found = list(route.link_lookup(ifname=bridge.ifname))
    if not found:
        # The kernel's defaults for nf_call and STP are kept: off.
        route.link("add", ifname=bridge.ifname, kind="bridge", mtu=bridge.mtu, address=bridge.mac)
        found = list(route.link_lookup(ifname=bridge.ifname))
    if not _is(route.link("get", index=found[0])[0], bridge):
        raise Conflict(f"a network interface {bridge.ifname} exists already and is not this network's")
    route.link("set", index=found[0], ifalias=bridge.alias)
    _put_addresses(route, found[0], set(bridge.addresses))
    before_up()
    route.link("set", index=found[0], mtu=bridge.mtu, state="up")


def _is(link: Any, bridge: Bridge) -> bool:
    """Whether a link is this bridge: by its alias, or by its MAC address if it has none.

    The kernel accepts no alias when it creates a link, so a crash in between leaves a bridge without one.
    """
    alias = link.get_attr("IFLA_IFALIAS")
    return bool(alias == bridge.alias or (alias is None and link.get_attr("IFLA_ADDRESS") == bridge.mac))


def _put_addresses(route: Any, index: int, wanted: set[IPv4Interface | IPv6Interface]) -> None:
    there = {
        ip_interface(f"{address.get_attr('IFA_ADDRESS')}/{address['prefixlen']}")
        for address in route.get_addr(index=index)
    }
    for address in there - wanted:
        if not address.is_link_local:
            route.addr("delete", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)
    for address in wanted - there:
        broadcast = str(address.network.broadcast_address) if address.version == 4 else None
        extra = {"broadcast": broadcast} if broadcast else {"flags": 0x02}  # IFA_F_NODAD: usable at once
        route.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **extra)


def _put_pair(route: Any, pair: Pair, before_up: Callable[[], None]) -> None:
    if not list(route.link_lookup(ifname=pair.entry)):
        peer = {"ifname": pair.exit, "mtu": _WHOLE_PACKETS, "address": pair.mac}
        route.link("add", ifname=pair.entry, kind="veth", mtu=_WHOLE_PACKETS, address=pair.mac, peer=peer)
    entry, exit = (next(iter(route.link_lookup(ifname=ifname))) for ifname in (pair.entry, pair.exit))
    before_up()
    for index in (entry, exit):
        route.link("set", index=index, ifalias=pair.alias, flags=_UP_WITHOUT_ARP, change=_UP_WITHOUT_ARP)
    route.addr("replace", index=exit, address=str(pair.address.ip), prefixlen=32, scope=_HOST_SCOPE)
    if rtnetlink.IPV6_CONF.exists():
        route.route("replace", dst=f"{ONWARD_V6}/128", oif=entry, family=socket.AF_INET6)
        _put_marked_route(route, pair.mark, exit)


def _put_marked_route(route: Any, mark: int, index: int) -> None:
    """Add the rule first: a kernel without rules refuses it, and would apply the route to all packets."""
    from pyroute2 import NetlinkError  # noqa: PLC0415 - see the module's docstring

    try:
        if not _marked_rules(route, mark):
            route.rule("add", family=socket.AF_INET6, fwmark=mark, table=mark, protocol=_RTPROT_KERNEL)
    except NetlinkError as error:
        if error.code in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
            return
        raise
    route.route("replace", family=socket.AF_INET6, dst="default", oif=index, table=mark)


def _marked_rules(route: Any, mark: int) -> list[Any]:
    return [rule for rule in route.get_rules(family=socket.AF_INET6) if rule.get_attr("FRA_TABLE") == mark]


def _delete_pair(route: Any, pair: Pair) -> None:
    if rtnetlink.IPV6_CONF.exists():
        for _ in _marked_rules(route, pair.mark):
            route.rule("delete", family=socket.AF_INET6, fwmark=pair.mark, table=pair.mark)
    for index in route.link_lookup(ifname=pair.entry):
        route.link("delete", index=index)


def _delete_bridge(route: Any, alias: str) -> None:
    from pyroute2 import NetlinkError  # noqa: PLC0415 - see the module's docstring

    for link in route.get_links(kind="bridge"):
        if link.get_attr("IFLA_IFALIAS") == alias:
            try:
                route.link("delete", index=link["index"])
            except NetlinkError as error:
                if error.code != errno.ENODEV:
                    raise


def _destinations(route: Any) -> Iterator[IPv4Network | IPv6Network]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for entry in route.get_routes(family=family):
            destination = entry.get_attr("RTA_DST")
            if destination is None or entry["type"] != 1:  # RTN_UNICAST; no destination: a default route
                continue
            network = ip_network(f"{destination}/{entry['dst_len']}")
            if not network.is_link_local and not network.is_multicast and not network.is_loopback:
                yield network
