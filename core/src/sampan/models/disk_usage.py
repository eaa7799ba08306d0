"""What takes room on the disk."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sampan.models.base import Int64, Model, Request, omitempty
from sampan.models.container import ContainerSummary
from sampan.models.image import ImageSummary
from sampan.models.volume import Volume


class LogUsage(Model):
    """The log of one container."""

    id: str
    name: str
    size: Int64 = 0


class _Usage(Model):
    """How many there are, how many are in use, how many bytes they take, and how many of them could be had back."""

    active_count: Int64 = omitempty(0)
    reclaimable: Int64 = omitempty(0)
    total_count: Int64 = omitempty(0)
    total_size: Int64 = omitempty(0)


class ImageDiskUsage(_Usage):
    """Images: their files and the blobs that these were unpacked from."""

    items: list[ImageSummary] | None = omitempty()


class ContainerDiskUsage(_Usage):
    """Containers: their writable layers."""

    items: list[ContainerSummary] | None = omitempty()


class VolumeDiskUsage(_Usage):
    """Volumes."""

    items: list[Volume] | None = omitempty()


class BuildCacheDiskUsage(_Usage):
    """The build cache."""

    items: list[dict[str, Any]] | None = omitempty()


class LogDiskUsage(_Usage):
    """The containers' logs. Docker counts them nowhere."""

    items: list[LogUsage] | None = omitempty()


class DiskUsage(Model):
    """The answer to system_df; what was not asked for is null. `log_usage` is ours."""

    image_usage: ImageDiskUsage | None = omitempty()
    container_usage: ContainerDiskUsage | None = omitempty()
    volume_usage: VolumeDiskUsage | None = omitempty()
    build_cache_usage: BuildCacheDiskUsage | None = omitempty()
    log_usage: LogDiskUsage | None = omitempty(alias="SampanLogUsage")


class SystemDiskUsage(Request):
    """system_df; no `types` are all of them: `container`, `image`, `volume`, `build-cache` and, ours, `log`."""

    types: list[str] = Field(default_factory=list)
