"""The network room over the bridge driver, on a host of its own."""

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
    """A controller with what it needs; `make` makes one more, as after a restart."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.driver = BridgeDriver(NetworkSettings(directory, "test"))
        self.database = Database(directory / "state.db")
        self.controller = self.make()

    def make(self) -> NetworkController:
        """A controller on the same state, not opened."""
        return NetworkController({"bridge": self.driver}, self.database)

    async def close(self) -> None:
        """Let go of everything; what the sandboxes hold stays."""
        await self.controller.close()
        self.database.close()
        self.driver.unwatch()
        del self.controller, self.driver  # and with it its connection to nftables, though pytest may keep the room


RoomT = TypeVar("RoomT", bound=NetworkRoom)


@asynccontextmanager
async def opened(make: Callable[[Path], RoomT], directory: Path) -> AsyncIterator[RoomT]:
    """A room in a host namespace of its own, open as long as the context lasts."""
    with host_namespace():
        room = make(directory)
        await room.controller.open()
        yield room
        await room.close()
