"""What the core itself does in a sandbox: creation, default routes, interface settings, the DNS server."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

from sampan.errdefs import InvalidArgument, SystemFailure
from sampan.network.records import EndpointRecord
from sampan.syscalls import rtnetlink
from sampan.syscalls.netns import new_netns, run_in_netns, set_link_up
from sampan.syscalls.nftables import Nft

SYSCTLS = {
    # as Docker sets them for containers with their own network namespace (moby daemon/oci_linux.go)
    "net/ipv4/ping_group_range": "0 2147483647",
    "net/ipv4/ip_unprivileged_port_start": "0",
}
NAME_SERVER = "127.0.0.11"
"""Where containers on user-defined networks send DNS queries, as in Docker."""

_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)\.([a-zA-Z0-9_-]+)\.(?:IFNAME|ifname)\.([a-zA-Z0-9_-]+)=([ -~]*)")
_TRIES = 8
_NO_ROUTE = (errno.ESRCH, errno.ENOENT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP)
_DNS_TABLE = "sampan_names"


@dataclass(frozen=True)
class NameSockets:
    """Where queries of one sandbox arrive: a datagram socket and a listening stream socket, both non-blocking."""

    udp: socket.socket
    tcp: socket.socket

    def close(self) -> None:
        """Close both."""
        self.udp.close()
        self.tcp.close()


class SandboxKernel:
    """The kernel side of sandboxes. Blocks; for worker threads."""

    def make(self) -> int:
        """A new network namespace, set up for a container, as a file descriptor. Raises `SystemFailure`."""
        try:
            return new_netns(_furnish)
        except OSError as error:
            raise SystemFailure(f"a network namespace can't be made: {error}") from error

    def set_default_routes(self, netns_fd: int, endpoint: EndpointRecord) -> None:
        """Make this endpoint the only one that carries default routes. Raises `SystemFailure`."""
        try:
            run_in_netns(netns_fd, lambda: _set_default_routes(endpoint))
        except OSError as error:
            raise SystemFailure(f"the default route can't be set over {endpoint.network_name}: {error}") from error

    def add_addresses(self, netns_fd: int, ifname: str, addresses: Sequence[IPv4Interface | IPv6Interface]) -> None:
        """Give an interface additional addresses. Raises `SystemFailure`."""
        try:
            run_in_netns(netns_fd, lambda: _add_addresses(ifname, addresses))
        except OSError as error:
            shown = ", ".join(str(address.ip) for address in addresses)
            raise SystemFailure(f"interface {ifname} can't have {shown}: {error}") from error

    def set_sysctls(self, netns_fd: int, ifname: str, settings: Sequence[str]) -> None:
        """Set `net.FAMILY.AREA.IFNAME.NAME=VALUE` of an interface. Raises `InvalidArgument` for what can't be set."""
        parsed = [parse_sysctl(text) for text in settings]
        run_in_netns(netns_fd, lambda: _set_sysctls(ifname, parsed))

    def listen_for_names(self, netns_fd: int, port: int) -> NameSockets:
        """Listen for queries to 127.0.0.11:53. Raises `SystemFailure`.

        The sockets are really bound to another port (`port`, if it is free), so that containers can run their own DNS
        servers on port 53 of all addresses.
        """
        try:
            return run_in_netns(netns_fd, lambda: _listen_for_names(port))
        except OSError as error:
            raise SystemFailure(f"the name server of a container can't listen: {error}") from error


def parse_sysctl(text: str) -> tuple[str, str, str, str]:
    """Family, area, name and value of an interface setting. Raises `InvalidArgument` with Docker's message."""
    if not (match := _SYSCTL.fullmatch(text)):
        raise InvalidArgument(
            f"unrecognised network interface sysctl '{text}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', "
            "'X' must be 'ipv4', 'ipv6' or 'mpls'"
        )
    family, area, name, value = match.groups()
    return family, area, name, value


def _furnish() -> None:
    set_link_up("lo")
    for name, value in SYSCTLS.items():
        with contextlib.suppress(FileNotFoundError):  # a kernel without it
            Path("/proc/sys", name).write_text(value)


def _add_addresses(ifname: str, addresses: Sequence[IPv4Interface | IPv6Interface]) -> None:
    index = _index(ifname)
    rtnetlink.request(*(rtnetlink.new_address(index, address) for address in addresses))


def _index(ifname: str) -> int:
    if (index := rtnetlink.index_of(ifname)) is None:
        raise OSError(errno.ENODEV, f"no interface {ifname} in the sandbox")
    return index


def _set_default_routes(endpoint: EndpointRecord) -> None:
    index = _index(endpoint.ifname)
    for family, gateway in ((socket.AF_INET, endpoint.gateway_v4), (socket.AF_INET6, endpoint.gateway_v6)):
        if gateway is not None:
            rtnetlink.request(rtnetlink.replace_default_route(index, gateway))
            continue
        try:
            rtnetlink.request(rtnetlink.delete_default_route(family))
        except OSError as error:
            if error.errno not in _NO_ROUTE:
                raise


def _set_sysctls(ifname: str, settings: Sequence[tuple[str, str, str, str]]) -> None:
    for family, area, name, value in settings:
        try:
            Path("/proc/sys/net", family, area, ifname, name).write_text(value)
        except OSError as error:
            key = f"net.{family}.{area}.{ifname}.{name}"
            raise InvalidArgument(f"failed to set sysctl {key}={value}: {error.strerror}") from error


def bind_name_sockets(address: str, port: int) -> NameSockets:
    """Bind both sockets to the same port of `address`: to `port`, or else to any that is free. Raises `OSError`."""
    tried = (_bound(address, number) for number in (port, *[0] * _TRIES))
    sockets = next(filter(None, tried), None)
    if sockets is None:
        raise OSError(errno.EADDRINUSE, "no port is free for both UDP and TCP")
    return sockets


def _bound(address: str, port: int) -> NameSockets | None:
    """Bind both sockets to one port; `None` if it is taken."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    sockets = NameSockets(udp, tcp)
    try:
        udp.bind((address, port))
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind(udp.getsockname())
        tcp.listen(64)
    except OSError:
        sockets.close()
        return None
    return sockets


def _listen_for_names(port: int) -> NameSockets:
    sockets = bind_name_sockets(NAME_SERVER, port)
    try:
        _lead_queries_to(sockets.udp.getsockname()[1])
    except BaseException:
        sockets.close()
        raise
    return sockets


def _lead_queries_to(port: int) -> None:
    """As in Docker (moby daemon/libnetwork/resolver_unix.go), but with a table that is created again each time."""
    rules = "".join(
        f"add rule ip {_DNS_TABLE} output ip daddr {NAME_SERVER} {protocol} dport 53 dnat to {NAME_SERVER}:{port}\n"
        for protocol in ("udp", "tcp")
    )
    chain = f"add chain ip {_DNS_TABLE} output {{ type nat hook output priority -100; policy accept; }}\n"
    nft = Nft()  # this thread is in the sandbox
    try:
        nft.run(f"add table ip {_DNS_TABLE}\ndelete table ip {_DNS_TABLE}\nadd table ip {_DNS_TABLE}\n{chain}{rules}")
    finally:
        nft.close()
