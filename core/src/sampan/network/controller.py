"""The networks of the engine: who is attached to what, with which addresses, ports and names.

The database has the intended state, the drivers and the kernel have the actual one; `open` reconciles the two. All
records are in memory; every change is written through. Attachments don't outlive a reboot, so writes don't wait for
the disk, except those of the networks themselves.
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path

from sampan.drivers import FirewallDriver, NetworkDriver, UnderlayDriver
from sampan.errdefs import Forbidden, NotFound
from sampan.network import reconcile, store
from sampan.network.carrying import Carrying
from sampan.network.dns.names import Names
from sampan.network.endpoints import Endpoints
from sampan.network.files import HOST_RESOLV_CONF, ContainerFiles, NetworkView, change_files, write_files
from sampan.network.guard import Guard
from sampan.network.joining import Joining
from sampan.network.kernel import NAME_SERVER, SandboxKernel
from sampan.network.leaving import Leaving
from sampan.network.name_servers import NameServers
from sampan.network.networks import NetworkDefaults, Networks
from sampan.network.ports import HostPorts
from sampan.network.records import (
    BRIDGE,
    PREDEFINED,
    EndpointRecord,
    EndpointWish,
    NetworkRecord,
    SandboxRecord,
)
from sampan.network.room import Room
from sampan.network.sandbox import Sandboxes
from sampan.state import Database

__all__ = ["NetworkController", "NetworkDefaults"]

_log = logging.getLogger(__name__)
_NO_WISH = EndpointWish()


class NetworkController:
    """All networks, endpoints and sandboxes. Its methods are called from the event loop.

    The caller makes sure that calls for the same container do not overlap.
    """

    def __init__(
        self,
        drivers: Mapping[str, NetworkDriver],
        database: Database,
        *,
        defaults: NetworkDefaults | None = None,
        kernel: SandboxKernel | None = None,
        resolv_conf: Path = HOST_RESOLV_CONF,
    ) -> None:
        """`drivers` are by the name that selects them. `kernel` and `resolv_conf` are for tests without root."""
        defaults = defaults or NetworkDefaults()
        self._has_default_bridge = defaults.has_bridge
        self._database = database
        self._networks = Networks(drivers, database, defaults)
        self._sandboxes = Sandboxes(kernel or SandboxKernel(), warm=defaults.warm_sandboxes)
        self._ports = HostPorts(defaults.binding)
        self._guard = Guard(self._networks)
        names = Names()
        self._endpoints = Endpoints(database, names)
        room = Room(self._networks, self._endpoints, self._sandboxes, self._ports)
        carrying = Carrying(room)
        self._leaving = Leaving(room, carrying)
        self._joining = Joining(room, carrying, self._leaving)
        self._name_servers = NameServers(self._endpoints, self._sandboxes, names, resolv_conf)

    @property
    def has_default_bridge(self) -> bool:
        """Whether there is a network `bridge` to join; one that has been disabled may still have containers."""
        return self._has_default_bridge

    @property
    def firewall_backend(self) -> str:
        """The firewall that the driver of the network `bridge` uses; empty if it does not say."""
        driver = self._networks.drivers.get("bridge")
        return driver.firewall_backend if isinstance(driver, FirewallDriver) else ""

    # --- life

    async def open(self) -> None:
        """Load the records, create the predefined networks, and reconcile records and kernel.

        Running containers are adopted with their addresses, ports and links; what has no owner is freed. Raises what
        the default bridge's driver raises; failures to restore other networks are only logged.
        """
        for problem in await self._database.write(store.delete_unreadable):
            _log.error("%s", problem)
        self._networks.load()
        self._endpoints.load()
        for name, driver in self._networks.drivers.items():
            await reconcile.remove_strays(driver, self._networks, self._endpoints)
            await reconcile.forget_ended(name, self._networks, self._endpoints)
        for network in self._networks:
            await self._networks.restore(network)
        await self._networks.make_predefined(lambda network: bool(self._endpoints.on(network)))
        for name in self._networks.drivers:
            await reconcile.adopt_endpoints(name, self._networks, self._endpoints, self._ports)
        await self._database.write(store.delete_ownerless_addresses, durable=False)
        self._sandboxes.start()
        await self._guard.start()

    async def close(self) -> None:
        """Complete operations in progress and release everything.

        Containers keep their networks. If there are none, nothing stays in the kernel either: the next `open` creates
        the networks again.
        """
        await self._guard.close()
        await self._leaving.settle()
        if not self._endpoints.all():
            await self._networks.take_down()
        self._name_servers.close()
        await self._sandboxes.close()
        self._ports.close()

    # --- networks

    def get(self, name_or_id: str) -> NetworkRecord:
        """The network with this ID, name or unique prefix of an ID, in this order.

        Raises `NotFound`, or `InvalidArgument` if several IDs have the prefix.
        """
        return self._networks.get(name_or_id)

    def find(self, name_or_id: str) -> NetworkRecord | None:
        """As `get`, but `None` if there is none. Raises `InvalidArgument`."""
        try:
            return self.get(name_or_id)
        except NotFound:
            return None

    def named(self, name: str) -> NetworkRecord | None:
        """The network with exactly that name."""
        return self._networks.named(name)

    def list(self) -> builtins.list[NetworkRecord]:
        """All networks, by name."""
        return sorted(self._networks, key=lambda network: network.name)

    async def create_network(self, record: NetworkRecord) -> NetworkRecord:
        """Create a network. IP versions for which no pool is given get one from the default pools.

        Raises `Conflict` if the name is taken, `InvalidArgument` for invalid pools or options, `NotFound` if the
        driver is not installed.
        """
        return await self._networks.create(record)

    def is_underlay(self, network: NetworkRecord) -> bool:
        """Whether the network's containers are connected to the underlay directly."""
        return isinstance(self._networks.find_driver(network), UnderlayDriver)

    async def remove_network(self, network: NetworkRecord) -> None:
        """Remove a network. Raises `Forbidden` if it is predefined, or in use by containers or as a configuration."""
        if network.name in PREDEFINED:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        async with self._networks.changing:
            self._networks.get(network.id)
            if attached := self._endpoints.on(network):
                names = ", ".join(f'name:"{end.container_name}" id:"{end.id[:12]}"' for end in attached)
                raise Forbidden(
                    f"error while removing network: network {network.name} has active endpoints ({names})"
                )
            if any(other.config_from == network.name for other in self._networks):
                raise Forbidden(f'error while removing network: configuration network "{network.name}" is in use')
            with self._networks.closed(network):
                await self._leaving.settle(network.id)
                await self._networks.remove(network)
            self._endpoints.addresses.forget(network.id)

    # --- sandboxes

    async def acquire_sandbox(self, container_id: str) -> SandboxRecord:
        """A network namespace for the container, with loopback up and nothing else, usually created in advance.

        Not needed for a container that shares the host's network or another container's.
        """
        return await self._sandboxes.acquire(container_id)

    def adopt_sandbox(self, container_id: str, pid: int) -> SandboxRecord:
        """After a restart of the daemon: hold the namespace of a running container, found by the pid of its init."""
        record = self._sandboxes.adopt(container_id, pid)
        self._joining.adopt(container_id)
        return record

    def sandbox(self, container_id: str) -> SandboxRecord:
        """The container's sandbox. Raises `NotFound`."""
        return self._sandboxes.get(container_id)

    async def release_sandbox(self, container_id: str) -> None:
        """Detach the container from all networks and release its sandbox, even after a crash or if it has none.

        The processes in it should be gone. On return, ports are free; addresses are free once the kernel has removed
        the interfaces. Raises `SystemFailure` if a step failed, after trying all others.
        """
        self._name_servers.stop(container_id)
        leaving = self.endpoints(container_id)
        try:
            await self._leaving.leave(leaving)
        finally:
            self._sandboxes.release(container_id)
            self._leaving.take_away(leaving)

    def owners(self) -> set[str]:
        """The containers that hold a sandbox or are on a network, so that the daemon can release unknown ones."""
        return self._sandboxes.owners() | {endpoint.container_id for endpoint in self._endpoints.all()}

    # --- endpoints

    def endpoints(self, container_id: str) -> tuple[EndpointRecord, ...]:
        """The container's endpoints, the one with the default routes first, then by interface."""
        return self._endpoints.of(container_id)

    def endpoints_of(self, network: NetworkRecord) -> tuple[EndpointRecord, ...]:
        """The endpoints of a network."""
        return self._endpoints.on(network)

    async def connect(
        self, container_id: str, network: NetworkRecord, wish: EndpointWish = _NO_WISH
    ) -> EndpointRecord:
        """Attach the container's sandbox to a network, with addresses, and publish its host ports; all or nothing.

        Default routes and ports move here if this network should carry them rather than the current one; see
        `EndpointWish`. For `host` and `none`, only the record is created. Raises `Forbidden` if the container is
        already on the network or the address is taken, `InvalidArgument` for an address that no container can have,
        `SystemFailure` with Docker's message for a port that is taken.
        """
        return await self._joining.connect(container_id, network, wish)

    async def disconnect(self, container_id: str, network: NetworkRecord) -> None:
        """Detach the container from a network; if this one carried default routes and ports, another one takes over.

        Raises `NotFound` if the container is not on the network.
        """
        endpoint = self._endpoints.find(container_id, network)
        if endpoint is None:
            raise NotFound(f"container {container_id} is not connected to network {network.name}")
        await self._leaving.disconnect(endpoint)

    async def rename(self, container_id: str, name: str) -> None:
        """Give the container a new name, which also applies to its endpoints and for its neighbours."""
        await self._endpoints.rename(container_id, name)

    # --- names

    def write_files(self, container_id: str, directory: Path, files: ContainerFiles) -> None:
        """Write the container's `hosts`, `hostname` and `resolv.conf` into `directory`, in place."""
        write_files(directory, files, self._view(self.endpoints(container_id)))

    def change_files(
        self, directory: Path, files: ContainerFiles, before: Sequence[EndpointRecord], container_id: str
    ) -> None:
        """Update a running container's files for its current networks; what it wrote into them stays."""
        change_files(directory, files, self._view(before), self._view(self.endpoints(container_id)))

    async def serve_names(self, container_id: str, files: ContainerFiles) -> None:
        """Serve the container's DNS queries, if it is on a user-defined network and is not served yet.

        This ends with the sandbox or with the daemon, so it must be called again after a restart. Raises
        `SystemFailure`.
        """
        await self._name_servers.start(container_id, files)

    def _view(self, endpoints: Sequence[EndpointRecord]) -> NetworkView:
        addresses = tuple(interface.ip for endpoint in endpoints for interface in endpoint.addresses)
        ipv6 = any(address.version == 6 for address in addresses)
        named = any(self._networks.get(endpoint.network_id).user_defined for endpoint in endpoints)
        return NetworkView(addresses, self._host_gateway(), ipv6, NAME_SERVER if named else None)

    def _host_gateway(self) -> IPv4Address | None:
        bridge = self._networks.named(BRIDGE)
        gateways = (pool.gateway for pool in bridge.pools) if bridge else ()
        return next((gateway for gateway in gateways if isinstance(gateway, IPv4Address)), None)
