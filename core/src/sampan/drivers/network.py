"""The interface of network drivers: they create networks and attach sandboxes to them.

Terms. A *network* is what containers share; a *sandbox* is a network namespace and its contents; an *endpoint* is
the attachment of one sandbox to one network. Addresses (IPAM), names (DNS, hosts files) and the namespaces
themselves are managed by the core: a driver is told which addresses to set, and is given the namespace as an open
file.

Drivers are called in worker threads of the daemon, in the daemon's (the host's) network namespace. A driver that has
to do something inside the sandbox uses `sandbox.netns_fd`.

Setting up stops at the first error and leaves nothing behind. Tearing down (`detach`, `unpublish`, `remove_network`)
performs every step, and something that is already gone is not an error.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable


@dataclass(frozen=True)
class Pool:
    """One address pool of a network: its subnet and the gateway's address in it."""

    subnet: IPv4Network | IPv6Network
    gateway: IPv4Address | IPv6Address | None


@dataclass(frozen=True)
class Network:
    """A network as the core passes it to its driver. `id` is 64 hex digits, `name` is chosen by the user."""

    id: str
    name: str
    pools: tuple[Pool, ...]
    internal: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sandbox:
    """A network namespace, created by the core. `netns_fd` is open for the duration of the call."""

    id: str
    netns_fd: int


@dataclass(frozen=True)
class Endpoint:
    """One attachment. `id` is 64 hex digits; `ifname` is the name of the interface inside the sandbox.

    `gateway_v4` and `gateway_v6` are set if this endpoint carries the sandbox's default routes.
    """

    id: str
    network: Network
    ifname: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    mac: str | None = None
    gateway_v4: IPv4Address | None = None
    gateway_v6: IPv6Address | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Attachment:
    """The result of `attach`: the interface inside the sandbox and its MAC address."""

    ifname: str
    mac: str


class L4(enum.StrEnum):
    """A transport protocol."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


class PublishedPort(NamedTuple):
    """A host port that leads to a port of an endpoint. `host_ip` `0.0.0.0` or `::` means every address."""

    protocol: L4
    host_ip: IPv4Address | IPv6Address
    host_port: int
    container_port: int


@dataclass(frozen=True)
class NetworkState:
    """The ids of what the driver holds in the kernel, by which the core reconciles after a crash."""

    networks: frozenset[str]
    endpoints: frozenset[str]


class NetworkDriver(Protocol):
    """Creates networks and attaches sandboxes to them. Synchronous; called from several threads at once."""

    def probe(self) -> str | None:
        """Why this driver can't work on this host, in one sentence; `None` if it can."""

    def validate(self, network: Network) -> None:
        """Raise `InvalidArgument` for options or pools that this driver does not accept. Changes nothing."""

    def create_network(self, network: Network) -> None:
        """Create `network`. If it exists already with the same values, restore whatever is missing of it."""

    def remove_network(self, network: Network) -> None:
        """Remove `network` and everything that the driver created for it."""

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> Attachment:
        """Put an interface of `endpoint.network` into `sandbox`, up, with addresses and routes.

        Raises `NotFound` if the network was not created, `Conflict` if the endpoint exists.
        """

    def detach(self, endpoint: Endpoint) -> None:
        """Undo `attach`. The sandbox, and with it the interface, may be gone already."""

    def publish(self, endpoint: Endpoint, ports: tuple[PublishedPort, ...]) -> None:
        """Forward host ports to ports of the endpoint, all or none.

        Raises `Conflict` if one is published already, in Docker's words (`Bind for 0.0.0.0:80 failed: port is
        already allocated`). The core has already checked that no other program listens there.
        """

    def unpublish(self, endpoint: Endpoint) -> None:
        """Undo every `publish` of the endpoint."""

    def list(self) -> NetworkState:
        """What this driver currently holds in the kernel."""

    def networks_on_host(self) -> Iterator[IPv4Network | IPv6Network]:
        """Subnets in use on this host (routes, other engines' bridges), which new pools must avoid."""


@runtime_checkable
class DriftDetectionDriver(Protocol):
    """An optional interface: the driver detects that another program has removed what it created in the kernel.

    The core then calls `create_network` for its networks again.
    """

    def watch(self) -> int:
        """Start watching; returns a file descriptor that is readable when something may have changed."""

    def has_drifted(self) -> bool:
        """Read all pending notifications, and return whether something that this driver created is missing."""

    def unwatch(self) -> None:
        """Stop watching, and close the descriptor. Not an error if the driver isn't watching."""


@runtime_checkable
class UnderlayDriver(Protocol):
    """An optional interface: containers are connected to the underlay (the network that the host is on) directly.

    They have their own addresses there and need no ports of the host, so `publish` is not called. Their interfaces
    are visible only in their sandboxes, which the driver is given again after a restart of the daemon.
    """

    def adopt(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """Take over an endpoint that an earlier daemon attached to this sandbox."""


@runtime_checkable
class HostFirewallDriver(Protocol):
    """An optional interface: the driver can subject published ports to the host's own firewall.

    With the setting `published-ports = "host-firewall"`, only such drivers and `UnderlayDriver`s are accepted.
    """

    def enforce_host_firewall(self) -> None:
        """From now on, forward to published ports only what the host's firewall accepts.

        Called before any network is created. Raises `Unsupported` if this can't be done on this host.
        """


@runtime_checkable
class FirewallDriver(Protocol):
    """An optional interface: the driver filters packets, and names the firewall that it programs."""

    @property
    def firewall_backend(self) -> str:
        """`nftables` or `iptables`, as `docker info` shows it."""


@dataclass(frozen=True)
class NetworkSettings:
    """The argument of a network driver's factory: its state directory and the short name of the instance.

    `instance` (at most 8 characters of `[a-z0-9]`) is to be part of the names of kernel objects, so that several
    daemons on one host never conflict.
    """

    state_dir: Path
    instance: str


NetworkFactory: TypeAlias = Callable[[NetworkSettings], NetworkDriver]
"""Creates a network driver. Does not touch the host before `create_network`."""
