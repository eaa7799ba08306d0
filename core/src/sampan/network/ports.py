"""Host ports: chooses them, and holds each with a bound socket so that no other program takes it."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from sampan.drivers import L4, PublishedPort
from sampan.errdefs import Conflict, Unsupported
from sampan.network.records import PortBinding

_log = logging.getLogger(__name__)

ANY_V4 = IPv4Address("0.0.0.0")  # noqa: S104
ANY_V6 = IPv6Address("::")
ANY: Mapping[int, IPv4Address | IPv6Address] = {4: ANY_V4, 6: ANY_V6}
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
GATEWAY_MODE = {
    4: "com.docker.network.bridge.gateway_mode_ipv4",
    6: "com.docker.network.bridge.gateway_mode_ipv6",
}
ROUTED, UNPROTECTED = "routed", "nat-unprotected"
"""Options of a network that say how its containers can be reached; Docker's names and values."""

_KINDS = {
    L4.TCP: (socket.SOCK_STREAM | socket.SOCK_CLOEXEC, socket.IPPROTO_TCP),
    L4.UDP: (socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.IPPROTO_UDP),
    L4.SCTP: (socket.SOCK_STREAM | socket.SOCK_CLOEXEC, socket.IPPROTO_SCTP),
}

Hold: TypeAlias = tuple[IPv4Address | IPv6Address, socket.SocketType | None]
"""An address at which a port is held, and the socket; `None` if it can't be held."""

LOCAL_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class HostPorts:
    """The host ports that containers publish. Used from the event loop only.

    `binding` is the address for ports for which neither the publisher nor the network specifies one.
    """

    def __init__(self, binding: IPv4Address = ANY_V4) -> None:
        self._binding = binding
        self._held: dict[tuple[L4, int], list[Hold]] = {}
        self._last_ephemeral = 0

    def reserve(self, bindings: Sequence[PortBinding], *, ipv4: bool, ipv6: bool) -> tuple[PublishedPort, ...]:
        """Choose and hold a host port for each binding, all or none, for the IP versions that the container has.

        Raises `Conflict` with Docker's message if a port is taken, `Unsupported` for an address of another IP
        version.
        """
        ephemeral = _ephemeral_ports() if any(binding.first_host_port == 0 for binding in bindings) else range(0)
        every = (_host(ANY_V4),) * ipv4 + (_host(ANY_V6),) * ipv6
        ports: list[PublishedPort] = []
        try:
            for binding in bindings:
                hosts = _host_addresses(binding, every)
                number = self._take_first(binding, hosts, ephemeral)
                for host in hosts:
                    ports.append(PublishedPort(binding.protocol, host.ip, number, binding.container_port))
        except BaseException:
            self.release(ports)
            raise
        return tuple(sorted(ports, key=lambda port: port.host_ip.version))  # grouped by address

    def reserve_on(
        self, options: Mapping[str, str], bindings: Sequence[PortBinding], *, versions: Collection[int]
    ) -> tuple[PublishedPort, ...]:
        """As `reserve`, on a network with these options and for containers with addresses of these IP versions.

        Routed networks have no host ports: the container's own ports are opened, as host port 0.
        """
        routed = {version for version in versions if options.get(GATEWAY_MODE[version]) == ROUTED}
        opened = dict.fromkeys(
            PublishedPort(binding.protocol, ANY[version], 0, binding.container_port)
            for binding in bindings
            for version in sorted(routed)
        )
        default = IPv4Address(options.get(HOST_BINDING) or self._binding)
        everywhere = default == ANY_V4
        wanted = [
            binding if everywhere or binding.host_ip else binding._replace(host_ip=default)
            for binding in bindings
            if binding.host_ip is None or binding.host_ip.version not in routed
        ]
        left = set(versions) - routed
        return (*(self.reserve(wanted, ipv4=4 in left, ipv6=6 in left) if left else ()), *opened)

    def adopt(self, ports: Iterable[PublishedPort]) -> None:
        """Record ports that are already published, after a restart, and hold those that can be held."""
        for port in ports:
            if port.host_port == 0:
                continue
            try:
                held = _hold(port.protocol, _host(port.host_ip), port.host_port)
            except OSError as error:
                _log.warning("published port %s is also used by another program: %s", _text(port), error.strerror)
                held = None
            self._held.setdefault((port.protocol, port.host_port), []).append((port.host_ip, held))

    def release(self, ports: Iterable[PublishedPort]) -> None:
        """Release ports; those not held are ignored."""
        for port in ports:
            key = port.protocol, port.host_port
            holds = self._held.pop(key, [])
            if left := [hold for hold in holds if hold[0] != port.host_ip]:
                self._held[key] = left
            _close(hold for hold in holds if hold not in left)

    def close(self) -> None:
        """Release everything."""
        _close(chain.from_iterable(self._held.values()))
        self._held.clear()

    def _take_first(self, binding: PortBinding, hosts: Sequence[_Host], ephemeral: range) -> int:
        if binding.first_host_port == binding.last_host_port != 0:
            self._take(binding.protocol, hosts, binding.first_host_port)
            return binding.first_host_port
        for number in self._candidates(binding, ephemeral):
            with contextlib.suppress(Conflict):
                self._take(binding.protocol, hosts, number)
                return number
        raise Conflict("all ports are allocated")

    def _candidates(self, binding: PortBinding, ephemeral: range) -> Iterator[int]:
        if binding.first_host_port:
            yield from range(binding.first_host_port, binding.last_host_port + 1)
            return
        passed = ephemeral.index(self._last_ephemeral) + 1 if self._last_ephemeral in ephemeral else 0
        for self._last_ephemeral in chain(ephemeral[passed:], ephemeral[:passed]):
            yield self._last_ephemeral

    def _take(self, protocol: L4, hosts: Sequence[_Host], number: int) -> None:
        key = protocol, number
        others = self._held.get(key)
        for host in hosts if others else ():
            if any(_overlap(host.ip, ip) for ip, _ in others or ()):
                raise Conflict(f"Bind for {_bracketed(host.ip)}:{number} failed: port is already allocated")
        holds: list[Hold] = []
        try:
            for host in hosts:
                holds.append((host.ip, _hold(protocol, host, number)))
        except OSError as error:
            _close(holds)
            raise Conflict(_bind_failure(protocol, hosts[len(holds)].ip, number, error)) from error
        self._held[key] = holds + others if others else holds


@dataclass(frozen=True, slots=True)
class _Host:
    """An address of the host, and its representation for the kernel."""

    ip: IPv4Address | IPv6Address
    family: int
    text: str


@lru_cache(maxsize=64)  # a thousand ports usually have the same address
def _host(ip: IPv4Address | IPv6Address) -> _Host:
    return _Host(ip, socket.AF_INET if ip.version == 4 else socket.AF_INET6, str(ip))


def _host_addresses(binding: PortBinding, every: Sequence[_Host]) -> Sequence[_Host]:
    """The addresses for a binding; `every` are those for the IP versions that the container has."""
    if binding.host_ip is None:
        return every
    if all(binding.host_ip.version != host.ip.version for host in every):
        raise Unsupported(
            f"port {binding.container_port}/{binding.protocol} can't be published on {binding.host_ip}: "
            f"the container has no IPv{binding.host_ip.version} address"
        )
    return (_host(binding.host_ip),)


def _ephemeral_ports() -> range:
    first, last = map(int, LOCAL_PORT_RANGE.read_text().split())
    return range(first, last + 1)


def _hold(protocol: L4, host: _Host, number: int) -> socket.SocketType | None:
    """Bind the port and keep it. `None` if the kernel lacks the protocol, so that nobody else can listen either."""
    try:
        held = socket.SocketType(host.family, *_KINDS[protocol])
    except OSError:
        if protocol is L4.SCTP:
            return None
        raise
    try:
        if host.family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol is L4.UDP:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # nobody reads what arrives
            held.bind((host.text, number))
        else:
            _bind_stream(held, (host.text, number))
    except BaseException:
        held.close()
        raise
    return held


def _close(holds: Iterable[Hold]) -> None:
    for _, held in holds:
        if held is not None:
            held.close()


def _bind_stream(held: socket.SocketType, address: tuple[str, int]) -> None:
    # As it does not listen, connections that bypass the published port are refused at once.
    try:
        held.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        _bind_beside_ended_connections(held, address)


def _bind_beside_ended_connections(held: socket.SocketType, address: tuple[str, int]) -> None:
    # SO_REUSEADDR ignores connections of an earlier server that are still in TIME_WAIT. But then only listen(2) tells
    # whether another program is listening. Afterwards the socket stays bound and, no longer reusable, keeps others
    # off.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(address)
    held.listen(0)
    held.shutdown(socket.SHUT_RDWR)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def _overlap(one: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address) -> bool:
    return one.version == other.version and (one == other or one.is_unspecified or other.is_unspecified)


def _bind_failure(protocol: L4, host: IPv4Address | IPv6Address, number: int, error: OSError) -> str:
    reason = os.strerror(error.errno or 0)
    return f"failed to bind host port {_bracketed(host)}:{number}/{protocol}: {reason[0].lower()}{reason[1:]}"


def _text(port: PublishedPort) -> str:
    return f"{_bracketed(port.host_ip)}:{port.host_port}/{port.protocol}"


def _bracketed(host: IPv4Address | IPv6Address) -> str:
    return f"[{host}]" if host.version == 6 else str(host)
