"""Attaches containers to networks, with addresses, routes and host ports."""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from sampan.drivers import Sandbox, UnderlayDriver
from sampan.errdefs import Conflict, Forbidden, InvalidArgument, Unavailable
from sampan.network import gateway
from sampan.network.carrying import Carrying
from sampan.network.ipam import mac_of
from sampan.network.leaving import Leaving
from sampan.network.plugging import attach_and_publish, for_driver, port_failure, remove_endpoint
from sampan.network.records import PREDEFINED, EndpointRecord, EndpointWish, NetworkRecord
from sampan.network.room import Room
from sampan.tasks import in_thread

IFNAME_OPTION = "com.docker.network.endpoint.ifname"
SYSCTLS_OPTION = "com.docker.network.endpoint.sysctls"
_IFNAME = re.compile(r"(?!\.{1,2}$)[^\s/:%\0]{1,15}")  # as in the kernel's dev_valid_name, which would replace %


class Joining:
    """Creates endpoints. Used from the event loop only.

    The caller makes sure that calls for the same container do not overlap.
    """

    def __init__(self, room: Room, carrying: Carrying, leaving: Leaving) -> None:
        self._room = room
        self._carrying = carrying
        self._leaving = leaving

    async def connect(self, container_id: str, network: NetworkRecord, wish: EndpointWish) -> EndpointRecord:
        """Attach the container's sandbox to a network, all or nothing; see `NetworkController.connect`."""
        self._check(container_id, network, wish)
        endpoint = _new_endpoint(container_id, network, wish)
        before = gateway.carrier(self._room.endpoints.of(container_id))
        async with AsyncExitStack() as undo:
            if not network.builtin:
                endpoint = await self._address(endpoint, network, wish, undo)
                if before is None and gateway.leads_out(endpoint):
                    endpoint = self._reserve_ports(replace(endpoint, carries_gateway=True), network, wish, undo)
            self._room.networks.require_open(network)  # again: from now on, a removal sees the endpoint
            await self._enter(endpoint, undo)
            if not network.builtin:
                endpoint = await self._plug(endpoint, network, wish, undo)
                self._room.endpoints.put(endpoint)
                if before is not None and gateway.is_better(endpoint, before):
                    endpoint = await self._carrying.hand_over(before, endpoint)
            undo.pop_all()
        return endpoint

    def _check(self, container_id: str, network: NetworkRecord, wish: EndpointWish) -> None:
        self._room.networks.require_open(network)
        if self._room.endpoints.find(container_id, network):
            raise Forbidden(f"endpoint with name {wish.container_name} already exists in network {network.name}")
        if network.name in PREDEFINED and (wish.ipv4 or wish.ipv6):
            raise InvalidArgument("user-specified IP address is supported on user-defined networks only")
        if (ifname := wish.options.get(IFNAME_OPTION)) and not _IFNAME.fullmatch(ifname):
            raise InvalidArgument(f"invalid interface name: {ifname!r}")

    def adopt(self, container_id: str) -> None:
        """Tell the drivers that need it which sandbox the container's interfaces are in."""
        for endpoint in self._room.endpoints.of(container_id):
            driver = self._room.find_driver(endpoint)
            if isinstance(driver, UnderlayDriver):
                sandbox = Sandbox(container_id, self._room.sandboxes.fd(container_id))
                driver.adopt(self._room.for_driver(endpoint), sandbox)

    async def _address(
        self, endpoint: EndpointRecord, network: NetworkRecord, wish: EndpointWish, undo: AsyncExitStack
    ) -> EndpointRecord:
        """Choose its interface name, addresses and gateways, and the matching MAC address."""
        endpoint = replace(endpoint, ifname=self._ifname(endpoint.container_id, wish))
        for version, wanted in ((4, wish.ipv4), (6, wish.ipv6)):
            address, leads_to = await self._reserve_address(network, version, wanted)
            if address is None:
                continue
            undo.callback(self._room.endpoints.addresses.release, network.id, address.ip)
            way_out = None if network.internal else leads_to
            if isinstance(address, IPv4Interface) and not isinstance(way_out, IPv6Address):
                endpoint = replace(endpoint, ipv4=address, gateway_v4=way_out)
            elif isinstance(address, IPv6Interface) and not isinstance(way_out, IPv4Address):
                endpoint = replace(endpoint, ipv6=address, gateway_v6=way_out)
        return replace(endpoint, mac=wish.mac or (mac_of(endpoint.ipv4.ip) if endpoint.ipv4 else ""))

    def _ifname(self, container_id: str, wish: EndpointWish) -> str:
        if asked := wish.options.get(IFNAME_OPTION):
            return asked
        taken = {end.ifname for end in self._room.endpoints.of(container_id)}
        return next(name for index in range(len(taken) + 1) if (name := f"eth{index}") not in taken)

    async def _reserve_address(
        self, network: NetworkRecord, version: int, wanted: IPv4Address | IPv6Address | None
    ) -> tuple[IPv4Interface | IPv6Interface | None, IPv4Address | IPv6Address | None]:
        """The address, and the gateway of its subnet."""
        try:
            return self._room.endpoints.addresses.reserve_any(network, version, wanted)
        except (Forbidden, Unavailable):
            if not self._leaving.is_under_way(network.id):
                raise
        await self._leaving.settle(network.id)  # an address is free only once the interface that had it is gone
        return self._room.endpoints.addresses.reserve_any(network, version, wanted)

    def _reserve_ports(
        self, endpoint: EndpointRecord, network: NetworkRecord, wish: EndpointWish, undo: AsyncExitStack
    ) -> EndpointRecord:
        if not self._room.takes_ports(endpoint):
            return endpoint
        versions = {address.version for address in endpoint.addresses}
        try:
            ports = self._room.ports.reserve_on(network.options, wish.ports, versions=versions)
        except Conflict as error:
            raise port_failure(endpoint, error) from error
        undo.callback(self._room.ports.release, ports)
        return replace(endpoint, ports=ports)

    async def _enter(self, endpoint: EndpointRecord, undo: AsyncExitStack) -> None:
        self._room.endpoints.put(endpoint)
        undo.callback(self._room.endpoints.drop, endpoint)
        await self._room.endpoints.insert(endpoint)
        undo.push_async_callback(self._room.endpoints.forget, endpoint)

    async def _plug(
        self, endpoint: EndpointRecord, network: NetworkRecord, wish: EndpointWish, undo: AsyncExitStack
    ) -> EndpointRecord:
        driver = self._room.networks.driver(network.driver)
        sandbox = Sandbox(endpoint.container_id, self._room.sandboxes.fd(endpoint.container_id))
        wanted = for_driver(endpoint, network)
        undo.push_async_callback(asyncio.to_thread, remove_endpoint, driver, wanted)
        try:
            made = await in_thread(attach_and_publish, driver, wanted, sandbox, endpoint.ports)
        except Conflict as error:
            raise port_failure(endpoint, error) from error
        if wish.link_local:
            add_addresses = self._room.sandboxes.kernel.add_addresses
            await asyncio.to_thread(add_addresses, sandbox.netns_fd, made.ifname, wish.link_local)
        if sysctls := endpoint.options.get(SYSCTLS_OPTION):
            set_sysctls = self._room.sandboxes.kernel.set_sysctls
            await asyncio.to_thread(set_sysctls, sandbox.netns_fd, made.ifname, sysctls.split(","))
        return replace(endpoint, mac=made.mac, ifname=made.ifname)


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
