"""Restores what other programs remove from networks while the daemon runs."""

from __future__ import annotations

import asyncio
import logging

from sampan.drivers import DriftDetectionDriver
from sampan.errdefs import SampanError
from sampan.network.networks import Networks

_log = logging.getLogger(__name__)


class Guard:
    """Lets drivers that detect such changes create their networks again. Used from the event loop only."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._watched: dict[str, tuple[DriftDetectionDriver, int]] = {}
        self._repairs: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start watching, with each driver that supports it.

        Drivers that can't watch on this host are only logged.
        """
        for name, driver in self._networks.drivers.items():
            if not isinstance(driver, DriftDetectionDriver):
                continue
            try:
                self._watched[name] = driver, await asyncio.to_thread(driver.watch)
            except SampanError as error:
                _log.warning("network driver %s: %s", name, error)
                continue
            self._look(name)

    async def close(self) -> None:
        """Stop watching; repairs in progress are completed."""
        watched, self._watched = self._watched, {}
        for _, fd in watched.values():
            asyncio.get_running_loop().remove_reader(fd)
        if self._repairs:
            await asyncio.wait(self._repairs)
        for driver, _ in watched.values():
            driver.unwatch()

    def _look(self, name: str) -> None:
        if name in self._watched:
            asyncio.get_running_loop().add_reader(self._watched[name][1], self._on_news, name)

    def _on_news(self, name: str) -> None:
        driver, fd = self._watched[name]
        asyncio.get_running_loop().remove_reader(fd)  # until this event has been handled
        task = asyncio.create_task(self._check(name, driver), name=f"check of the networks of {name}")
        self._repairs.add(task)
        task.add_done_callback(self._repairs.discard)

    async def _check(self, name: str, driver: DriftDetectionDriver) -> None:
        try:
            async with self._networks.changing:
                if await asyncio.to_thread(driver.has_drifted):
                    _log.warning("another program has removed rules of network driver %s: restoring them", name)
                    await self._restore(name)
        finally:
            self._look(name)

    async def _restore(self, name: str) -> None:
        for network in self._networks:
            if network.driver == name:
                await self._networks.put_right(network)
