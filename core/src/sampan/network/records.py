"""The records of networks, endpoints and sandboxes, and the ports that a container asks for.

Networks and endpoints are stored as JSON documents; `encode` and `decode` convert them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import PlainSerializer, PlainValidator, TypeAdapter

from sampan.drivers import L4, Network, Pool, PublishedPort

HOST_DRIVER = "host"
NULL_DRIVER = "null"
"""The drivers of the predefined networks `host` and `none`, which the core itself implements."""

BRIDGE, HOST, NONE = "bridge", "host", "none"
PREDEFINED = frozenset({BRIDGE, HOST, NONE})
"""The names of the networks that always exist."""


@dataclass(frozen=True)
class AddressPool:
    """One subnet of a network.

    Addresses are chosen from `ip_range`, or from the whole subnet if that is `None`; `reserved` are Docker's
    auxiliary addresses, never given to a container.
    """

    subnet: IPv4Network | IPv6Network
    gateway: IPv4Address | IPv6Address
    ip_range: IPv4Network | IPv6Network | None = None
    reserved: Mapping[str, IPv4Address | IPv6Address] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkRecord:
    """One network. `id` is 64 hex digits; `options` are the driver's.

    A `config_only` network only provides settings for other networks, whose `config_from` is its name.
    """

    id: str
    name: str
    driver: str
    created_ns: int
    pools: tuple[AddressPool, ...] = ()
    internal: bool = False
    attachable: bool = False
    ipv6: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    ipv4: bool = True
    ipam_options: Mapping[str, str] = field(default_factory=dict)
    config_only: bool = False
    config_from: str = ""

    @classmethod
    def new(cls, name: str, driver: str, **fields: Any) -> NetworkRecord:
        """A network about to be created, with a new ID."""
        return cls(secrets.token_hex(32), name, driver, time.time_ns(), **fields)

    def configured_by(self, config: NetworkRecord) -> NetworkRecord:
        """This network with the pools, options and labels of a configuration network."""
        return replace(
            self,
            pools=config.pools,
            ipv4=config.ipv4,
            ipv6=config.ipv6,
            options=config.options,
            ipam_options=config.ipam_options,
            labels=config.labels,
            config_from=config.name,
        )

    @property
    def user_defined(self) -> bool:
        """Whether a user created it, so that its containers find each other by name."""
        return self.name not in PREDEFINED

    @property
    def builtin(self) -> bool:
        """Whether the core itself implements it: `host` and `none`."""
        return self.driver in (HOST_DRIVER, NULL_DRIVER)

    def for_driver(self) -> Network:
        """This network as its driver sees it."""
        pools = tuple(Pool(pool.subnet, pool.gateway) for pool in self.pools)
        return Network(self.id, self.name, pools, self.internal, self.options)


class PortBinding(NamedTuple):
    """A port that a container asks to publish.

    If `host_ip` is `None`, it means every address of the host, for each IP version that the container has. The host
    port is a free one from `first_host_port` to `last_host_port`; zero means any ephemeral one.
    """

    protocol: L4
    container_port: int
    host_ip: IPv4Address | IPv6Address | None = None
    first_host_port: int = 0
    last_host_port: int = 0


@dataclass(frozen=True)
class EndpointWish:
    """What a container asks of its attachment to a network; anything left open is chosen.

    `names` are those by which its neighbours on a user-defined network find it; `links` are additional names by which
    it finds others: pairs of its own name and theirs. `link_local` are additional addresses of its interface. Among
    all its networks with a gateway, the one with the highest `gateway_priority`, and among equals the first by name,
    carries the default routes and the `ports`.
    """

    container_name: str = ""
    names: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    link_local: tuple[IPv4Interface | IPv6Interface, ...] = ()
    mac: str | None = None
    ports: tuple[PortBinding, ...] = ()
    gateway_priority: int = 0
    options: Mapping[str, str] = field(default_factory=dict)


class PortRange(NamedTuple):
    """`length` published ports with consecutive numbers, as stored: a thousand are usually one range."""

    protocol: L4
    host_ip: IPv4Address | IPv6Address
    first_host_port: int
    first_container_port: int
    length: int


_RANGES = TypeAdapter(list[PortRange])


def _ranges_of(ports: tuple[PublishedPort, ...]) -> list[PortRange]:
    groups = (list(alike) for _, alike in groupby(enumerate(ports), _range_of))
    return [PortRange(*alike[0][1], len(alike)) for alike in groups]


def _range_of(numbered: tuple[int, PublishedPort]) -> tuple[L4, IPv4Address | IPv6Address, int, int]:
    """A key that is equal for all ports of one range, as they have the same distance to their indices."""
    index, port = numbered
    return port.protocol, port.host_ip, port.host_port - index, port.container_port - index


def _ports_of(stored: object) -> tuple[PublishedPort, ...]:
    return tuple(
        PublishedPort(one.protocol, one.host_ip, one.first_host_port + step, one.first_container_port + step)
        for one in _RANGES.validate_python(stored)
        for step in range(one.length)
    )


_StoredPorts = Annotated[
    tuple[PublishedPort, ...],
    PlainValidator(_ports_of),
    PlainSerializer(_ranges_of, return_type=list[PortRange]),
]


@dataclass(frozen=True)
class EndpointRecord:
    """One container's attachment to one network and what it got: addresses, gateway, MAC, chosen host ports.

    Endpoints of `host` and `none` have none of these. `ipv4` and `ipv6` include the prefix length. `carries_gateway`:
    the sandbox's default routes use this endpoint.
    """

    id: str
    network_id: str
    network_name: str
    container_id: str
    container_name: str
    ifname: str = ""
    ipv4: IPv4Interface | None = None
    ipv6: IPv6Interface | None = None
    gateway_v4: IPv4Address | None = None
    gateway_v6: IPv6Address | None = None
    mac: str = ""
    names: tuple[str, ...] = ()
    ports: _StoredPorts = ()
    carries_gateway: bool = False
    gateway_priority: int = 0
    links: tuple[tuple[str, str], ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def addresses(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """Its addresses, IPv4 first."""
        return tuple(address for address in (self.ipv4, self.ipv6) if address is not None)


@dataclass(frozen=True)
class SandboxRecord:
    """A container's network namespace.

    `path` can be opened, and passed to an OCI runtime, as long as the daemon lives; it is not a mount.
    """

    container_id: str
    path: Path


RecordT = TypeVar("RecordT", NetworkRecord, EndpointRecord)


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {
    NetworkRecord: TypeAdapter(NetworkRecord),
    EndpointRecord: TypeAdapter(EndpointRecord),
}


def encode(record: NetworkRecord | EndpointRecord) -> str:
    """The record's document, as JSON text."""
    text: bytes = _ADAPTERS[type(record)].dump_json(record)
    return text.decode()


def decode(kind: type[RecordT], document: str) -> RecordT:
    """The record in a document. Raises `ValueError` if the document is invalid."""
    record: RecordT = _ADAPTERS[kind].validate_json(document)
    return record
