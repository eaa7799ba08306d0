"""The networks of the engine: who is attached to what, with which addresses, ports and names.

What is intended lies in the database, what is so in the drivers and the kernel; `open` brings the two together. All
records are in memory; every change is written through. Nothing of a network outlives a reboot, so these writes
don't wait for the disk, except the networks themselves.
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

    The caller sees to it that two calls for one container do not overlap.
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
        """`drivers` by the name that selects them. `kernel` and `resolv_conf` are for tests that are not root."""
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
        """Whether there is a network `bridge` to join; one that is not to be there may have containers still."""
        return self._has_default_bridge

    @property
    def firewall_backend(self) -> str:
        """The firewall that the driver of network `bridge` programs; empty if it doesn't say."""
        driver = self._networks.drivers.get("bridge")
        return driver.firewall_backend if isinstance(driver, FirewallDriver) else ""

    # --- life

    async def open(self) -> None:
        """Load what is recorded, make the predefined networks, and bring records and kernel together.

        What runs is adopted: its addresses, ports and links. What nobody owns is freed. Raises what the default
        bridge's driver raises; any other network that can't be restored is a line in the log.
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
        """Finish what is under way and let go.

        Containers keep their networks. If there are none, nothing stays in the kernel either: the next `open` makes
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
        """The network of that id, name or unique beginning of an id, in this order.

        Raises `NotFound`, or `InvalidArgument` if several ids begin so.
        """
        return self._networks.get(name_or_id)

    def find(self, name_or_id: str) -> NetworkRecord | None:
        """As `get`, but `None` if there is none. Raises `InvalidArgument`."""
        try:
            return self.get(name_or_id)
        except NotFound:
            return None

    def list(self) -> builtins.list[NetworkRecord]:
        """All networks, by name."""
        return sorted(self._networks, key=lambda network: network.name)

    async def create_network(self, record: NetworkRecord) -> NetworkRecord:
        """Make a network. Families for which no pool is given get one from the default pools.

        Raises `Conflict` if the name is taken, `InvalidArgument` for pools or options that can't be,
        `NotFound` if the driver isn't installed.
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
        """A network namespace for the container: loopback is up, nothing else is there. Mostly one made ahead.

        Not needed for a container that shares the host's network or another container's.
        """
        return await self._sandboxes.acquire(container_id)

    def adopt_sandbox(self, container_id: str, pid: int) -> SandboxRecord:
        """After a restart of the daemon: hold the namespace of a container that runs, by the pid of its init."""
        record = self._sandboxes.adopt(container_id, pid)
        self._joining.adopt(container_id)
        return record

    def sandbox(self, container_id: str) -> SandboxRecord:
        """The container's sandbox. Raises `NotFound`."""
        return self._sandboxes.get(container_id)

    async def release_sandbox(self, container_id: str) -> None:
        """Take the container off all networks and let go of its sandbox; also after a crash, and when it has none.

        The processes in it should be gone. Ports are free on return, addresses as soon as the kernel has taken the
        interfaces away. Raises `SystemFailure` if something could not be undone, having undone the rest.
        """
        self._name_servers.stop(container_id)
        leaving = self.endpoints(container_id)
        try:
            await self._leaving.leave(leaving)
        finally:
            self._sandboxes.release(container_id)
            self._leaving.take_away(leaving)

    def owners(self) -> set[str]:
        """The containers that hold a sandbox or are on a network, so that the daemon can release those it misses."""
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
        """Attach the container's sandbox to a network, with addresses, and lead the host's ports to it. All or none.

        Default routes and ports move here if this network is to carry them rather than the one that does now; see
        `EndpointWish`. For `host` and `none` this only makes the record. Raises `Forbidden` if the container is on
        the network or the address is taken, `InvalidArgument` for an address no container can have, `SystemFailure`
        in Docker's words for a taken port.
        """
        return await self._joining.connect(container_id, network, wish)

    async def disconnect(self, container_id: str, network: NetworkRecord) -> None:
        """Take the container off a network; another one then carries default routes and ports, if this one did.

        Raises `NotFound` if it is not on it.
        """
        endpoint = self._endpoints.find(container_id, network)
        if endpoint is None:
            raise NotFound(f"container {container_id} is not connected to network {network.name}")
        await self._leaving.disconnect(endpoint)

    async def rename(self, container_id: str, name: str) -> None:
        """The container is called otherwise: its endpoints and its neighbours call it so too."""
        await self._endpoints.rename(container_id, name)

    # --- names

    def write_files(self, container_id: str, directory: Path, files: ContainerFiles) -> None:
        """Write the container's `hosts`, `hostname` and `resolv.conf` into `directory`, in place."""
        write_files(directory, files, self._view(self.endpoints(container_id)))

    def change_files(
        self, directory: Path, files: ContainerFiles, before: Sequence[EndpointRecord], container_id: str
    ) -> None:
        """Bring the files of a running container up to date with its networks; what it wrote into them stays."""
        change_files(directory, files, self._view(before), self._view(self.endpoints(container_id)))

    async def serve_names(self, container_id: str, files: ContainerFiles) -> None:
        """Answer the container's questions for names, if it is on a user-defined network and nobody does yet.

        It ends with the sandbox, or with the daemon: after a restart it is to be called again. Raises
        `SystemFailure`.
        """
        await self._name_servers.start(container_id, files)

    def _view(self, endpoints: Sequence[EndpointRecord]) -> NetworkView:
        addresses = tuple(interface.ip for endpoint in endpoints for interface in endpoint.addresses)
        ipv6 = any(address.version == 6 for address in addresses)
        named = any(self._networks.get(endpoint.network_id).user_defined for endpoint in endpoints)
        return NetworkView(addresses, self._host_gateway(), ipv6, NAME_SERVER if named else None)

    def _host_gateway(self) -> IPv4Address | None:
        bridge = self._networks.find(BRIDGE)
        gateways = (pool.gateway for pool in bridge.pools) if bridge else ()
        return next((gateway for gateway in gateways if isinstance(gateway, IPv4Address)), None)
