"""Mounts of volumes that have options or another driver: made for the first user, removed with the last.

They are visible in the whole host, so that all concurrent users of a volume see the same content. What a killed
daemon leaves mounted keeps serving the running containers; the next daemon counts these as users and unmounts the
rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from sampan.daemon.volumes.volume_options import mount_volume, needs_mount
from sampan.daemon.volumes.volumes import LOCAL_DRIVER, VolumeRecord, Volumes
from sampan.errdefs import SampanError, SystemFailure
from sampan.models import MountPoint
from sampan.syscalls.mount import MNT_DETACH, UMOUNT_NOFOLLOW, mounts_below, umount2

_log = logging.getLogger(__name__)


class VolumeMounts:
    """Who uses which of these volumes. To be used from the event loop only."""

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes
        self._users: dict[str, set[str]] = defaultdict(set)
        self._changing: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def use(self, user: str, points: Iterable[MountPoint]) -> None:
        """Mount the volumes among `points` for `user`, all or none. Raises `SystemFailure`."""
        try:
            for name in self._mounted_kind(points):
                async with self._changing[name]:
                    if not self._users[name]:
                        await asyncio.to_thread(self._mount, name)
                    self._users[name].add(user)
        except SampanError:
            await self.release(user)
            raise

    async def release(self, user: str) -> None:
        """End all use by `user`, if there was any. Failures to unmount are only logged."""
        for name in [name for name, users in self._users.items() if user in users]:
            async with self._changing[name]:
                self._users[name].discard(user)
                await self._unmount_unused(name)

    @asynccontextmanager
    async def lent(self, user: str, points: Iterable[MountPoint]) -> AsyncIterator[None]:
        """In this context, the volumes are mounted."""
        await self.use(user, points)
        try:
            yield
        finally:
            await self.release(user)

    def adopt(self, user: str, points: Iterable[MountPoint]) -> None:
        """After a restart of the daemon: record that a running container uses its volumes."""
        for name in self._mounted_kind(points):
            self._users[name].add(user)

    async def settle(self) -> None:
        """After all running containers are adopted: unmount what nobody uses."""
        for record in self._volumes:
            if _is_mounted(record):
                async with self._changing[record.name]:
                    await self._unmount_unused(record.name)

    def _mounted_kind(self, points: Iterable[MountPoint]) -> list[str]:
        names = [point.name for point in points if point.type == "volume" and point.name]
        found = [record for name in names if (record := self._volumes.find(name))]
        return [record.name for record in found if _is_mounted(record)]

    def _mount(self, name: str) -> None:
        options, path = self._volumes.get(name).options, self._volumes.path(name)
        if driver := self._volumes.driver(name):
            driver.mount(name, options)
        elif not mounts_below(path):
            mount_volume(path, options)

    async def _unmount_unused(self, name: str) -> None:
        if self._users[name]:
            return
        del self._users[name]
        try:
            await asyncio.to_thread(self._unmount, name)
        except SampanError as error:
            _log.error("%s", error)

    def _unmount(self, name: str) -> None:
        if driver := self._volumes.driver(name):
            driver.unmount(name)
        else:
            _unmount(self._volumes.path(name))


def _is_mounted(record: VolumeRecord) -> bool:
    return record.driver != LOCAL_DRIVER or needs_mount(record.options)


def _unmount(path: Path) -> None:
    for place in reversed(mounts_below(path)):
        try:
            umount2(place, MNT_DETACH | UMOUNT_NOFOLLOW)
        except OSError as error:
            raise SystemFailure(f"{place} can't be unmounted: {error.strerror}") from error
