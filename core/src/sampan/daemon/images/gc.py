"""Garbage collection by policy: removes images not used for long and, if space is short, those least recently used.

Disabled unless configured. Images that have containers, running or not, or were used a moment ago, are never touched.
Modelled on Kubernetes' kubelet (pkg/kubelet/images/image_gc_manager.go): above the high watermark, images are removed
until the low one is reached, so that it does not run all the time.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sampan.daemon.clock import now_ns
from sampan.daemon.images import image
from sampan.errdefs import Conflict, SampanError
from sampan.images.image import Image

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)
_DAY_NS = 86_400 * 1_000_000_000
_GRACE_NS = 600 * 1_000_000_000  # what has just been pulled is about to be used


@dataclass(frozen=True)
class Watermarks:
    """If usage is above `high`, images are removed until it is at `low`.

    Both are limits for all images together in bytes or, with `is_share`, percentages of the data root's file system.
    """

    high: int
    low: int
    is_share: bool


@dataclass(frozen=True)
class GcPolicy:
    """When images are removed automatically; without watermarks and `unused_days`, never."""

    watermarks: Watermarks | None = None
    unused_days: int | None = None
    interval_s: float = 300

    @property
    def is_on(self) -> bool:
        """Whether there is anything to do."""
        return self.watermarks is not None or self.unused_days is not None


@dataclass(frozen=True)
class DiskState:
    """A file system's used and usable bytes, counted as by df(1)."""

    used_bytes: int
    total_bytes: int


class Disk(Protocol):
    """Tells how full a file system is."""

    def state(self) -> DiskState:
        """The current state."""


class DataRootDisk:
    """The file system that contains a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def state(self) -> DiskState:
        """The current state, from statvfs(3)."""
        found = os.statvfs(self._path)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        return DiskState(used, used + found.f_bavail * found.f_frsize)


class Collector:
    """Periodically removes what the policy says. `clock` returns nanoseconds since the epoch."""

    def __init__(self, daemon: Daemon, policy: GcPolicy, disk: Disk, clock: Callable[[], int] = now_ns) -> None:
        self._daemon = daemon
        self._policy = policy
        self._disk = disk
        self._clock = clock

    async def run(self) -> None:
        """Collect forever, starting after one interval. Failures are logged, and retried the next time."""
        while True:
            await asyncio.sleep(self._policy.interval_s)
            try:
                await self.collect()
            except (SampanError, OSError) as error:
                _log.error("images can't be collected: %s", error)

    async def collect(self) -> None:
        """Remove what is due, log it, and publish a `prune` event in addition to the images' own."""
        try:
            with self._daemon.pruning("images"):
                freed = await self._remove_unused() + await self._make_room()
        except Conflict:  # a prune is in progress, which frees space too
            return
        if freed:
            self._daemon.events.publish("image", "prune", "", {"reclaimed": str(freed), "reason": "gc"})

    async def _remove_unused(self) -> int:
        if self._policy.unused_days is None:
            return 0
        before = self._clock() - self._policy.unused_days * _DAY_NS
        due = [one for one in self._candidates() if self._daemon.images.last_used_ns(one) <= before]
        return sum([await self._remove(one, f"more than {self._policy.unused_days} days") for one in due])

    async def _make_room(self) -> int:
        """Remove images down to the low watermark. Uses recorded sizes, as files are deleted in the background."""
        marks = self._policy.watermarks
        if marks is None:
            return 0
        used, total = await self._used()
        high, low = (
            (total * marks.high // 100, total * marks.low // 100) if marks.is_share else (marks.high, marks.low)
        )
        if used <= high:
            return 0
        freed = 0
        for one in self._candidates():
            if used - freed <= low:
                return freed
            freed += await self._remove(one, f"to make room: {used - freed} bytes are in use, {low} may be")
        if used - freed > low:
            _log.warning("no more images can be removed: %d bytes are in use, %d may be", used - freed, low)
        return freed

    async def _used(self) -> tuple[int, int]:
        if self._policy.watermarks and self._policy.watermarks.is_share:
            state = await asyncio.to_thread(self._disk.state)
            return state.used_bytes, state.total_bytes
        return await self._daemon.images.disk_bytes(), 0

    def _candidates(self) -> list[Image]:
        """The images that may be removed: unnamed ones first, then the least recently used."""
        images = self._daemon.images
        latest = self._clock() - _GRACE_NS
        free = [
            one
            for one in images.list()
            if not self._daemon.image_users(one.id) and images.last_used_ns(one) <= latest
        ]
        return sorted(free, key=lambda one: (bool(one.references), images.last_used_ns(one)))

    async def _remove(self, one: Image, why: str) -> int:
        """Remove an image by all of its names; returns the number of bytes freed."""
        days = (self._clock() - self._daemon.images.last_used_ns(one)) // _DAY_NS
        before = await self._daemon.images.disk_bytes()
        await image.remove_unused(self._daemon, one)
        freed = before - await self._daemon.images.disk_bytes()
        shown = ", ".join(one.references) or one.id
        _log.info("gc: removed image %s, unused for %d days (%s): %d bytes", shown, days, why, freed)
        return freed
