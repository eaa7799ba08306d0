"""The networks of the engine: who is attached to what, with which addresses and ports.

What is intended lies in the database, what is so in the drivers and the kernel; `open` brings the two together. All
records are in memory; every change is written through. Nothing of a network outlives a reboot, so these writes
don't wait for the disk, except the networks themselves.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import TypeVar

from sampan.drivers import Attachment, Endpoint, Network, NetworkDriver, PublishedPort, Sandbox
from sampan.errdefs import Conflict, Forbidden, InvalidArgument, NotFound, SampanError, SystemFailure, Unavailable
from sampan.network import store
from sampan.network.files import ContainerFiles, NetworkView, write_files
from sampan.network.ipam import (
    DEFAULT_POOLS,
    Addresses,
    PoolRange,
    choose_subnet,
    local_ipv6_subnet,
    mac_of,
    overlap,
    pool_of,
)
from sampan.network.ports import HostPorts
from sampan.network.records import (
    HOST_DRIVER,
    NULL_DRIVER,
    AddressPool,
    EndpointRecord,
    NetworkRecord,
    PortBinding,
    SandboxRecord,
)
from sampan.network.sandbox import Sandboxes, make_sandbox
from sampan.state import Database

_log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")

BRIDGE, HOST, NONE = "bridge", "host", "none"
PREDEFINED = frozenset({BRIDGE, HOST, NONE})

# what Docker says of its default bridge; its clients look for some of these
DEFAULT_BRIDGE_OPTIONS: Mapping[str, str] = {
    "com.docker.network.bridge.default_bridge": "true",
    "com.docker.network.bridge.enable_icc": "true",
    "com.docker.network.bridge.enable_ip_masquerade": "true",
    "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",  # noqa: S104
    "com.docker.network.driver.mtu": "1500",
}


@dataclass(frozen=True)
class NetworkDefaults:
    """How the predefined networks and pools are made. `bridge_driver` `None` means: no network `bridge`, as with
    `--bridge none`. `bip` is the default bridge's own address and subnet."""

    pools: Sequence[PoolRange] = DEFAULT_POOLS
    bip: IPv4Interface | None = None
    bridge_driver: str | None = BRIDGE
    warm_sandboxes: int = 4


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
        make_namespace: Callable[[], int] = make_sandbox,
    ) -> None:
        """`drivers` by the name that selects them. `make_namespace` is for tests that are not root."""
        self._drivers = dict(drivers)
        self._database = database
        self._defaults = defaults or NetworkDefaults()
        self._networks: dict[str, NetworkRecord] = {}
        self._endpoints: dict[str, EndpointRecord] = {}
        self._addresses = Addresses()
        self._ports = HostPorts()
        self._sandboxes = Sandboxes(warm=self._defaults.warm_sandboxes, make=make_namespace)
        self._making = asyncio.Lock()
        self._leaving: dict[str, set[asyncio.Task[None]]] = {}

    # --- life

    async def open(self) -> None:
        """Load what is recorded, make the predefined networks, and bring records and kernel together.

        What runs is adopted: its addresses, ports and links. What nobody owns is freed. Raises what the default
        bridge's driver raises; any other network that can't be restored is a line in the log.
        """
        for problem in await self._database.write(store.delete_unreadable):
            _log.error("%s", problem)
        self._load()
        for driver in self._drivers.values():
            await self._remove_strays(driver)
        for network in list(self._networks.values()):
            await self._restore_network(network)
        await self._make_predefined()
        for name, driver in self._drivers.items():
            await self._reconcile(name, driver)
        await self._database.write(store.delete_ownerless_addresses, durable=False)
        self._sandboxes.start()

    async def close(self) -> None:
        """Finish what is under way and let go.

        Containers keep their networks. If there are none, nothing stays in the kernel either: the next `open` makes
        the networks again.
        """
        await self._settle(*self._leaving)
        if not self._endpoints:
            await self._take_down()
        await self._sandboxes.close()
        self._ports.close()

    async def _take_down(self) -> None:
        for network in self._networks.values():
            driver = self._drivers.get(network.driver)
            if driver is not None and not network.builtin:
                await asyncio.to_thread(_try_logged, driver.remove_network, network.for_driver())

    # --- networks

    def get(self, name_or_id: str) -> NetworkRecord:
        """The network of that id, name or unique beginning of an id, in this order.

        Raises `NotFound`, or `InvalidArgument` if several ids begin so.
        """
        if network := self._networks.get(name_or_id):
            return network
        for network in self._networks.values():
            if network.name == name_or_id:
                return network
        found = [network for id, network in self._networks.items() if name_or_id and id.startswith(name_or_id)]
        if len(found) > 1:
            raise InvalidArgument(
                f"network {name_or_id} is ambiguous ({len(found)} matches found based on ID prefix)"
            )
        if not found:
            raise NotFound(f"network {name_or_id} not found")
        return found[0]

    def list(self) -> list[NetworkRecord]:
        """All networks, by name."""
        return sorted(self._networks.values(), key=lambda network: network.name)

    async def create_network(
        self,
        name: str,
        driver: str,
        *,
        pools: Sequence[AddressPool] = (),
        ipv6: bool = False,
        internal: bool = False,
        attachable: bool = False,
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> NetworkRecord:
        """Make a network. Families for which no pool is given get one from the default pools.

        Raises `Conflict` if the name is taken, `InvalidArgument` for pools or options that can't be,
        `NotFound` if the driver isn't installed.
        """
        async with self._making:
            if any(network.name == name for network in self._networks.values()):
                raise Conflict(f"network with name {name} already exists")
            record = NetworkRecord(
                secrets.token_hex(32), name, driver, time.time_ns(), tuple(pools), internal, attachable, ipv6,
                options or {}, labels or {},
            )  # fmt: skip
            record = replace(record, pools=await self._complete_pools(record))
            async with AsyncExitStack() as undo:
                await self._database.write(lambda db: store.insert_network(db, record))
                undo.push_async_callback(self._database.write, lambda db: store.delete_network(db, record.id))
                if not record.builtin:
                    made = self._driver(driver)
                    await asyncio.to_thread(_make_network, made, record.for_driver())
                undo.pop_all()
            self._networks[record.id] = record
        return record

    async def remove_network(self, network: NetworkRecord) -> None:
        """Remove a network. Raises `Forbidden` if it is predefined or in use."""
        if network.name in PREDEFINED:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        async with self._making:
            if attached := self.endpoints_of(network):
                names = ", ".join(f'name:"{end.container_name}" id:"{end.id[:12]}"' for end in attached)
                raise Forbidden(
                    f"error while removing network: network {network.name} has active endpoints ({names})"
                )
            await self._settle(network.id)
            await asyncio.to_thread(self._driver(network.driver).remove_network, network.for_driver())
            await self._database.write(lambda db: store.delete_network(db, network.id))
            self._networks.pop(network.id, None)
            self._addresses.forget(network.id)

    # --- sandboxes

    async def acquire_sandbox(self, container_id: str) -> SandboxRecord:
        """A network namespace for the container: loopback is up, nothing else is there. Mostly one made ahead.

        Not needed for a container that shares the host's network or another container's.
        """
        return await self._sandboxes.acquire(container_id)

    def adopt_sandbox(self, container_id: str, pid: int) -> SandboxRecord:
        """After a restart of the daemon: hold the namespace of a container that runs, by the pid of its init."""
        return self._sandboxes.adopt(container_id, pid)

    def sandbox(self, container_id: str) -> SandboxRecord:
        """The container's sandbox. Raises `NotFound`."""
        return self._sandboxes.get(container_id)

    async def release_sandbox(self, container_id: str) -> None:
        """Take the container off all networks and let go of its sandbox; also after a crash, and when it has none.

        The processes in it should be gone. Ports are free on return, addresses as soon as the kernel has taken the
        interfaces away. Raises `SystemFailure` if something could not be undone, having undone the rest.
        """
        leaving = self.endpoints(container_id)
        try:
            await self._leave(leaving)
        finally:
            self._sandboxes.release(container_id)
            self._take_away(leaving)

    def owners(self) -> set[str]:
        """The containers that hold a sandbox or are on a network, so that the daemon can release those it misses."""
        return self._sandboxes.owners() | {endpoint.container_id for endpoint in self._endpoints.values()}

    # --- endpoints

    def endpoints(self, container_id: str) -> tuple[EndpointRecord, ...]:
        """The container's endpoints, the one with the default routes first, then by interface."""
        found = [one for one in tuple(self._endpoints.values()) if one.container_id == container_id]
        return tuple(sorted(found, key=lambda endpoint: (not endpoint.carries_gateway, endpoint.ifname)))

    def endpoints_of(self, network: NetworkRecord) -> tuple[EndpointRecord, ...]:
        """The endpoints of a network."""
        return tuple(endpoint for endpoint in self._endpoints.values() if endpoint.network_id == network.id)

    async def connect(
        self,
        container_id: str,
        network: NetworkRecord,
        *,
        container_name: str = "",
        aliases: Sequence[str] = (),
        ipv4: IPv4Address | None = None,
        ipv6: IPv6Address | None = None,
        mac: str | None = None,
        ports: Sequence[PortBinding] = (),
    ) -> EndpointRecord:
        """Attach the container's sandbox to a network, with addresses, and lead the host's ports to it. All or none.

        The first network that is not internal carries the sandbox's default routes. For `host` and `none` this only
        makes the record. Raises `Forbidden` if the container is on the network or the address is taken,
        `InvalidArgument` for an address no container can have, `SystemFailure` in Docker's words for a taken port.
        """
        if any(endpoint.network_id == network.id for endpoint in self.endpoints(container_id)):
            raise Forbidden(f"endpoint with name {container_name} already exists in network {network.name}")
        if network.name in PREDEFINED and (ipv4 or ipv6):
            raise InvalidArgument("user-specified IP address is supported on user-defined networks only")
        endpoint = EndpointRecord(
            secrets.token_hex(32), network.id, network.name, container_id, container_name, aliases=tuple(aliases)
        )
        async with AsyncExitStack() as undo:
            if not network.builtin:
                endpoint = await self._address(endpoint, network, ipv4, ipv6, undo)
                endpoint = replace(endpoint, mac=mac or (mac_of(endpoint.ipv4.ip) if endpoint.ipv4 else ""))
                endpoint = self._reserve_ports(endpoint, ports, undo)
            self._endpoints[endpoint.id] = endpoint
            undo.callback(self._endpoints.pop, endpoint.id, None)
            await self._database.write(lambda db: store.insert_endpoint(db, endpoint), durable=False)
            undo.push_async_callback(self._forget_endpoint, endpoint)
            if not network.builtin:
                endpoint = await self._plug(endpoint, network, undo)
                self._endpoints[endpoint.id] = endpoint
            undo.pop_all()
        return endpoint

    async def disconnect(self, container_id: str, network: NetworkRecord) -> None:
        """Take the container off a network. Raises `NotFound` if it is not on it."""
        leaving = [endpoint for endpoint in self.endpoints(container_id) if endpoint.network_id == network.id]
        if not leaving:
            raise NotFound(f"container {container_id} is not connected to network {network.name}")
        try:
            await self._leave(leaving)
        finally:
            self._take_away(leaving)
        await self._settle(network.id)

    async def rename(self, container_id: str, name: str) -> None:
        """Call the container's endpoints by its new name."""
        renamed = [replace(endpoint, container_name=name) for endpoint in self.endpoints(container_id)]
        await self._database.write(lambda db: store.update_endpoints(db, renamed), durable=False)
        self._endpoints.update({endpoint.id: endpoint for endpoint in renamed})

    def write_files(self, container_id: str, directory: Path, files: ContainerFiles) -> None:
        """Write the container's `hosts`, `hostname` and `resolv.conf` into `directory`, in place."""
        addresses = tuple(
            interface.ip for endpoint in self.endpoints(container_id) for interface in endpoint.addresses
        )
        ipv6 = any(address.version == 6 for address in addresses)
        write_files(directory, files, NetworkView(addresses, self._host_gateway(), ipv6))

    # --- the way of `connect`

    async def _address(
        self,
        endpoint: EndpointRecord,
        network: NetworkRecord,
        ipv4: IPv4Address | None,
        ipv6: IPv6Address | None,
        undo: AsyncExitStack,
    ) -> EndpointRecord:
        taken = {end.ifname for end in self.endpoints(endpoint.container_id)}
        ifname = next(name for index in range(len(taken) + 1) if (name := f"eth{index}") not in taken)
        carries = not network.internal and not any(
            other.carries_gateway for other in self.endpoints(endpoint.container_id)
        )
        endpoint = replace(endpoint, ifname=ifname, carries_gateway=carries)
        for pool in network.pools:
            wanted = ipv4 if pool.subnet.version == 4 else ipv6
            address = await self._reserve_address(network, pool, wanted)
            undo.callback(self._addresses.release, network.id, address.ip)
            if isinstance(address, IPv4Interface) and isinstance(pool.gateway, IPv4Address):
                endpoint = replace(endpoint, ipv4=address, gateway_v4=None if network.internal else pool.gateway)
            elif isinstance(address, IPv6Interface) and isinstance(pool.gateway, IPv6Address):
                endpoint = replace(endpoint, ipv6=address, gateway_v6=None if network.internal else pool.gateway)
        return endpoint

    async def _reserve_address(
        self, network: NetworkRecord, pool: AddressPool, wanted: IPv4Address | IPv6Address | None
    ) -> IPv4Interface | IPv6Interface:
        try:
            return self._addresses.reserve(network, pool, wanted)
        except (Forbidden, Unavailable):
            if not self._leaving.get(network.id):
                raise
        await self._settle(network.id)  # an address is free only once its last interface is gone
        return self._addresses.reserve(network, pool, wanted)

    def _reserve_ports(
        self, endpoint: EndpointRecord, bindings: Sequence[PortBinding], undo: AsyncExitStack
    ) -> EndpointRecord:
        try:
            ports = self._ports.reserve(bindings, ipv4=endpoint.ipv4 is not None, ipv6=endpoint.ipv6 is not None)
        except Conflict as error:
            raise _port_failure(endpoint, error) from error
        undo.callback(self._ports.release, ports)
        return replace(endpoint, ports=ports)

    async def _plug(self, endpoint: EndpointRecord, network: NetworkRecord, undo: AsyncExitStack) -> EndpointRecord:
        driver = self._driver(network.driver)
        sandbox = Sandbox(endpoint.container_id, self._sandboxes.fd(endpoint.container_id))
        wanted = _for_driver(endpoint, network)
        undo.push_async_callback(asyncio.to_thread, _remove_endpoint, driver, wanted)
        try:
            made = await _to_the_end(asyncio.to_thread(_attach_and_publish, driver, wanted, sandbox, endpoint.ports))
        except Conflict as error:
            raise _port_failure(endpoint, error) from error
        return replace(endpoint, mac=made.mac, ifname=made.ifname)

    # --- the way of `disconnect` and `release_sandbox`

    async def _leave(self, leaving: Sequence[EndpointRecord]) -> None:
        """Unpublish and forget endpoints; addresses stay taken. Every step is tried, then the failures raised."""
        failures: list[str] = []
        for endpoint in leaving:
            driver = self._driver_of(endpoint)
            if driver is not None and endpoint.ports:
                failures += await asyncio.to_thread(_try, driver.unpublish, self._endpoint_for_driver(endpoint))
            self._ports.release(endpoint.ports)
            self._endpoints.pop(endpoint.id, None)
        if leaving:
            await self._database.write(lambda db: store.delete_endpoints(db, leaving), durable=False)
        if failures:
            raise SystemFailure("; ".join(failures))

    def _take_away(self, leaving: Sequence[EndpointRecord]) -> None:
        """Begin to take interfaces away. It costs the kernel some 20 ms each, so nobody waits; where the namespace is
        gone, the kernel does it by itself."""
        for endpoint in leaving:
            task = asyncio.create_task(self._detach(self._driver_of(endpoint), endpoint))
            tasks = self._leaving.setdefault(endpoint.network_id, set())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _detach(self, driver: NetworkDriver | None, endpoint: EndpointRecord) -> None:
        failures: list[str] = []
        if driver is not None:
            failures += await asyncio.to_thread(_try, driver.detach, self._endpoint_for_driver(endpoint))
        try:
            await self._forget_addresses(endpoint)
        except SampanError as error:  # the next start forgets them
            failures.append(str(error))
        for failure in failures:
            _log.error("endpoint %s of network %s: %s", endpoint.id[:12], endpoint.network_name, failure)

    async def _forget_addresses(self, endpoint: EndpointRecord) -> None:
        for address in endpoint.addresses:
            self._addresses.release(endpoint.network_id, address.ip)
        await self._database.write(lambda db: store.delete_addresses(db, endpoint), durable=False)

    async def _forget_endpoint(self, endpoint: EndpointRecord) -> None:
        await self._database.write(lambda db: store.delete_endpoints(db, [endpoint]), durable=False)
        await self._forget_addresses(endpoint)

    async def _settle(self, *network_ids: str) -> None:
        """Wait until nothing is being taken off these networks any more."""
        if tasks := [task for id in network_ids for task in self._leaving.get(id, ())]:
            await asyncio.wait(tasks)  # unlike gather, it leaves them alone when the waiting one is cancelled

    # --- the way of `open`

    def _load(self) -> None:
        for record in self._database.read(store.select_networks):
            self._networks[record.id] = record
        for endpoint in self._database.read(store.select_endpoints):
            self._endpoints[endpoint.id] = endpoint
            for address in endpoint.addresses:
                self._addresses.take(endpoint.network_id, address.ip)

    async def _restore_network(self, network: NetworkRecord) -> None:
        if network.builtin or network.name == BRIDGE:
            return
        try:
            await asyncio.to_thread(self._driver(network.driver).create_network, network.for_driver())
        except SampanError as error:
            _log.error("network %s can't be restored: %s", network.name, error)

    async def _make_predefined(self) -> None:
        for name, driver in ((HOST, HOST_DRIVER), (NONE, NULL_DRIVER)):
            if not any(network.name == name for network in self._networks.values()):
                await self.create_network(name, driver)
        bridge = next((network for network in self._networks.values() if network.name == BRIDGE), None)
        if bridge is not None and not self._agrees_with_settings(bridge):
            await self._forget_bridge(bridge)
            bridge = None
        if self._defaults.bridge_driver is None:
            return
        if bridge is None:
            pools = (pool_of(self._defaults.bip.network, self._defaults.bip.ip),) if self._defaults.bip else ()
            await self.create_network(
                BRIDGE, self._defaults.bridge_driver, pools=pools, options=DEFAULT_BRIDGE_OPTIONS
            )
        else:
            await asyncio.to_thread(self._driver(bridge.driver).create_network, bridge.for_driver())

    def _agrees_with_settings(self, bridge: NetworkRecord) -> bool:
        bip = self._defaults.bip
        if self.endpoints_of(bridge):
            return True  # containers run on it; the settings count from the next start without any
        if bridge.driver != self._defaults.bridge_driver:
            return False
        return bip is None or any(pool.subnet == bip.network and pool.gateway == bip.ip for pool in bridge.pools)

    async def _forget_bridge(self, bridge: NetworkRecord) -> None:
        if (driver := self._drivers.get(bridge.driver)) is not None:
            await asyncio.to_thread(driver.remove_network, bridge.for_driver())
        await self._database.write(lambda db: store.delete_network(db, bridge.id))
        self._networks.pop(bridge.id)

    async def _remove_strays(self, driver: NetworkDriver) -> None:
        """What the driver holds and no record knows, as after the data root was removed. It comes first, as a bridge
        of that kind has the name, and its subnet, that the next one is to have."""
        held = await asyncio.to_thread(driver.list)
        for id in held.networks - self._networks.keys():
            _log.info("network %s is nobody's: removed", id[:12])
            await asyncio.to_thread(_try_logged, driver.remove_network, Network(id, id[:12], ()))
        for id in held.endpoints - self._endpoints.keys():
            _log.info("endpoint %s is nobody's: removed", id[:12])
            await asyncio.to_thread(_remove_endpoint, driver, Endpoint(id, Network("", "", ()), "", ()))

    async def _reconcile(self, name: str, driver: NetworkDriver) -> None:
        held = await asyncio.to_thread(driver.list)
        for endpoint in list(self._endpoints.values()):
            network = self._networks[endpoint.network_id]
            if network.driver != name:
                continue
            if endpoint.id in held.endpoints:
                await self._adopt(driver, endpoint, network)
            else:
                _log.info("endpoint %s of container %s ended meanwhile", endpoint.id[:12], endpoint.container_id[:12])
                await asyncio.to_thread(_remove_endpoint, driver, _for_driver(endpoint, network))
                self._endpoints.pop(endpoint.id)
                await self._forget_endpoint(endpoint)

    async def _adopt(self, driver: NetworkDriver, endpoint: EndpointRecord, network: NetworkRecord) -> None:
        self._ports.adopt(endpoint.ports)
        if endpoint.ports:
            try:
                await asyncio.to_thread(driver.publish, _for_driver(endpoint, network), endpoint.ports)
            except SampanError as error:
                _log.error("ports of container %s: %s", endpoint.container_id[:12], error)

    # --- small things

    def _driver(self, name: str) -> NetworkDriver:
        try:
            return self._drivers[name]
        except KeyError:
            raise NotFound(f'could not find plugin {name} in v1 plugin registry: plugin "{name}" not found') from None

    def _driver_of(self, endpoint: EndpointRecord) -> NetworkDriver | None:
        return self._drivers.get(self._networks[endpoint.network_id].driver)

    def _endpoint_for_driver(self, endpoint: EndpointRecord) -> Endpoint:
        return _for_driver(endpoint, self._networks[endpoint.network_id])

    async def _complete_pools(self, record: NetworkRecord) -> tuple[AddressPool, ...]:
        if record.builtin:
            return ()
        used = [pool.subnet for network in self._networks.values() for pool in network.pools]
        for pool in record.pools:
            if any(overlap(pool.subnet, subnet) for subnet in used):
                raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")
        pools = list(record.pools)
        versions = {pool.subnet.version for pool in pools}
        if 4 not in versions:
            used += await asyncio.to_thread(lambda: list(self._driver(record.driver).networks_on_host()))
            pools.append(pool_of(choose_subnet(self._defaults.pools, used)))
        if record.ipv6 and 6 not in versions:
            pools.append(pool_of(local_ipv6_subnet(record.id)))
        return tuple(sorted(pools, key=lambda pool: pool.subnet.version))

    def _host_gateway(self) -> IPv4Address | None:
        bridge = next((network for network in self._networks.values() if network.name == BRIDGE), None)
        gateways = (pool.gateway for pool in bridge.pools) if bridge else ()
        return next((gateway for gateway in gateways if isinstance(gateway, IPv4Address)), None)


def _for_driver(endpoint: EndpointRecord, network: NetworkRecord) -> Endpoint:
    return Endpoint(
        endpoint.id,
        network.for_driver(),
        endpoint.ifname,
        endpoint.addresses,
        endpoint.mac or None,
        endpoint.gateway_v4 if endpoint.carries_gateway else None,
        endpoint.gateway_v6 if endpoint.carries_gateway else None,
    )


def _make_network(driver: NetworkDriver, network: Network) -> None:
    driver.validate(network)
    driver.create_network(network)


def _attach_and_publish(
    driver: NetworkDriver, endpoint: Endpoint, sandbox: Sandbox, ports: tuple[PublishedPort, ...]
) -> Attachment:
    made = driver.attach(endpoint, sandbox)
    if ports:
        driver.publish(endpoint, ports)
    return made


async def _to_the_end(work: Awaitable[ResultT]) -> ResultT:
    """Await work in a thread. A cancelled caller waits too, so that what it then undoes is not done afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _remove_endpoint(driver: NetworkDriver, endpoint: Endpoint) -> None:
    _try_logged(driver.unpublish, endpoint)
    _try_logged(driver.detach, endpoint)


def _try(step: Callable[[Endpoint], None], endpoint: Endpoint) -> list[str]:
    """Do one step of a teardown; answers what went wrong, so that the further steps are done too."""
    try:
        step(endpoint)
    except SampanError as error:
        return [str(error)]
    return []


def _try_logged(step: Callable[[Endpoint], None] | Callable[[Network], None], thing: Endpoint | Network) -> None:
    try:
        step(thing)  # type: ignore[arg-type]
    except SampanError as error:
        _log.error("left over: %s", error)


def _port_failure(endpoint: EndpointRecord, error: SampanError) -> SystemFailure:
    return SystemFailure(
        "driver failed programming external connectivity on endpoint "
        f"{endpoint.container_name} ({endpoint.id}): {error}"
    )
