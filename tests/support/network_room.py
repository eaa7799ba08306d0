"""A network controller over the bridge driver, in a private host namespace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from sampan.drivers import NetworkSettings
from sampan.network.controller import NetworkController
from sampan.state import Database
from sampan.testing.network_suite import host_namespace
from sampan_bridge_net.driver import BridgeDriver


class NetworkRoom:
    """A controller and its dependencies; `make` creates another one, as after a restart."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.driver = BridgeDriver(NetworkSettings(directory, "test"))
        self.database = Database(directory / "state.db")
        self.controller = self.make()

    def make(self) -> NetworkController:
        """A new controller on the same state, not yet opened."""
        return NetworkController({"bridge": self.driver}, self.database)

    async def close(self) -> None:
        """Release everything but what the sandboxes hold."""
        await self.controller.close()
        self.database.close()
        self.driver.unwatch()
        del self.controller, self.driver  # frees its nftables connection, though pytest may keep the room


RoomT = TypeVar("RoomT", bound=NetworkRoom)


@asynccontextmanager
async def opened(make: Callable[[Path], RoomT], directory: Path) -> AsyncIterator[RoomT]:
    """A `NetworkRoom` in a private host namespace, open for the duration of the context."""
    with host_namespace():
        room = make(directory)
        await room.controller.open()
        yield room
        await room.close()
