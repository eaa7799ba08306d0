"""Mounts: what is asked for at create, and what a container has."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from sampan.models.base import Int64, Model, omitempty, omitnull


class BindOptions(Model):
    """Of a mount of type `bind`."""

    propagation: str = omitempty("")
    non_recursive: bool = omitempty(False)
    create_mountpoint: bool = omitempty(False)
    read_only_non_recursive: bool = omitempty(False)
    read_only_force_recursive: bool = omitempty(False)


class DriverConfig(Model):
    """Which driver makes a volume, and how."""

    name: str = omitempty("")
    options: dict[str, str] | None = omitempty()


class VolumeOptions(Model):
    """Of a mount of type `volume`."""

    no_copy: bool = omitempty(False)
    labels: dict[str, str] | None = omitempty()
    subpath: str = omitempty("")
    driver_config: DriverConfig | None = omitempty()


class ImageOptions(Model):
    """Of a mount of type `image`."""

    subpath: str = omitempty("")


class TmpfsOptions(Model):
    """Of a mount of type `tmpfs`; `mode` is the file mode as a plain integer."""

    size_bytes: Int64 = omitempty(0)
    mode: Annotated[int, Field(ge=0, lt=2**32)] = omitempty(0)
    options: list[list[str]] | None = omitempty()


class Mount(Model):
    """One entry of HostConfig.Mounts."""

    type: str = omitempty("")
    source: str = omitempty("")
    target: str = omitempty("")
    read_only: bool = omitempty(False)
    consistency: str = omitempty("")
    bind_options: BindOptions | None = omitempty()
    volume_options: VolumeOptions | None = omitempty()
    image_options: ImageOptions | None = omitempty()
    tmpfs_options: TmpfsOptions | None = omitempty()
    cluster_options: dict[str, Any] | None = omitnull()


class MountPoint(Model):
    """A mount that a container has."""

    type: str = omitempty("")
    name: str | None = omitempty()
    source: str = ""
    destination: str = ""
    driver: str | None = omitempty()
    mode: str = ""
    rw: bool = Field(False, alias="RW")
    propagation: str = ""
