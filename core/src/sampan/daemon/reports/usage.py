"""system_df: what takes up disk space. The figures add up to what du(1) finds in the data root.

Rules: moby daemon/disk_usage.go. Unlike in Docker, images' blobs and containers' logs are counted too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.daemon.images import image
from sampan.daemon.reports import listing
from sampan.daemon.volumes import volume
from sampan.daemon.volumes.volumes import LOCAL_DRIVER
from sampan.engine import Job
from sampan.errdefs import InvalidArgument
from sampan.models import (
    BuildCacheDiskUsage,
    ContainerDiskUsage,
    DiskUsage,
    ImageDiskUsage,
    ListContainers,
    LogDiskUsage,
    LogUsage,
    SystemDiskUsage,
    VolumeDiskUsage,
    VolumeUsage,
)
from sampan.models.base import Model
from sampan.storage.usage import disk_usage

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)
_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's block size is (stat(3type))


async def system_df(daemon: Daemon, job: Job[SystemDiskUsage]) -> DiskUsage:
    """The space taken by each kind of object, and how much of it could be reclaimed."""
    asked = job.request.types or list(_KINDS)
    if unknown := [one for one in asked if one not in _KINDS]:
        raise InvalidArgument(f"unknown object type: {unknown[0]}")
    answer = DiskUsage()
    for field, count in (_KINDS[name] for name in asked):
        setattr(answer, field, await count(daemon))
    return answer


async def volume_bytes(daemon: Daemon, name: str) -> int:
    """The disk space of a volume in bytes."""
    return await asyncio.to_thread(_tree_bytes, daemon.volumes.path(name))


async def _images(daemon: Daemon) -> ImageDiskUsage:
    items = [image.summary(daemon, one, shared_size=True) for one in daemon.images.list()]
    return ImageDiskUsage(
        active_count=sum(one.containers > 0 for one in items),
        reclaimable=sum(one.size - one.shared_size for one in items if not one.containers),
        total_count=len(items),
        total_size=await daemon.images.disk_bytes(),
        items=items,
    )


async def _containers(daemon: Daemon) -> ContainerDiskUsage:
    items = await listing.summaries(daemon, ListContainers(all=True, size=True))
    found = [daemon.containers.find(one.id) for one in items]  # one may be removed by now
    active = [one is not None and one.active for one in found]
    return ContainerDiskUsage(
        active_count=sum(active),
        reclaimable=sum(one.size_rw or 0 for one, is_active in zip(items, active, strict=True) if not is_active),
        total_count=len(items),
        total_size=sum(one.size_rw or 0 for one in items),
        items=items,
    )


async def _volumes(daemon: Daemon) -> VolumeDiskUsage:
    items = [volume.described(daemon, one) for one in daemon.volumes if one.driver == LOCAL_DRIVER]
    for one in items:
        size, users = await volume_bytes(daemon, one.name), len(daemon.volume_users(one.name))
        one.usage_data = VolumeUsage(size=size, ref_count=users)
    usages = [one.usage_data for one in items if one.usage_data]
    return VolumeDiskUsage(
        active_count=sum(usage.ref_count > 0 for usage in usages),
        reclaimable=sum(usage.size for usage in usages if not usage.ref_count),
        total_count=len(items),
        total_size=sum(usage.size for usage in usages),
        items=items,
    )


async def _build_cache(_: Daemon) -> BuildCacheDiskUsage:
    return BuildCacheDiskUsage(items=[])


async def _logs(daemon: Daemon) -> LogDiskUsage:
    containers = list(daemon.containers)
    items = [await asyncio.to_thread(_log_usage, one) for one in containers]
    return LogDiskUsage(
        active_count=sum(one.active for one in containers),
        reclaimable=sum(item.size for one, item in zip(containers, items, strict=True) if not one.active),
        total_count=len(items),
        total_size=sum(item.size for item in items),
        items=items,
    )


def _log_usage(container: Container) -> LogUsage:
    """Everything in the container's directory: its log, including rotated files."""
    return LogUsage(id=container.id, name=container.record.name, size=_tree_bytes(container.dir))


def _tree_bytes(root: Path) -> int:
    """The disk space of a directory's content in bytes; 0 if it has vanished."""
    try:
        return disk_usage(root).size_bytes - root.stat().st_blocks * _BLOCK_BYTES
    except FileNotFoundError:
        return 0
    except OSError as error:  # for example a volume on another machine
        _log.warning("the disk usage of %s is not known: %s", root, error)
        return 0


_KINDS: dict[str, tuple[str, Callable[[Daemon], Awaitable[Model]]]] = {
    "container": ("container_usage", _containers),
    "image": ("image_usage", _images),
    "volume": ("volume_usage", _volumes),
    "build-cache": ("build_cache_usage", _build_cache),
    "log": ("log_usage", _logs),
}
