"""Images."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sampan.models.base import Int64, Model, Request, omitempty
from sampan.models.container_config import ImageConfig


class Platform(Model):
    """An OCI platform."""

    architecture: str = Field("", alias="architecture")
    os: str = Field("", alias="os")
    os_version: str = omitempty("", alias="os.version")
    os_features: list[str] | None = omitempty(alias="os.features")
    variant: str = omitempty("", alias="variant")


class Descriptor(Model):
    """An OCI descriptor: type, digest and size of some bytes."""

    media_type: str = Field("", alias="mediaType")
    digest: str = Field("", alias="digest")
    size: Int64 = Field(0, alias="size")
    urls: list[str] | None = omitempty(alias="urls")
    annotations: dict[str, str] | None = omitempty(alias="annotations")
    data: str | None = omitempty(alias="data")
    platform: Platform | None = omitempty(alias="platform")
    artifact_type: str = omitempty("", alias="artifactType")


class DriverData(Model):
    """What the storage driver says of a snapshot."""

    name: str = ""
    data: dict[str, str] | None = None


class RootFS(Model):
    """The layers of an image, as diff IDs."""

    type: str = omitempty("")
    layers: list[str] | None = omitempty()


class ImageMetadata(Model):
    """What this engine knows of an image beyond its content."""

    last_tag_time: str = omitempty("")


class ImageInspect(Model):
    """Everything that is known about an image."""

    id: str
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None
    comment: str = omitempty("")
    created: str = omitempty("")
    author: str = omitempty("")
    config: ImageConfig | None = None
    architecture: str = ""
    variant: str = omitempty("")
    os: str = "linux"
    os_version: str = omitempty("", alias="OsVersion")
    size: Int64 = 0
    graph_driver: DriverData | None = omitempty()
    root_fs: RootFS = Field(default_factory=RootFS, alias="RootFS")
    metadata: ImageMetadata = Field(default_factory=ImageMetadata)
    descriptor: Descriptor | None = omitempty()
    manifests: list[dict[str, Any]] | None = omitempty()


class ImageSummary(Model):
    """An image in a list; `created` is seconds since the epoch, -1 is not counted."""

    containers: Int64 = -1
    created: Int64 = 0
    id: str
    labels: dict[str, str] | None = None
    parent_id: str = Field("", alias="ParentId")
    descriptor: Descriptor | None = omitempty()
    manifests: list[dict[str, Any]] | None = omitempty()
    repo_digests: list[str] | None = Field(default_factory=list)
    repo_tags: list[str] | None = Field(default_factory=list)
    shared_size: Int64 = -1
    size: Int64 = 0


class ImageRemoved(Model):
    """One step of removing an image: a name taken off, or bytes deleted."""

    untagged: str = omitempty("")
    deleted: str = omitempty("")


class RegistryAuth(Model):
    """Credentials for one registry, as clients send them in X-Registry-Auth."""

    username: str = omitempty("", alias="username")
    password: str = omitempty("", alias="password")
    auth: str = omitempty("", alias="auth")
    server_address: str = omitempty("", alias="serveraddress")
    identity_token: str = omitempty("", alias="identitytoken")
    registry_token: str = omitempty("", alias="registrytoken")


class HistoryStep(Model):
    """One step of how an image was made; `created` is seconds since the epoch, `size` bytes."""

    id: str
    created: Int64 = 0
    created_by: str = ""
    tags: list[str] | None = None
    size: Int64 = 0
    comment: str = ""


class DistributionInspect(Model):
    """What a registry has under a name."""

    descriptor: Descriptor = Field(default_factory=Descriptor)
    platforms: list[Platform] = Field(default_factory=list)


class SearchResult(Model):
    """An image that a registry offers."""

    description: str = Field("", alias="description")
    is_official: bool = Field(False, alias="is_official")
    is_automated: bool = Field(False, alias="is_automated")
    name: str = Field("", alias="name")
    star_count: int = Field(0, alias="star_count")


class ListImages(Request):
    """image_list."""

    all: bool = False
    filters: dict[str, list[str]] = Field(default_factory=dict)
    shared_size: bool = False
    digests: bool = False
    manifests: bool = False


class InspectImage(Request):
    """image_inspect."""

    name: str
    manifests: bool = False
    platform: str | None = None


class PullImage(Request):
    """image_pull; `tag` may also be a digest."""

    reference: str
    tag: str = ""
    platform: str | None = None
    auth: RegistryAuth | None = Field(None, repr=False)


class PushImage(Request):
    """image_push; without `tag` all tags of the repository."""

    name: str
    tag: str = ""
    platform: str | None = None
    auth: RegistryAuth | None = Field(None, repr=False)


class SaveImages(Request):
    """image_save."""

    names: list[str]
    platforms: list[str] = Field(default_factory=list)


class ImageHistory(Request):
    """image_history."""

    name: str
    platform: str | None = None


class InspectDistribution(Request):
    """distribution_inspect."""

    name: str
    auth: RegistryAuth | None = Field(None, repr=False)


class SearchImages(Request):
    """image_search."""

    term: str
    limit: int = 25
    filters: dict[str, list[str]] = Field(default_factory=dict)
    auth: RegistryAuth | None = Field(None, repr=False)


class LoadImages(Request):
    """image_load."""

    quiet: bool = False
    platforms: list[str] = Field(default_factory=list)


class ImportImage(Request):
    """image_import; `source` is `-` for the body, else a URL."""

    source: str
    reference: str = ""
    tag: str = ""
    message: str = ""
    changes: list[str] = Field(default_factory=list)
    platform: str | None = None


class TagImage(Request):
    """image_tag."""

    name: str
    repository: str
    tag: str = ""


class RemoveImage(Request):
    """image_remove."""

    name: str
    force: bool = False
    no_prune: bool = False
    platforms: list[str] = Field(default_factory=list)
