"""Moves default routes and host ports from one of a container's endpoints to another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

from sampan.drivers import Endpoint, NetworkDriver
from sampan.network.records import EndpointRecord
from sampan.network.room import Room


class Carrying:
    """Moves what one endpoint of a container carries to another. Used from the event loop only."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def hand_over(self, old: EndpointRecord, new: EndpointRecord) -> EndpointRecord:
        """Move the default routes and the ports from `old` to `new`; returns `new` in its resulting state."""
        versions = {address.version for address in new.addresses} if self._room.takes_ports(new) else set()
        ports = tuple(port for port in old.ports if port.host_ip.version in versions)
        successor = replace(new, carries_gateway=True, ports=ports)
        predecessor = replace(old, carries_gateway=False, ports=())
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._carry, old)
            await self._call(lambda driver, endpoint: driver.unpublish(endpoint), old)
            undo.push_async_callback(self._call, lambda driver, endpoint: driver.unpublish(endpoint), successor)
            await self._carry(successor)
            await self._room.endpoints.update(predecessor, successor)
            undo.pop_all()
        self._room.ports.release(set(old.ports) - set(ports))
        return successor

    async def _carry(self, endpoint: EndpointRecord) -> None:
        sandboxes = self._room.sandboxes
        fd = sandboxes.fd(endpoint.container_id)
        await asyncio.to_thread(sandboxes.kernel.set_default_routes, fd, endpoint)
        if endpoint.ports:
            await self._call(lambda driver, wanted: driver.publish(wanted, endpoint.ports), endpoint)

    async def _call(self, work: Callable[[NetworkDriver, Endpoint], None], endpoint: EndpointRecord) -> None:
        await asyncio.to_thread(work, self._room.driver(endpoint), self._room.for_driver(endpoint))
