"""Loads images from the archives of `docker save` and `skopeo copy`: docker-archives, OCI layouts, or both in one.

Formats: moby daemon/internal/image/tarexport (`manifest.json`), OCI image-spec image-layout.md (`index.json`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sampan.digest import Digest
from sampan.errdefs import DataLoss, InvalidArgument, NotFound, SampanError
from sampan.images.ahead import Ahead, Blob
from sampan.images.archive_reader import Archive, Member, read_archive
from sampan.images.content import ContentStore
from sampan.images.image import Image
from sampan.images.index import ImageIndex, NewImage
from sampan.images.layer.growing import GrowingBlob
from sampan.images.layer_maker import Wanted
from sampan.images.layers import DEPTH_MAX, Layers
from sampan.images.leases import Lease
from sampan.images.manifest import (
    DOCUMENT_BYTES_MAX,
    Descriptor,
    Index,
    choose,
    parse_config,
    parse_document,
)
from sampan.images.platform import Platform, host_platform
from sampan.images.progress import Report, short
from sampan.images.reference import Reference
from sampan.tasks import in_thread

_log = logging.getLogger(__name__)
_MANIFEST = "manifest.json"
_INDEX = "index.json"
_IMAGES_MAX = 1000
_INDEX_DEPTH = 4
_AHEAD_BYTES_MIN = 1 << 20  # not worth it for smaller ones
_FULL_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Found:
    """An image in an archive: its config, its layers' blobs, and its names."""

    config: Member
    layers: tuple[Member, ...]
    names: tuple[Reference, ...]
    documents: tuple[Digest, ...] = ()


class Loader:
    """Loads an archive's images into a store, only those for one of `platforms` if any are given.

    From an index with images for several platforms, it takes that for the first of `platforms`, or for this machine.
    """

    def __init__(
        self,
        content: ContentStore,
        layers: Layers,
        index: ImageIndex,
        lease: Lease,
        platforms: Sequence[Platform] = (),
    ) -> None:
        self._content = content
        self._layers = layers
        self._index = index
        self._lease = lease
        self._platforms = platforms

    async def load(self, body: AsyncIterator[bytes], report: Report, *, quiet: bool) -> list[Image]:
        """Load all images of `body`, or none. Raises `InvalidArgument`, `DataLoss`, `NotFound`, `SystemFailure`."""
        progress = _silent if quiet else _as_loading(report)
        # If platforms are given, the archive usually has several, and most of its layers are not wanted.
        async with self._layers.ahead(0 if self._platforms else DEPTH_MAX) as ahead:
            follower = _LayersAhead(ahead, self._content, self._layers)
            archive = await read_archive(body, self._content, self._lease, follower)
            found = await in_thread(self._wanted, archive)
            new = [(await self._make(image, ahead, progress), image.names) for image in found]
        return [await self._add(image, names, report) for image, names in new]

    def _wanted(self, archive: Archive) -> list[Found]:
        platforms = self._platforms
        found = _images_in(archive, platforms[0] if platforms else host_platform())
        if not platforms:
            return found
        fitting = [image for image in found if any(platform.runs(self._platform(image)) for platform in platforms)]
        if not fitting:
            raise NotFound(f"requested platform ({', '.join(map(str, platforms))}) not found in the archive")
        return fitting

    def _platform(self, found: Found) -> Platform:
        return parse_config(self._content.read(found.config.digest, DOCUMENT_BYTES_MAX)).platform

    async def _make(self, found: Found, ahead: Ahead, report: Report) -> NewImage:
        content = await in_thread(self._content.read, found.config.digest, DOCUMENT_BYTES_MAX)
        config = parse_config(content)
        if len(found.layers) != len(config.diff_ids):
            raise InvalidArgument(
                f"invalid manifest, layers length mismatch: expected {len(found.layers)}, got {len(config.diff_ids)}"
            )
        wanted = [
            Wanted(short(diff_id), diff_id, blob.digest, blob.size_bytes, _absent, ahead=ahead)
            for blob, diff_id in zip(found.layers, config.diff_ids, strict=True)
        ]
        layers = await self._layers.make(wanted, self._lease, report)
        return NewImage(found.config.digest, config.document, tuple(layers), found.documents)

    async def _add(self, new: NewImage, names: Sequence[Reference], report: Report) -> Image:
        for name in names:
            before = self._index.find(name)
            if before is not None and before.id != new.id:
                report(
                    _line(
                        f"The image {name.familiar} already exists, renaming the old one with ID {before.id} "
                        "to empty string"
                    )
                )
        image = await self._index.add(new, names)
        for name in names:
            report(_line(f"Loaded image: {name.familiar}"))
        if not names:
            report(_line(f"Loaded image ID: {image.id}"))
        return image


class _LayersAhead:
    """Starts to unpack those files of an archive that are probably layers and not in the store yet."""

    def __init__(self, ahead: Ahead, content: ContentStore, layers: Layers) -> None:
        self._ahead = ahead
        self._content = content
        self._layers = layers

    async def begins(self, path: Path, size_bytes: int) -> GrowingBlob | None:
        # Its digest is known only at its end. A blob of the same size in the store is probably the same blob.
        if size_bytes < _AHEAD_BYTES_MIN or self._content.has_size(size_bytes):
            return None
        return self._ahead.follow(path, size_bytes)

    async def ends(self, member: Member, blob: GrowingBlob | None) -> None:
        if blob:
            self._ahead.name(blob, member.digest)
        elif member.size_bytes >= _AHEAD_BYTES_MIN and not self._layers.is_made_of(member.digest):
            self._ahead.begin(Blob(member.digest, member.size_bytes))


def _images_in(archive: Archive, platform: Platform) -> list[Found]:
    if archive.find(_MANIFEST):
        return _docker_images(archive, platform)
    if archive.find(_INDEX):
        return list(_oci_images(archive, platform))
    raise InvalidArgument(f"invalid archive: does not contain a {_MANIFEST}")


def _docker_images(archive: Archive, platform: Platform) -> list[Found]:
    try:
        items = json.loads(archive.read(_MANIFEST, DOCUMENT_BYTES_MAX))
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"invalid archive: failed to decode {_MANIFEST}: {error}") from error
    if items is None:
        raise InvalidArgument("invalid manifest, manifest cannot be null (but can be [])")
    if not isinstance(items, list) or len(items) > _IMAGES_MAX:
        raise InvalidArgument(f"invalid archive: failed to decode {_MANIFEST}: it is not a list of images")
    beside = _described_beside(archive, platform)
    images = [_docker_image(archive, item) for item in items]
    return [replace(image, documents=beside.get(_content(image), ())) for image in images]


def _described_beside(archive: Archive, platform: Platform) -> dict[tuple[Member, ...], tuple[Digest, ...]]:
    """The manifests of an OCI layout in the same archive, by what they refer to: config and layers.

    They are not required, so errors in them are ignored.
    """
    if archive.find(_INDEX) is None:
        return {}
    try:
        return {_content(image): image.documents for image in _oci_images(archive, platform)}
    except SampanError as error:
        _log.info("the OCI layout beside %s is not used: %s", _MANIFEST, error)
        return {}


def _content(image: Found) -> tuple[Member, ...]:
    return (image.config, *image.layers)


def _docker_image(archive: Archive, item: Any) -> Found:
    fields = item if isinstance(item, dict) else {}
    config, layers, tags = fields.get("Config"), fields.get("Layers") or [], fields.get("RepoTags") or []
    if not isinstance(config, str) or not _is_texts(layers) or not _is_texts(tags):
        raise InvalidArgument(f"invalid archive: failed to decode {_MANIFEST}: a field is of another type")
    return Found(
        archive.get(config),
        tuple(archive.get(path) for path in layers),
        tuple(_tag(text) for text in tags),
    )


def _oci_images(archive: Archive, platform: Platform) -> Iterator[Found]:
    top = parse_document(archive.read(_INDEX, DOCUMENT_BYTES_MAX))
    if not isinstance(top, Index) or len(top.manifests) > _IMAGES_MAX:
        raise InvalidArgument(f"invalid archive: {_INDEX} is not an index")
    for entry in top.manifests:
        yield _oci_image(archive, entry, platform)


def _oci_image(archive: Archive, entry: Descriptor, platform: Platform) -> Found:
    at, documents = entry, []
    for _ in range(_INDEX_DEPTH):
        documents.append(at.digest)
        parsed = parse_document(archive.read(_oci_path(archive, at), DOCUMENT_BYTES_MAX), at.media_type)
        if not isinstance(parsed, Index):
            return Found(
                _oci_blob(archive, parsed.config),
                tuple(_oci_blob(archive, layer) for layer in parsed.layers),
                _oci_names(entry),
                tuple(documents),
            )
        at = choose(parsed, platform)
    raise InvalidArgument(f"invalid archive: indexes are nested more than {_INDEX_DEPTH} deep")


def _oci_path(archive: Archive, descriptor: Descriptor) -> str:
    _oci_blob(archive, descriptor)
    return f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"


def _oci_blob(archive: Archive, descriptor: Descriptor) -> Member:
    digest = descriptor.digest
    member = archive.get(f"blobs/{digest.algorithm}/{digest.hex}")
    if digest.algorithm != member.digest.algorithm:
        raise InvalidArgument(f"invalid archive: digests of algorithm {digest.algorithm} are not supported in it")
    if (member.digest, member.size_bytes) != (digest, descriptor.size_bytes):
        raise DataLoss(f"filesystem layer verification failed for digest {digest}")
    return member


def _oci_names(entry: Descriptor) -> tuple[Reference, ...]:
    """The names that include a repository; a mere tag, as allowed in OCI, can't be an image's name here."""
    full, ref = entry.annotations.get(_FULL_NAME), entry.annotations.get(_REF_NAME, "")
    text = full or (ref if ":" in ref or "/" in ref else "")
    if not text:
        return ()
    reference = Reference.parse(text)
    return (reference.tagged(),) if reference.digest is None else ()


def _tag(text: str) -> Reference:
    reference = Reference.parse(text)
    if reference.tag is None or reference.digest is not None:
        raise InvalidArgument(f'invalid tag "{text}"')
    return reference


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


async def _absent(report: Report, offset: int) -> AsyncIterator[bytes]:
    raise DataLoss("a layer of the archive is gone")
    yield b""


def _line(text: str) -> dict[str, Any]:
    return {"stream": text + "\n"}


def _as_loading(report: Report) -> Report:
    """Pass on only what Docker shows about a layer when it loads one."""

    def pass_on(item: dict[str, Any]) -> None:
        if item["status"] == "Extracting":
            report({**item, "status": "Loading layer"})

    return pass_on


def _silent(item: dict[str, Any]) -> None:
    pass
