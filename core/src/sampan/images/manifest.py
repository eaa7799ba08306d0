"""The documents of an image: manifest, index and config, parsed defensively.

A document must have a single meaning: it must not be a manifest to one program and an index to another
(CVE-2021-41190), so the media types must agree, and fields of the other kind are refused. Formats: OCI image-spec
manifest.md, image-index.md, config.md; Docker Image Manifest Version 2, Schema 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sampan.digest import Digest
from sampan.errdefs import InvalidArgument, NotFound
from sampan.images.image_config import known_fields
from sampan.images.platform import Platform

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_INDEX)
ACCEPTED = (*MANIFESTS, *INDEXES)

DOCUMENT_BYTES_MAX = 4 << 20
"""The limit for a manifest or config, as in registries (OCI distribution-spec, Pushing Manifests) and podman."""

_BLOB_BYTES_MAX = 1 << 40
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
# moby daemon/internal/distribution/registry.go, supportedMediaTypes: the types of an image's parts, and the wrong
# ones that old registries used
_IMAGE_PREFIXES = ("application/vnd.oci.image.", "application/vnd.docker.")
_IMAGE_TYPES = ("", "application/octet-stream", "application/json", "text/html")
_PLUGIN_CONFIG = "application/vnd.docker.plugin.v1+json"


@dataclass(frozen=True)
class Descriptor:
    """A document's description of a blob: its digest, size and media type."""

    media_type: str
    digest: Digest
    size_bytes: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The config and the layers of one image, lowest layer first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = OCI_MANIFEST


@dataclass(frozen=True)
class Index:
    """Manifests (or other indexes), usually one for each platform."""

    manifests: tuple[Descriptor, ...]
    media_type: str = OCI_INDEX


@dataclass(frozen=True)
class Config:
    """The config of an image: the fields used, and some of them parsed."""

    document: dict[str, Any]
    diff_ids: tuple[Digest, ...]
    platform: Platform


def parse_document(content: bytes, media_type: str | None = None) -> Manifest | Index:
    """Parse a manifest or an index.

    `media_type` is the type given by the registry or the descriptor. Raises `InvalidArgument` for what is neither, is
    ambiguous, or does not match that type.
    """
    document = _load(content)
    kind = _kind(document, _plain(media_type))
    if kind in INDEXES:
        entries = _list(document, "manifests")
        return Index(tuple(_descriptor(entry) for entry in entries), kind)
    layers = _list(document, "layers")
    manifest = Manifest(_descriptor(document.get("config")), tuple(_descriptor(layer) for layer in layers), kind)
    _check_image(manifest)
    return manifest


def parse_config(content: bytes) -> Config:
    """The config of an image. Raises `InvalidArgument` if `content` is not a usable one."""
    _check_size(content, "image configuration")
    document = known_fields(content)
    platform = Platform.of(document)
    if platform.os and platform.os.lower() != "linux":
        raise InvalidArgument("operating system is not supported")
    return Config(document, tuple(Digest(one) for one in document["rootfs"].get("diff_ids", ())), platform)


def choose(index: Index, platform: Platform) -> Descriptor:
    """The manifest in `index` that fits `platform` best, the first of equals. Raises `NotFound` if none does."""
    ranked = [
        (rank, entry)
        for entry in index.manifests
        if entry.media_type in ACCEPTED and entry.platform is not None
        if (rank := platform.rank(entry.platform)) is not None
    ]
    if not ranked:
        lone = [entry for entry in index.manifests if entry.platform is None and entry.media_type in ACCEPTED]
        if len(lone) == 1:
            return lone[0]
        raise NotFound(f"no matching manifest for {platform} in the manifest list entries")
    return min(ranked, key=lambda pair: pair[0])[1]


def _kind(document: Mapping[str, Any], called: str) -> str:
    own = document.get("mediaType") or ""
    if not isinstance(own, str):
        raise InvalidArgument("unsupported manifest format")
    if (own or called).startswith(_SCHEMA_1) or "fsLayers" in document:
        raise InvalidArgument(
            "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. "
            "More information at https://docs.docker.com/go/deprecated-image-specs/"
        )
    if own and called in ACCEPTED and own != called:
        raise InvalidArgument(f'the manifest says that it is of type "{own}", and was served as "{called}"')
    kind = own or (called if called in ACCEPTED else _guess(document))
    if kind not in ACCEPTED:
        raise InvalidArgument(f"unsupported media type {kind}")
    if document.get("schemaVersion") != 2:
        raise InvalidArgument("unsupported manifest format")
    _refuse_ambiguous(document, kind)
    return kind


def _refuse_ambiguous(document: Mapping[str, Any], kind: str) -> None:
    if kind in MANIFESTS and "manifests" in document:
        raise InvalidArgument(f'media-type: "{kind}" should not have "manifests" or "fsLayers"')
    if kind in INDEXES and ("config" in document or "layers" in document):
        raise InvalidArgument(f'media-type: "{kind}" should not have "config", "layers", or "fsLayers"')


def _guess(document: Mapping[str, Any]) -> str:
    if "manifests" in document and "config" not in document and "layers" not in document:
        return OCI_INDEX
    if "config" in document and "manifests" not in document:
        return OCI_MANIFEST
    raise InvalidArgument("media-type: cannot determine")


def _check_image(manifest: Manifest) -> None:
    config = manifest.config.media_type
    if config == _PLUGIN_CONFIG:
        raise InvalidArgument(f'Encountered remote "{config}"(plugin) when fetching')
    for descriptor in (manifest.config, *manifest.layers):
        kind = descriptor.media_type.lower()
        if kind.startswith("application/vnd.docker.ai."):
            raise InvalidArgument(
                'AI models are not yet supported by the Engine, please use "docker model pull/run" instead'
            )
        if kind not in _IMAGE_TYPES and not kind.startswith(_IMAGE_PREFIXES):
            raise InvalidArgument(f"unsupported media type {descriptor.media_type}")


def _descriptor(entry: Any) -> Descriptor:
    if not isinstance(entry, dict):
        raise InvalidArgument("unsupported manifest format")
    digest, size, media_type = entry.get("digest"), entry.get("size"), entry.get("mediaType") or ""
    if not isinstance(digest, str) or not isinstance(media_type, str):
        raise InvalidArgument("unsupported manifest format")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _BLOB_BYTES_MAX:
        raise InvalidArgument(f"invalid size of blob {digest[:80]}")
    return Descriptor(media_type, Digest(digest), size, _platform(entry), _annotations(entry))


def _platform(entry: Mapping[str, Any]) -> Platform | None:
    platform = entry.get("platform")
    return Platform.of(platform) if isinstance(platform, dict) and platform.get("os") else None


def _annotations(entry: Mapping[str, Any]) -> dict[str, str]:
    annotations = entry.get("annotations")
    if not isinstance(annotations, dict):
        return {}
    return {name: text for name, text in annotations.items() if isinstance(text, str)}


def _list(document: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = document.get(name)
    if not isinstance(value, list):
        raise InvalidArgument("unsupported manifest format")
    return value


def _load(content: bytes) -> dict[str, Any]:
    _check_size(content, "manifest")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the manifest is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArgument("the manifest is not a JSON object")
    return document


def _check_size(content: bytes, what: str) -> None:
    if len(content) > DOCUMENT_BYTES_MAX:
        raise InvalidArgument(f"the {what} is larger than {DOCUMENT_BYTES_MAX} bytes")


def _plain(media_type: str | None) -> str:
    return (media_type or "").partition(";")[0].strip()
