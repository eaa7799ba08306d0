"""Writes images as an archive that Docker, Podman and all OCI tools can read.

It is an OCI layout (`index.json`, `blobs/`) with Docker's `manifest.json` and `repositories` in addition, as written
by moby daemon/internal/image/tarexport/save.go. Blobs are written as stored, so they keep their digests when loaded
again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sampan.digest import Digest
from sampan.errdefs import DataLoss, NotFound, SystemFailure
from sampan.images.content import ContentStore
from sampan.images.description import Description, described, known
from sampan.images.image import Image
from sampan.images.index import ImageIndex
from sampan.images.layers import Layers
from sampan.images.leases import Lease
from sampan.images.manifest import OCI_INDEX
from sampan.images.platform import Platform
from sampan.images.reference import Reference, parse_id
from sampan.tasks import in_thread

_PIECE_BYTES = 1 << 20
_FULL_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass
class _Saved:
    """An image to be saved, the tags asked for, and its manifest."""

    image: Image
    tags: list[Reference] = field(default_factory=list)
    description: Description | None = None

    @property
    def manifest(self) -> Description:
        if self.description is None:
            raise AssertionError("described before it is written")
        return self.description


class Saver:
    """Writes archives of the images of one store."""

    def __init__(self, content: ContentStore, layers: Layers, index: ImageIndex, lease: Lease) -> None:
        self._content = content
        self._layers = layers
        self._index = index
        self._lease = lease

    async def save(self, names: Sequence[str], platforms: Sequence[Platform]) -> AsyncIterator[bytes]:
        """The archive of all images of `names`: tags, IDs, or repositories with all their tags.

        Raises `NotFound` before the first byte, later `DataLoss` for a blob that has changed on disk.
        """
        saved = self._find(names, platforms)
        for one in saved:
            await self._hold(one)
            one.description = await in_thread(self._describe, one.image)
        yield _directory("blobs/") + _directory("blobs/sha256/")
        for blob in _blobs(saved):
            async for piece in self._blob(blob):
                yield piece
        for one in {one.manifest.digest: one for one in saved}.values():
            yield _file(_path(one.manifest.digest), one.manifest.content)
        yield b"".join(_file(name, content) for name, content in _documents(saved))
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _find(self, names: Sequence[str], platforms: Sequence[Platform]) -> list[_Saved]:
        found: dict[Digest, _Saved] = {}
        for name in names:
            for image, tag in self._named(name):
                check_platform(image, name, platforms)
                one = found.setdefault(image.id, _Saved(image))
                if tag is not None and tag not in one.tags:
                    one.tags.append(tag)
        return list(found.values())

    def _named(self, name: str) -> list[tuple[Image, Reference | None]]:
        if parse_id(name) is None:
            reference = Reference.parse(name)
            if reference.has_name_only and (tags := self._index.tags(reference.name)):
                return [(self._index.get(str(tag)), tag) for tag in tags]
            if reference.tag is not None and reference.digest is None:
                return [(self._index.get(name), reference)]
        return [(self._index.get(name), None)]

    async def _hold(self, saved: _Saved) -> None:
        image = saved.image
        await self._lease.add(image.id, *image.documents, *image.layers)
        await self._lease.add(*(self._layers.get(chain_id).blob for chain_id in image.layers))

    def _describe(self, image: Image) -> Description:
        """The manifest that it was obtained with, if all of its blobs are in the store; else our own."""
        for one in known(self._content, image):
            if all(blob.digest in self._content for blob in one.layers):
                return one
        return described(self._content, image, [self._layers.get(chain_id) for chain_id in image.layers])

    async def _blob(self, digest: Digest) -> AsyncIterator[bytes]:
        size = self._content.size_bytes(digest)
        yield _header(_path(digest), size)
        seen = hashlib.new(digest.algorithm)

        def read(fd: int) -> bytes:
            piece = os.read(fd, _PIECE_BYTES)
            seen.update(piece)
            return piece

        try:
            with self._content.path(digest).open("rb", buffering=0) as file:
                while piece := await in_thread(read, file.fileno()):
                    yield piece
        except OSError as error:
            raise SystemFailure(f"failed to read a blob: {os.strerror(error.errno or 0)}") from error
        if seen.hexdigest() != digest.hex:
            raise DataLoss(f"blob {digest} has changed on the disk")
        yield bytes(-size % tarfile.BLOCKSIZE)


def check_platform(image: Image, name: str, platforms: Sequence[Platform]) -> None:
    """Raise `NotFound` with Docker's message if the image called `name` doesn't run on each of `platforms`."""
    own = Platform.of(image.config)
    for platform in platforms:
        if not platform.runs(own):
            raise NotFound(
                f"image with reference {name} was found but does not provide the specified platform ({platform})"
            )


def _blobs(saved: Sequence[_Saved]) -> list[Digest]:
    """Configs and layers, each once."""
    return list(
        dict.fromkeys(
            digest for one in saved for digest in (one.image.id, *(blob.digest for blob in one.manifest.layers))
        )
    )


def _documents(saved: Sequence[_Saved]) -> Iterator[tuple[str, bytes]]:
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [e for one in saved for e in _entries(one)]}
    yield "index.json", _json(index)
    yield "manifest.json", _json([_docker_entry(one) for one in saved])
    yield "oci-layout", _LAYOUT
    repositories: dict[str, dict[str, str]] = {}
    for one in saved:
        for tag in one.tags:
            top = one.manifest.layers[-1].digest if one.manifest.layers else one.image.id
            repositories.setdefault(tag.familiar_name, {})[tag.tag or ""] = top.hex
    if repositories:
        yield "repositories", _json(repositories)


def _entries(one: _Saved) -> Iterator[dict[str, Any]]:
    """The image's entries in the index, one for each name."""
    manifest = one.manifest
    entry = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.content)}
    for tag in one.tags:
        yield {**entry, "annotations": {_FULL_NAME: str(tag), _REF_NAME: tag.tag}}
    if not one.tags:
        yield entry


def _docker_entry(one: _Saved) -> dict[str, Any]:
    return {
        "Config": _path(one.image.id),
        "RepoTags": [tag.familiar for tag in one.tags] or None,
        "Layers": [_path(blob.digest) for blob in one.manifest.layers],
    }


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _file(name: str, content: bytes) -> bytes:
    return _header(name, len(content)) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.PAX_FORMAT)


def _directory(name: str) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    return entry.tobuf(tarfile.PAX_FORMAT)
