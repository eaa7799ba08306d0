"""Removing all that nobody uses."""

from __future__ import annotations

from pydantic import Field

from sampan.models.base import Int64, Model, Request
from sampan.models.image import ImageRemoved


class ImagesPruned(Model):
    """The answer to image_prune; sizes are bytes."""

    images_deleted: list[ImageRemoved] | None = None
    space_reclaimed: Int64 = 0


class VolumesPruned(Model):
    """The answer to volume_prune."""

    volumes_deleted: list[str] = Field(default_factory=list)
    space_reclaimed: Int64 = 0


class NetworksPruned(Model):
    """The answer to network_prune."""

    networks_deleted: list[str] | None = None


class BuildCachePruned(Model):
    """The answer to build_prune."""

    caches_deleted: list[str] | None = None
    space_reclaimed: Int64 = 0


class PruneImages(Request):
    """image_prune."""

    filters: dict[str, list[str]] = Field(default_factory=dict)


class PruneVolumes(Request):
    """volume_prune; without `all` only those that were made for a container which named none."""

    filters: dict[str, list[str]] = Field(default_factory=dict)
    all: bool = False


class PruneNetworks(Request):
    """network_prune."""

    filters: dict[str, list[str]] = Field(default_factory=dict)


class PruneBuildCache(Request):
    """build_prune; sizes are bytes, 0 is no bound."""

    all: bool = False
    filters: dict[str, list[str]] = Field(default_factory=dict)
    reserved_bytes: int = 0
    max_used_bytes: int = 0
    min_free_bytes: int = 0
