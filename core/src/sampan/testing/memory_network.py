"""A network driver that keeps its networks in memory, for tests of the layers above a network driver."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from sampan.drivers import (
    L4,
    Attachment,
    Endpoint,
    Network,
    NetworkSettings,
    NetworkState,
    PublishedPort,
    Sandbox,
)
from sampan.errdefs import Conflict, InvalidArgument, NotFound


@dataclass
class _Attached:
    endpoint: Endpoint
    ports: dict[tuple[L4, IPv4Address | IPv6Address, int], PublishedPort] = field(default_factory=dict)


class MemoryNetwork:
    """A `NetworkDriver` for tests. It touches no namespace; its state is lost with the object."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._instance = settings.instance
        self._networks: dict[str, Network] = {}
        self._endpoints: dict[str, _Attached] = {}
        self._lock = threading.RLock()

    @property
    def firewall_backend(self) -> str:
        """A name for `docker info`; no packets are filtered."""
        return "memory"

    def probe(self) -> str | None:
        """It works everywhere."""
        return None

    def validate(self, network: Network) -> None:
        """Require a subnet."""
        if not network.pools:
            raise InvalidArgument(f"network {network.name} has no subnet")

    def create_network(self, network: Network) -> None:
        """Record the network."""
        self.validate(network)
        with self._lock:
            self._networks[network.id] = network

    def remove_network(self, network: Network) -> None:
        """Forget the network."""
        with self._lock:
            self._networks.pop(network.id, None)

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> Attachment:
        """Record the endpoint, with the requested MAC address or one derived from its id."""
        with self._lock:
            if endpoint.network.id not in self._networks:
                raise NotFound(f"network {endpoint.network.name} was not created")
            if endpoint.id in self._endpoints:
                raise Conflict(f"endpoint {endpoint.id} exists already")
            self._endpoints[endpoint.id] = _Attached(endpoint)
        return Attachment(endpoint.ifname, endpoint.mac or f"02:{bytes.fromhex(endpoint.id[:10]).hex(':')}")

    def detach(self, endpoint: Endpoint) -> None:
        """Forget the endpoint."""
        with self._lock:
            self._endpoints.pop(endpoint.id, None)

    def publish(self, endpoint: Endpoint, ports: tuple[PublishedPort, ...]) -> None:
        """Record the ports."""
        wanted = {(port.protocol, port.host_ip, port.host_port): port for port in ports}
        with self._lock:
            for other in self._endpoints.values():
                if other.endpoint.id != endpoint.id and (taken := wanted.keys() & other.ports.keys()):
                    _, host, number = min(taken, key=str)
                    raise Conflict(f"Bind for {host}:{number} failed: port is already allocated")
            if endpoint.id not in self._endpoints:
                raise NotFound(f"endpoint {endpoint.id} is not attached")
            self._endpoints[endpoint.id].ports.update(wanted)

    def unpublish(self, endpoint: Endpoint) -> None:
        """Forget the ports."""
        with self._lock:
            if (attached := self._endpoints.get(endpoint.id)) is not None:
                attached.ports.clear()

    def list(self) -> NetworkState:
        """The recorded networks and endpoints."""
        with self._lock:
            return NetworkState(frozenset(self._networks), frozenset(self._endpoints))

    def networks_on_host(self) -> Iterator[IPv4Network | IPv6Network]:
        """The subnets of its own networks."""
        with self._lock:
            return iter([pool.subnet for network in self._networks.values() for pool in network.pools])

    def published(self) -> set[PublishedPort]:
        """All published ports, for tests to inspect."""
        with self._lock:
            return {port for attached in self._endpoints.values() for port in attached.ports.values()}
