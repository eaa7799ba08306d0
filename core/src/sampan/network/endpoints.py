"""The endpoints: putting containers on networks, with addresses, routes and host ports, and taking them off."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from sampan.drivers import DirectDriver, Endpoint, NetworkDriver, Sandbox
from sampan.errdefs import Conflict, Forbidden, InvalidArgument, SampanError, SystemFailure, Unavailable
from sampan.network import gateway, store
from sampan.network.dns.names import Names
from sampan.network.ipam import Addresses, mac_of
from sampan.network.networks import Networks
from sampan.network.plugging import (
    attach_and_publish,
    for_driver,
    port_failure,
    remove_endpoint,
    to_the_end,
    try_step,
)
from sampan.network.ports import HostPorts
from sampan.network.records import PREDEFINED, EndpointRecord, EndpointWish, NetworkRecord
from sampan.network.sandbox import Sandboxes
from sampan.state import Database

_log = logging.getLogger(__name__)

IFNAME_OPTION = "com.docker.network.endpoint.ifname"
SYSCTLS_OPTION = "com.docker.network.endpoint.sysctls"
_IFNAME = re.compile(r"(?!\.{1,2}$)[^\s/:%\0]{1,15}")  # as the kernel's dev_valid_name; % would number it


class Endpoints:
    """All endpoints, in memory and in the database. Used from the event loop only.

    The caller sees to it that two calls for one container do not overlap.
    """

    def __init__(
        self, database: Database, networks: Networks, sandboxes: Sandboxes, ports: HostPorts, names: Names
    ) -> None:
        self._database = database
        self._networks = networks
        self._sandboxes = sandboxes
        self._ports = ports
        self._names = names
        self._by_id: dict[str, EndpointRecord] = {}
        self._of: dict[str, tuple[EndpointRecord, ...]] = {}
        self._addresses = Addresses()
        self._leaving: dict[str, set[asyncio.Task[None]]] = {}

    def load(self) -> None:
        """Read all endpoints from the database."""
        for endpoint in self._database.read(store.select_endpoints):
            self._put(endpoint)
            for address in endpoint.addresses:
                self._addresses.take(endpoint.network_id, address.ip)

    def all(self) -> tuple[EndpointRecord, ...]:
        """Every endpoint."""
        return tuple(self._by_id.values())

    def of(self, container_id: str) -> tuple[EndpointRecord, ...]:
        """A container's endpoints, the one with the default routes first, then by interface."""
        return self._of.get(container_id, ())

    def on(self, network: NetworkRecord) -> tuple[EndpointRecord, ...]:
        """The endpoints of a network."""
        return tuple(endpoint for endpoint in self.all() if endpoint.network_id == network.id)

    def find(self, container_id: str, network: NetworkRecord) -> EndpointRecord | None:
        """The container's endpoint on a network."""
        return next((one for one in self.of(container_id) if one.network_id == network.id), None)

    def _put(self, endpoint: EndpointRecord) -> None:
        self._by_id[endpoint.id] = endpoint
        self._sort(endpoint)
        if endpoint.network_name not in PREDEFINED:
            self._names.put(endpoint)

    def _drop(self, endpoint: EndpointRecord) -> None:
        self._by_id.pop(endpoint.id, None)
        self._sort(endpoint)
        self._names.drop(endpoint)

    def _sort(self, changed: EndpointRecord) -> None:
        """A container's endpoints are asked for with each query for a name, so they are kept in order."""
        others = [one for one in self.of(changed.container_id) if one.id != changed.id]
        present = [self._by_id[changed.id]] if changed.id in self._by_id else []
        found = sorted((*others, *present), key=lambda endpoint: (not endpoint.carries_gateway, endpoint.ifname))
        self._of.pop(changed.container_id, None)
        if found:
            self._of[changed.container_id] = tuple(found)

    # --- onto a network

    async def connect(self, container_id: str, network: NetworkRecord, wish: EndpointWish) -> EndpointRecord:
        """Attach the container's sandbox to a network. All or none; see `NetworkController.connect`."""
        self._check(container_id, network, wish)
        endpoint = _new_endpoint(container_id, network, wish)
        before = gateway.carrier(self.of(container_id))
        async with AsyncExitStack() as undo:
            if not network.builtin:
                endpoint = await self._address(endpoint, network, wish, undo)
                if before is None and gateway.leads_out(endpoint):
                    endpoint = self._reserve_ports(replace(endpoint, carries_gateway=True), network, wish, undo)
            await self._enter(endpoint, undo)
            if not network.builtin:
                endpoint = await self._plug(endpoint, network, undo)
                self._put(endpoint)
                if before is not None and gateway.is_better(endpoint, before):
                    endpoint = await self.hand_over(before, endpoint)
            undo.pop_all()
        return endpoint

    def _check(self, container_id: str, network: NetworkRecord, wish: EndpointWish) -> None:
        if self.find(container_id, network):
            raise Forbidden(f"endpoint with name {wish.container_name} already exists in network {network.name}")
        if network.name in PREDEFINED and (wish.ipv4 or wish.ipv6):
            raise InvalidArgument("user-specified IP address is supported on user-defined networks only")
        if (ifname := wish.options.get(IFNAME_OPTION)) and not _IFNAME.fullmatch(ifname):
            raise InvalidArgument(f"invalid interface name: {ifname!r}")

    async def _address(
        self, endpoint: EndpointRecord, network: NetworkRecord, wish: EndpointWish, undo: AsyncExitStack
    ) -> EndpointRecord:
        """Give it an interface name, addresses and gateways, and the MAC address that goes with them."""
        endpoint = replace(endpoint, ifname=self._ifname(endpoint.container_id, wish))
        for version, wanted in ((4, wish.ipv4), (6, wish.ipv6)):
            address, leads_to = await self._reserve_address(network, version, wanted)
            if address is None:
                continue
            undo.callback(self._addresses.release, network.id, address.ip)
            way_out = None if network.internal else leads_to
            if isinstance(address, IPv4Interface) and not isinstance(way_out, IPv6Address):
                endpoint = replace(endpoint, ipv4=address, gateway_v4=way_out)
            elif isinstance(address, IPv6Interface) and not isinstance(way_out, IPv4Address):
                endpoint = replace(endpoint, ipv6=address, gateway_v6=way_out)
        return replace(endpoint, mac=wish.mac or (mac_of(endpoint.ipv4.ip) if endpoint.ipv4 else ""))

    def _ifname(self, container_id: str, wish: EndpointWish) -> str:
        if asked := wish.options.get(IFNAME_OPTION):
            return asked
        taken = {end.ifname for end in self.of(container_id)}
        return next(name for index in range(len(taken) + 1) if (name := f"eth{index}") not in taken)

    async def _reserve_address(
        self, network: NetworkRecord, version: int, wanted: IPv4Address | IPv6Address | None
    ) -> tuple[IPv4Interface | IPv6Interface | None, IPv4Address | IPv6Address | None]:
        """The address, and the gateway of its subnet."""
        try:
            return self._addresses.reserve_any(network, version, wanted)
        except (Forbidden, Unavailable):
            if not self._leaving.get(network.id):
                raise
        await self.settle(network.id)  # an address is free only once its last interface is gone
        return self._addresses.reserve_any(network, version, wanted)

    def _reserve_ports(
        self, endpoint: EndpointRecord, network: NetworkRecord, wish: EndpointWish, undo: AsyncExitStack
    ) -> EndpointRecord:
        if isinstance(self._networks.driver(network.driver), DirectDriver):
            return endpoint
        versions = {address.version for address in endpoint.addresses}
        try:
            ports = self._ports.reserve_on(network.options, wish.ports, versions=versions)
        except Conflict as error:
            raise port_failure(endpoint, error) from error
        undo.callback(self._ports.release, ports)
        return replace(endpoint, ports=ports)

    async def _enter(self, endpoint: EndpointRecord, undo: AsyncExitStack) -> None:
        self._put(endpoint)
        undo.callback(self._drop, endpoint)
        await self._database.write(lambda db: store.insert_endpoint(db, endpoint), durable=False)
        undo.push_async_callback(self.forget, endpoint)

    async def _plug(self, endpoint: EndpointRecord, network: NetworkRecord, undo: AsyncExitStack) -> EndpointRecord:
        driver = self._networks.driver(network.driver)
        sandbox = Sandbox(endpoint.container_id, self._sandboxes.fd(endpoint.container_id))
        wanted = for_driver(endpoint, network)
        undo.push_async_callback(asyncio.to_thread, remove_endpoint, driver, wanted)
        try:
            made = await to_the_end(asyncio.to_thread(attach_and_publish, driver, wanted, sandbox, endpoint.ports))
        except Conflict as error:
            raise port_failure(endpoint, error) from error
        if sysctls := endpoint.options.get(SYSCTLS_OPTION):
            set_sysctls = self._sandboxes.kernel.set_sysctls
            await asyncio.to_thread(set_sysctls, sandbox.netns_fd, made.ifname, sysctls.split(","))
        return replace(endpoint, mac=made.mac, ifname=made.ifname)

    # --- default routes and ports from one endpoint to another

    async def hand_over(self, old: EndpointRecord, new: EndpointRecord) -> EndpointRecord:
        """Have `new` carry the default routes and the ports instead of `old`; answers it as it is then."""
        is_direct = isinstance(self._networks.driver(self._networks.get(new.network_id).driver), DirectDriver)
        versions = set() if is_direct else {address.version for address in new.addresses}
        ports = tuple(port for port in old.ports if port.host_ip.version in versions)
        successor = replace(new, carries_gateway=True, ports=ports)
        predecessor = replace(old, carries_gateway=False, ports=())
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._carry, old)
            await self._call(lambda driver, endpoint: driver.unpublish(endpoint), old)
            undo.push_async_callback(self._call, lambda driver, endpoint: driver.unpublish(endpoint), successor)
            await self._carry(successor)
            both = (predecessor, successor)
            await self._database.write(lambda db: store.update_endpoints(db, both), durable=False)
            undo.pop_all()
        self._ports.release(set(old.ports) - set(ports))
        for endpoint in both:
            self._put(endpoint)
        return successor

    async def _carry(self, endpoint: EndpointRecord) -> None:
        fd = self._sandboxes.fd(endpoint.container_id)
        await asyncio.to_thread(self._sandboxes.kernel.set_default_routes, fd, endpoint)
        if endpoint.ports:
            await self._call(lambda driver, wanted: driver.publish(wanted, endpoint.ports), endpoint)

    async def _call(self, work: Callable[[NetworkDriver, Endpoint], None], endpoint: EndpointRecord) -> None:
        network = self._networks.get(endpoint.network_id)
        await asyncio.to_thread(work, self._networks.driver(network.driver), for_driver(endpoint, network))

    def adopt(self, container_id: str) -> None:
        """Tell the drivers that need it in which sandbox the container's interfaces are."""
        for endpoint in self.of(container_id):
            driver = self._find_driver(endpoint)
            if isinstance(driver, DirectDriver):
                driver.adopt(self._for_driver(endpoint), Sandbox(container_id, self._sandboxes.fd(container_id)))

    # --- off a network

    async def disconnect(self, endpoint: EndpointRecord) -> None:
        """Take a container off one network; another of its networks then carries what this one did."""
        others = [other for other in self.of(endpoint.container_id) if other.id != endpoint.id]
        if endpoint.carries_gateway and (successor := gateway.best(others)):
            await self.hand_over(endpoint, successor)
        leaving = [self._by_id[endpoint.id]]
        try:
            await self.leave(leaving)
        finally:
            self.take_away(leaving)
        await self.settle(endpoint.network_id)

    async def leave(self, leaving: Sequence[EndpointRecord]) -> None:
        """Unpublish and forget endpoints; addresses stay taken. Every step is tried, then the failures raised."""
        failures: list[str] = []
        for endpoint in leaving:
            driver = self._find_driver(endpoint)
            if driver is not None and endpoint.ports:
                failures += await asyncio.to_thread(try_step, driver.unpublish, self._for_driver(endpoint))
            self._ports.release(endpoint.ports)
            self._drop(endpoint)
        if leaving:
            await self._database.write(lambda db: store.delete_endpoints(db, leaving), durable=False)
        if failures:
            raise SystemFailure("; ".join(failures))

    def take_away(self, leaving: Sequence[EndpointRecord]) -> None:
        """Begin to take interfaces away. It costs the kernel some 20 ms each, so nobody waits; where the namespace is
        gone, the kernel does it by itself."""
        for endpoint in leaving:
            task = asyncio.create_task(self._detach(self._find_driver(endpoint), endpoint))
            tasks = self._leaving.setdefault(endpoint.network_id, set())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def settle(self, *network_ids: str) -> None:
        """Wait until nothing is being taken off these networks any more; without any, off all."""
        ids = network_ids or tuple(self._leaving)
        if tasks := [task for id in ids for task in self._leaving.get(id, ())]:
            await asyncio.wait(tasks)  # unlike gather, it leaves them alone when the waiting one is cancelled

    async def forget(self, endpoint: EndpointRecord) -> None:
        """Drop an endpoint that has no interface any more, with its addresses."""
        self._drop(endpoint)
        await self._database.write(lambda db: store.delete_endpoints(db, [endpoint]), durable=False)
        await self._forget_addresses(endpoint)

    def forget_network(self, network_id: str) -> None:
        """Drop the addresses of a network that is gone."""
        self._addresses.forget(network_id)

    async def rename(self, container_id: str, name: str) -> None:
        """The container is called otherwise; its other names stay."""
        renamed = [_renamed(endpoint, name) for endpoint in self.of(container_id)]
        await self._database.write(lambda db: store.update_endpoints(db, renamed), durable=False)
        for endpoint in renamed:
            self._put(endpoint)

    async def _detach(self, driver: NetworkDriver | None, endpoint: EndpointRecord) -> None:
        failures: list[str] = []
        if driver is not None:
            failures += await asyncio.to_thread(try_step, driver.detach, self._for_driver(endpoint))
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

    def _find_driver(self, endpoint: EndpointRecord) -> NetworkDriver | None:
        return self._networks.find_driver(self._networks.get(endpoint.network_id))

    def _for_driver(self, endpoint: EndpointRecord) -> Endpoint:
        return for_driver(endpoint, self._networks.get(endpoint.network_id))


def _new_endpoint(container_id: str, network: NetworkRecord, wish: EndpointWish) -> EndpointRecord:
    return EndpointRecord(
        secrets.token_hex(32),
        network.id,
        network.name,
        container_id,
        wish.container_name,
        names=wish.names,
        links=wish.links,
        gateway_priority=wish.gateway_priority,
        options=wish.options,
    )


def _renamed(endpoint: EndpointRecord, name: str) -> EndpointRecord:
    others = [one for one in endpoint.names if one != endpoint.container_name]
    return replace(endpoint, container_name=name, names=tuple(dict.fromkeys((name, *others))))
