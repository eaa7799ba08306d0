"""Volumes."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sampan.models.base import Int64, Model, Request, omitempty


class VolumeUsage(Model):
    """How much a volume holds and who uses it; -1 is unknown."""

    size: Int64 = -1
    ref_count: Int64 = -1


class Volume(Model):
    """Everything that is known about a volume."""

    created_at: str = omitempty("")
    driver: str
    labels: dict[str, str] | None = None
    mountpoint: str
    name: str
    options: dict[str, str] | None = None
    scope: str = "local"
    status: dict[str, Any] | None = omitempty()
    usage_data: VolumeUsage | None = omitempty()


class VolumeList(Model):
    """The answer to volume_list."""

    volumes: list[Volume] = Field(default_factory=list)
    warnings: list[str] | None = None


class CreateVolume(Model):
    """volume_create, as it comes in the body; without a name it gets a random one."""

    name: str = omitempty("")
    driver: str = omitempty("")
    driver_opts: dict[str, str] | None = omitempty()
    labels: dict[str, str] | None = omitempty()
    cluster_volume_spec: dict[str, Any] | None = omitempty()


class UpdateVolumeBody(Model):
    """What the body of an update says: how a cluster volume is to be."""

    spec: dict[str, Any] | None = None


class UpdateVolume(Request):
    """volume_update."""

    name: str
    version: int
    spec: dict[str, Any] | None = None


class ListVolumes(Request):
    """volume_list."""

    filters: dict[str, list[str]] = Field(default_factory=dict)


class InspectVolume(Request):
    """volume_inspect."""

    name: str


class RemoveVolume(Request):
    """volume_remove."""

    name: str
    force: bool = False
