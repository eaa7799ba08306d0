"""Detaches containers from networks. Interfaces go last, in the background; until then their addresses stay taken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from sampan.drivers import NetworkDriver
from sampan.errdefs import SampanError, SystemFailure
from sampan.network import gateway
from sampan.network.carrying import Carrying
from sampan.network.plugging import try_step
from sampan.network.records import EndpointRecord
from sampan.network.room import Room

_log = logging.getLogger(__name__)


class Leaving:
    """Removes endpoints, and knows which interfaces are still being removed. Used from the event loop only."""

    def __init__(self, room: Room, carrying: Carrying) -> None:
        self._room = room
        self._carrying = carrying
        self._tasks: dict[str, set[asyncio.Task[None]]] = {}

    async def disconnect(self, endpoint: EndpointRecord) -> None:
        """Detach a container from one network; another of its networks takes over what this one carried."""
        others = [other for other in self._room.endpoints.of(endpoint.container_id) if other.id != endpoint.id]
        if endpoint.carries_gateway and (successor := gateway.best(others)):
            await self._carrying.hand_over(endpoint, successor)
        leaving = [self._room.endpoints.get(endpoint.id)]
        try:
            await self.leave(leaving)
        finally:
            self.take_away(leaving)
        await self.settle(endpoint.network_id)

    async def leave(self, leaving: Sequence[EndpointRecord]) -> None:
        """Unpublish and forget endpoints; addresses stay taken. Every step is tried before failures are raised."""
        failures: list[str] = []
        for endpoint in leaving:
            driver = self._room.find_driver(endpoint)
            if driver is not None and endpoint.ports:
                failures += await asyncio.to_thread(try_step, driver.unpublish, self._room.for_driver(endpoint))
            self._room.ports.release(endpoint.ports)
            self._room.endpoints.drop(endpoint)
        await self._room.endpoints.delete(leaving)
        if failures:
            raise SystemFailure("; ".join(failures))

    def take_away(self, leaving: Sequence[EndpointRecord]) -> None:
        """Start to remove interfaces in the background, as it takes the kernel some 20 ms each.

        If the namespace is gone, the kernel has removed them by itself.
        """
        for endpoint in leaving:
            task = asyncio.create_task(self._detach(self._room.find_driver(endpoint), endpoint))
            tasks = self._tasks.setdefault(endpoint.network_id, set())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    def is_under_way(self, network_id: str) -> bool:
        """Whether interfaces are being removed from this network."""
        return bool(self._tasks.get(network_id))

    async def settle(self, *network_ids: str) -> None:
        """Wait until no interfaces are being removed from these networks; without arguments, from any."""
        ids = network_ids or tuple(self._tasks)
        if tasks := [task for id in ids for task in self._tasks.get(id, ())]:
            await asyncio.wait(tasks)  # unlike gather, it does not cancel them if the caller is cancelled

    async def _detach(self, driver: NetworkDriver | None, endpoint: EndpointRecord) -> None:
        failures: list[str] = []
        if driver is not None:
            failures += await asyncio.to_thread(try_step, driver.detach, self._room.for_driver(endpoint))
        try:
            await self._room.endpoints.forget_addresses(endpoint)
        except SampanError as error:  # the next start forgets them
            failures.append(str(error))
        for failure in failures:
            _log.error("endpoint %s of network %s: %s", endpoint.id[:12], endpoint.network_name, failure)
