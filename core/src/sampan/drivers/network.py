"""The network driver's interface: it makes networks and attaches sandboxes to them.

Words. A *network* is what containers share; a *sandbox* is a network namespace and its contents; an *endpoint* is
one sandbox's attachment to one network. Addresses (IPAM), names (DNS, hosts files) and the namespaces
themselves are the core's: a driver is told which addresses to set and is given the namespace as an open file.

Where it runs: in a worker thread of the daemon, in the daemon's (the host's) network namespace. A driver that has
to act inside the sandbox uses `sandbox.netns_fd`.

Set-up stops at the first error and leaves nothing behind; teardown (`detach`, `unpublish`, `remove_network`) does
every step, and is no error for what is already gone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable


@dataclass(frozen=True)
class Pool:
    """One address pool of a network: its subnet and the gateway's address in it."""

    subnet: IPv4Network | IPv6Network
    gateway: IPv4Address | IPv6Address | None


@dataclass(frozen=True)
class Network:
    """A network as the core hands it to its driver. `id` is 64 hex digits, `name` is the user's."""

    id: str
    name: str
    pools: tuple[Pool, ...]
    internal: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sandbox:
    """A network namespace, made by the core. `netns_fd` is open as long as the call lasts."""

    id: str
    netns_fd: int


@dataclass(frozen=True)
class Endpoint:
    """One attachment. `id` is 64 hex digits; `ifname` is the name to give the interface inside the sandbox.

    `gateway_v4` and `gateway_v6` are set if this endpoint is to carry the sandbox's default routes.
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
    """What the driver made of an endpoint: the interface inside and its MAC address."""

    ifname: str
    mac: str


class L4(enum.StrEnum):
    """A transport protocol."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


@dataclass(frozen=True)
class PublishedPort:
    """A host port that leads to a port of an endpoint. `host_ip` `0.0.0.0` or `::` is every address."""

    protocol: L4
    host_ip: IPv4Address | IPv6Address
    host_port: int
    container_port: int


@dataclass(frozen=True)
class NetworkState:
    """What the driver holds in the kernel, for the core's reconciling after a crash: ids."""

    networks: frozenset[str]
    endpoints: frozenset[str]


class NetworkDriver(Protocol):
    """Makes networks and attaches sandboxes to them. Synchronous; called from several threads at once."""

    def probe(self) -> str | None:
        """Why this driver can't work on this host, in one sentence; `None` if it can."""

    def validate(self, network: Network) -> None:
        """Raise `InvalidArgument` for options or pools that this driver does not take. Changes nothing."""

    def create_network(self, network: Network) -> None:
        """Make `network`. Making one that is there already with the same values puts right what is missing."""

    def remove_network(self, network: Network) -> None:
        """Remove `network` and all the driver made for it."""

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> Attachment:
        """Put an interface of `endpoint.network` into `sandbox`, up, with addresses and routes.

        Raises `NotFound` if the network was not created, `Conflict` if the endpoint exists.
        """

    def detach(self, endpoint: Endpoint) -> None:
        """Undo `attach`. The sandbox, and with it the interface, may be gone already."""

    def publish(self, endpoint: Endpoint, ports: tuple[PublishedPort, ...]) -> None:
        """Lead host ports to ports of the endpoint, all or none.

        Raises `Conflict` if one is published already, in Docker's words (`Bind for 0.0.0.0:80 failed: port is
        already allocated`). That no other program listens there, the core has checked.
        """

    def unpublish(self, endpoint: Endpoint) -> None:
        """Undo every `publish` of the endpoint."""

    def list(self) -> NetworkState:
        """What of this driver is in the kernel now."""

    def networks_on_host(self) -> Iterator[IPv4Network | IPv6Network]:
        """Subnets in use on this host that a new pool must keep off (routes, other engines' bridges)."""


@runtime_checkable
class WatchfulDriver(Protocol):
    """What a network driver may have besides: it notices when others take away what it made in the kernel.

    The core then has it make its networks again.
    """

    def watch(self) -> int:
        """Begin to look; answers a file descriptor that is readable when there may be something."""

    def is_disturbed(self) -> bool:
        """Read what there is to read, and say whether something is missing that this driver made."""

    def unwatch(self) -> None:
        """Look no more, and close the descriptor. It is no error if nobody looks."""


@runtime_checkable
class DirectDriver(Protocol):
    """A network driver whose containers are on the wire under addresses of their own.

    So no ports of the host lead to them: `publish` is not called. Their interfaces are seen in their sandboxes only,
    of which the driver is told again after a restart of the daemon.
    """

    def adopt(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """An endpoint that was attached by an earlier daemon is in this sandbox."""


@runtime_checkable
class HeedfulDriver(Protocol):
    """A network driver that can leave it to the host's own firewall who reaches published ports from outside.

    With the setting `published-ports = "host-firewall"` no other driver is taken, but a `DirectDriver`.
    """

    def heed_host_firewall(self) -> None:
        """From now on only what the host's firewall lets in to a port of the host reaches the container that has it.

        Called before any network is made. Raises `Unsupported` if that can't be done here.
        """


@runtime_checkable
class FilteringDriver(Protocol):
    """A network driver that filters packets, and says by which of the kernel's means."""

    @property
    def firewall(self) -> str:
        """`nftables` or `iptables`, as `docker info` shows it."""


@dataclass(frozen=True)
class NetworkSettings:
    """What a network driver is made with: its state directory and the instance's short name.

    `instance` (at most 8 of `[a-z0-9]`) sets the names of kernel objects apart, so that several daemons of one
    host never meet.
    """

    state_dir: Path
    instance: str


NetworkFactory: TypeAlias = Callable[[NetworkSettings], NetworkDriver]
"""Makes a network driver. Does not touch the host before `create_network`."""
