"""What can be reached from outside: published ports, and containers on networks that expose them directly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.daemon.settings.namespaces import HOST, network_mode
from sampan.drivers import PublishedPort
from sampan.engine import Job
from sampan.models import ExposedPort, ListExposedPorts
from sampan.network.ports import ANY, GATEWAY_MODE, UNPROTECTED
from sampan.network.records import EndpointRecord
from sampan.syscalls.addresses import host_addresses

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

EVERYBODY, HOST_FIREWALL, ROUTE, WIRE = "everybody", "host-firewall", "route", "wire"

_Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class _Opening:
    """How a container can be reached from outside; port 0 means any."""

    address: _Address
    reached_by: str
    port: int = 0
    protocol: str = ""
    container_port: int = 0


async def port_list(daemon: Daemon, job: Job[ListExposedPorts]) -> list[ExposedPort]:
    """Everything reachable from outside, by container. Other rules of the host's firewalls are not considered."""
    outward = _outward(daemon, await asyncio.to_thread(host_addresses))
    running = sorted((one for one in daemon.containers if one.running), key=lambda one: one.record.name)
    return [
        ExposedPort(
            container_id=container.id,
            container_name=container.record.name,
            network=network,
            address=str(opening.address),
            port=opening.port,
            protocol=opening.protocol,
            container_port=opening.container_port,
            interfaces=[] if opening.reached_by in (ROUTE, WIRE) else _interfaces(outward, opening.address),
            reached_by=opening.reached_by,
        )
        for container in running
        for network, opening in _openings(daemon, container)
    ]


def _outward(daemon: Daemon, addresses: Sequence[tuple[str, _Address]]) -> list[tuple[str, _Address]]:
    """The host's interfaces by which others reach it, with their addresses; its containers' bridges are left out."""
    gateways = {pool.gateway for network in daemon.networks.list() for pool in network.pools}
    inward = {ifname for ifname, address in addresses if address in gateways}
    return [(ifname, address) for ifname, address in addresses if ifname not in inward and not address.is_loopback]


def _interfaces(outward: Sequence[tuple[str, _Address]], host_ip: _Address) -> list[str]:
    names = {
        ifname
        for ifname, address in outward
        if address == host_ip or (host_ip.is_unspecified and address.version == host_ip.version)
    }
    return sorted(names)


def _openings(daemon: Daemon, container: Container) -> Iterator[tuple[str, _Opening]]:
    """The openings of a container, each with the network that it belongs to."""
    if network_mode(container.record.host_config) == HOST:
        for address in ANY.values():  # its programs listen on the host's own addresses
            yield HOST, _Opening(address, HOST_FIREWALL)
        return
    for endpoint in daemon.networks.endpoints(container.id):
        for opening in _openings_of(daemon, endpoint):
            yield endpoint.network_name, opening


def _openings_of(daemon: Daemon, endpoint: EndpointRecord) -> Iterator[_Opening]:
    network = daemon.networks.get(endpoint.network_id)
    if network.internal:
        return
    is_underlay = daemon.networks.is_underlay(network)
    for interface in endpoint.addresses:
        if is_underlay or network.options.get(GATEWAY_MODE[interface.version]) == UNPROTECTED:
            yield _Opening(interface.ip, WIRE if is_underlay else ROUTE)
    for port in endpoint.ports:
        if not port.host_ip.is_loopback:
            yield _published(daemon, endpoint, port)


def _published(daemon: Daemon, endpoint: EndpointRecord, port: PublishedPort) -> _Opening:
    leads_to = (str(port.protocol), port.container_port)
    if port.host_port:
        by = HOST_FIREWALL if daemon.settings.enforce_host_firewall else EVERYBODY
        return _Opening(port.host_ip, by, port.host_port, *leads_to)
    own = next(one.ip for one in endpoint.addresses if one.version == port.host_ip.version)
    return _Opening(own, ROUTE, port.container_port, *leads_to)
