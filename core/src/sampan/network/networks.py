"""The networks: their records, and their creation and removal by drivers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface

from sampan.drivers import Network, NetworkDriver
from sampan.errdefs import Conflict, Forbidden, InvalidArgument, NotFound, SampanError
from sampan.network import store
from sampan.network.ipam import DEFAULT_POOLS, PoolRange, choose_subnet, local_ipv6_subnet, overlap, pool_of
from sampan.network.ports import ANY_V4, HOST_BINDING
from sampan.network.records import BRIDGE, HOST, HOST_DRIVER, NONE, NULL_DRIVER, AddressPool, NetworkRecord
from sampan.state import Database

_log = logging.getLogger(__name__)

# Docker's values for its default bridge; its clients look for some of them
DEFAULT_BRIDGE_OPTIONS: Mapping[str, str] = {
    "com.docker.network.bridge.default_bridge": "true",
    "com.docker.network.bridge.enable_icc": "true",
    "com.docker.network.bridge.enable_ip_masquerade": "true",
    "com.docker.network.driver.mtu": "1500",
}


@dataclass(frozen=True)
class NetworkDefaults:
    """Settings for the predefined networks and pools.

    `has_bridge`: there is a network `bridge`. `bip` is its address and subnet; `binding` is the host address for
    published ports if neither the publisher nor the network's options specify one.
    """

    pools: Sequence[PoolRange] = DEFAULT_POOLS
    bip: IPv4Interface | None = None
    binding: IPv4Address = ANY_V4
    has_bridge: bool = True
    warm_sandboxes: int = 4


class Networks:
    """All networks, in memory and in the database. Used from the event loop only; changes are made one at a time."""

    def __init__(self, drivers: Mapping[str, NetworkDriver], database: Database, defaults: NetworkDefaults) -> None:
        self._drivers = dict(drivers)
        self._database = database
        self._defaults = defaults
        self._by_id: dict[str, NetworkRecord] = {}
        self._closed: set[str] = set()
        self.changing = asyncio.Lock()

    def load(self) -> None:
        """Read all networks from the database."""
        for record in self._database.read(store.select_networks):
            self._by_id[record.id] = record

    def __iter__(self) -> Iterator[NetworkRecord]:
        return iter(list(self._by_id.values()))

    def __contains__(self, id: str) -> bool:
        return id in self._by_id

    def get(self, name_or_id: str) -> NetworkRecord:
        """The network with this ID, name or unique prefix of an ID, in this order.

        Raises `NotFound`, or `InvalidArgument` if several IDs have the prefix.
        """
        if network := self._by_id.get(name_or_id) or self.named(name_or_id):
            return network
        found = [network for id, network in self._by_id.items() if name_or_id and id.startswith(name_or_id)]
        if len(found) > 1:
            raise InvalidArgument(
                f"network {name_or_id} is ambiguous ({len(found)} matches found based on ID prefix)"
            )
        if not found:
            raise NotFound(f"network {name_or_id} not found")
        return found[0]

    def named(self, name: str) -> NetworkRecord | None:
        """The network with exactly that name."""
        return next((network for network in self._by_id.values() if network.name == name), None)

    def driver(self, name: str) -> NetworkDriver:
        """The driver of that name. Raises `NotFound` with Docker's message."""
        try:
            return self._drivers[name]
        except KeyError:
            raise NotFound(f'could not find plugin {name} in v1 plugin registry: plugin "{name}" not found') from None

    def find_driver(self, network: NetworkRecord) -> NetworkDriver | None:
        """The driver of a network, if it is installed."""
        return self._drivers.get(network.driver)

    @property
    def drivers(self) -> Mapping[str, NetworkDriver]:
        """All drivers, by name."""
        return self._drivers

    async def create(self, record: NetworkRecord) -> NetworkRecord:
        """Create a network. IP versions for which it has no pool get one from the default pools.

        Raises `Conflict` if the name is taken, `InvalidArgument` for invalid pools or options, `NotFound` if the
        driver is not installed.
        """
        async with self.changing:
            if self.named(record.name):
                raise Conflict(f"network with name {record.name} already exists")
            record = replace(record, pools=await self._complete_pools(record))
            async with AsyncExitStack() as undo:
                await self._database.write(lambda db: store.insert_network(db, record))
                undo.push_async_callback(self._database.write, lambda db: store.delete_network(db, record.id))
                if not record.builtin:
                    await asyncio.to_thread(_make_network, self.driver(record.driver), record.for_driver())
                undo.pop_all()
            self._by_id[record.id] = record
        return record

    @contextmanager
    def closed(self, network: NetworkRecord) -> Iterator[None]:
        """In this context, nobody can join the network."""
        self._closed.add(network.id)
        try:
            yield
        finally:
            self._closed.discard(network.id)

    def require_open(self, network: NetworkRecord) -> None:
        """Raise `NotFound` for a network that is removed, or about to be."""
        if network.id not in self._by_id or network.id in self._closed:
            raise NotFound(f"network {network.name} not found")

    async def remove(self, network: NetworkRecord) -> None:
        """Remove a network without endpoints; the caller holds `changing`."""
        if not network.builtin:
            await asyncio.to_thread(self.driver(network.driver).remove_network, network.for_driver())
        await self._database.write(lambda db: store.delete_network(db, network.id))
        self._by_id.pop(network.id, None)

    async def restore(self, network: NetworkRecord) -> None:
        """Restore what is missing of a network in the kernel. Failures are only logged."""
        if not network.builtin and network.name != BRIDGE:
            await self.put_right(network)

    async def put_right(self, network: NetworkRecord) -> None:
        """Let the driver create what is missing of a network. Failures are only logged."""
        try:
            await asyncio.to_thread(self.driver(network.driver).create_network, network.for_driver())
        except SampanError as error:
            _log.error("network %s can't be restored: %s", network.name, error)

    async def take_down(self) -> None:
        """Remove everything of the networks from the kernel; `open` creates them again."""
        for network in self:
            driver = self.find_driver(network)
            if driver is not None and not network.builtin:
                await asyncio.to_thread(try_logged, driver.remove_network, network.for_driver())

    async def make_predefined(self, is_used: Callable[[NetworkRecord], bool]) -> None:
        """Create `host`, `none` and, depending on the settings, `bridge`.

        A `bridge` in use stays as it is, but can't be joined if there should be none.
        """
        for name, driver in ((HOST, HOST_DRIVER), (NONE, NULL_DRIVER)):
            if self.named(name) is None:
                await self.create(NetworkRecord.new(name, driver))
        bridge = self.named(BRIDGE)
        if bridge is not None and not is_used(bridge) and not self._agrees_with_settings(bridge):
            await self._forget_bridge(bridge)
            bridge = None
        if bridge is not None:
            await asyncio.to_thread(self.driver(bridge.driver).create_network, bridge.for_driver())
        elif self._defaults.has_bridge:
            bridge = await self.create(self._new_bridge())
        else:
            return
        # always according to the current settings, even if it is in use and stays as it is
        options = {**bridge.options, HOST_BINDING: str(self._defaults.binding)}
        self._by_id[bridge.id] = replace(bridge, options=options)
        if not self._defaults.has_bridge:
            self._closed.add(bridge.id)

    def _new_bridge(self) -> NetworkRecord:
        bip = self._defaults.bip
        pools = (pool_of(bip.network, bip.ip),) if bip else ()
        return NetworkRecord.new(BRIDGE, BRIDGE, pools=pools, options=DEFAULT_BRIDGE_OPTIONS)

    def _agrees_with_settings(self, bridge: NetworkRecord) -> bool:
        bip = self._defaults.bip
        if not self._defaults.has_bridge:
            return False
        return bip is None or any(pool.subnet == bip.network and pool.gateway == bip.ip for pool in bridge.pools)

    async def _forget_bridge(self, bridge: NetworkRecord) -> None:
        if (driver := self.find_driver(bridge)) is not None:
            await asyncio.to_thread(driver.remove_network, bridge.for_driver())
        await self._database.write(lambda db: store.delete_network(db, bridge.id))
        self._by_id.pop(bridge.id)

    async def _complete_pools(self, record: NetworkRecord) -> tuple[AddressPool, ...]:
        if record.builtin:
            return record.pools
        used = [pool.subnet for network in self if not network.config_only for pool in network.pools]
        for pool in record.pools:
            if any(overlap(pool.subnet, subnet) for subnet in used):
                raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")
            used.append(pool.subnet)
        pools = list(record.pools)
        versions = {pool.subnet.version for pool in pools}
        if record.ipv4 and 4 not in versions:
            driver = self.driver(record.driver)
            used += await asyncio.to_thread(lambda: list(driver.networks_on_host()))
            pools.append(pool_of(choose_subnet(self._defaults.pools, used)))
        if record.ipv6 and 6 not in versions:
            pools.append(pool_of(local_ipv6_subnet(record.id)))
        return tuple(sorted(pools, key=lambda pool: pool.subnet.version))


def try_logged(step: Callable[[Network], None], network: Network) -> None:
    """Do one step of a teardown; failures are only logged."""
    try:
        step(network)
    except SampanError as error:
        _log.error("left over: %s", error)


def _make_network(driver: NetworkDriver, network: Network) -> None:
    driver.validate(network)
    driver.create_network(network)
