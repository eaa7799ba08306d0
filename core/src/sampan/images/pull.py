"""Pulls an image: manifest, config, then all layers in parallel.

The client sees the same messages as from moby daemon/internal/distribution/pull_v2.go.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace

from sampan.digest import Digest
from sampan.errdefs import DataLoss, Forbidden, InvalidArgument, NotFound, SampanError, Unauthorized
from sampan.images.content import ContentStore
from sampan.images.fetch import fetch, retried
from sampan.images.image import Image
from sampan.images.index import ImageIndex, NewImage
from sampan.images.layer_maker import Wanted
from sampan.images.layers import Layers
from sampan.images.leases import Lease
from sampan.images.manifest import (
    DOCUMENT_BYTES_MAX,
    Config,
    Descriptor,
    Index,
    Manifest,
    choose,
    parse_config,
    parse_document,
)
from sampan.images.platform import Platform
from sampan.images.progress import Report, Throttle, message, short, step
from sampan.images.reference import Reference
from sampan.images.registry import Document, RegistryClient, Repository
from sampan.images.registry_config import RegistryAuth, RegistryConfig
from sampan.tasks import in_thread

_log = logging.getLogger(__name__)
_INDEX_DEPTH = 4
_RESERVED = "scratch"


class Puller:
    """Pulls images into one store."""

    def __init__(self, client: RegistryClient, content: ContentStore, layers: Layers, index: ImageIndex) -> None:
        self._client = client
        self._content = content
        self._layers = layers
        self._index = index

    @property
    def _config(self) -> RegistryConfig:
        return self._client.config

    async def pull(
        self, reference: Reference, platform: Platform, auth: RegistryAuth | None, lease: Lease, report: Report
    ) -> Image:
        """Pull `reference`, or all tags if it has neither tag nor digest; returns the last image.

        Mirrors are tried first; after any error, the next one is tried. Raises the errors of the registry, the
        documents and the layers.
        """
        if reference.familiar_name == _RESERVED:
            raise Forbidden(f"'{_RESERVED}' is a reserved name")
        for mirror in await self._client.mirrors(reference):
            try:
                return await self._pull_from(mirror, reference, platform, lease, report)
            except SampanError as error:
                _log.warning("mirror %s: %s", mirror.endpoint.url, error)
        try:
            repository = await self._client.repository(reference, auth)
            return await self._pull_from(repository, reference, platform, lease, report)
        except Unauthorized as error:  # at our own status 401, clients would ask for a password
            raise NotFound(str(error)) from error

    async def _pull_from(
        self, repository: Repository, reference: Reference, platform: Platform, lease: Lease, report: Report
    ) -> Image:
        is_new = False
        image: Image | None = None
        for name in await self._names(repository, reference):
            before = self._index.find(name)
            image = await self._pull_one(repository, name, platform, lease, report)
            is_new = is_new or before is None or before.id != image.id
        if image is None:
            raise InvalidArgument(f"no tags found for {reference.familiar_name}")
        status = "Downloaded newer image" if is_new else "Image is up to date"
        report(message(f"Status: {status} for {reference.familiar}"))
        return image

    async def _names(self, repository: Repository, reference: Reference) -> list[Reference]:
        if not reference.has_name_only:
            return [reference]
        return [reference.with_tag(tag) for tag in await retried(repository.tags, self._config)]

    async def _pull_one(
        self, repository: Repository, name: Reference, platform: Platform, lease: Lease, report: Report
    ) -> Image:
        top = await self._document(repository, name)
        report(message(f"Pulling from {name.path}", str(name) if name.digest else str(name.tag)))
        documents, manifest = await self._resolve(repository, name, top, platform)
        await lease.add(manifest.config.digest, *(document.digest for document in documents))
        new = await self._held(manifest.config.digest, lease)
        if new is None:
            new = await self._pull_content(repository, manifest, lease, report)
        for document in documents:
            await in_thread(self._content.put, document.content)
        new = replace(new, documents=tuple(document.digest for document in documents))
        report(message(f"Digest: {top.digest}"))
        return await self._index.add(new, [*([] if name.digest else [name]), name.with_digest(top.digest)])

    async def _held(self, id: Digest, lease: Lease) -> NewImage | None:
        """The image, if it is complete in the store: even if it is removed from now on, its layers stay."""
        image = self._index.find_by_id(id)
        if image is None:
            return None
        await lease.add(*image.layers)
        if self._index.find_by_id(id) is None or not self._is_whole(image):
            return None
        return NewImage(id, image.config, tuple(self._layers.get(chain_id) for chain_id in image.layers))

    def _is_whole(self, image: Image) -> bool:
        """Whether all its blobs are in the store: a check may have removed a corrupt one."""
        blobs = (image.id, *(self._layers.get(chain_id).blob for chain_id in image.layers))
        return all(blob in self._content for blob in blobs)

    async def _document(self, repository: Repository, name: Reference) -> Document:
        return await retried(lambda: repository.document(name), self._config)

    async def _resolve(
        self, repository: Repository, name: Reference, top: Document, platform: Platform
    ) -> tuple[list[Document], Manifest]:
        """The manifest for `platform`, and all documents that lead to it."""
        documents = [top]
        parsed = parse_document(top.content, top.media_type)
        while isinstance(parsed, Index):
            if len(documents) > _INDEX_DEPTH:
                raise InvalidArgument(f"the index of {name.familiar} is nested more than {_INDEX_DEPTH} deep")
            chosen = choose(parsed, platform)
            document = await self._document(repository, name.with_digest(chosen.digest))
            if len(document.content) != chosen.size_bytes:
                raise DataLoss(f"manifest verification failed for digest {chosen.digest}")
            documents.append(document)
            parsed = parse_document(document.content, chosen.media_type)
        return documents, parsed

    async def _pull_content(
        self,
        repository: Repository,
        manifest: Manifest,
        lease: Lease,
        report: Report,
    ) -> NewImage:
        content = await retried(lambda: repository.small_blob(manifest.config, DOCUMENT_BYTES_MAX), self._config)
        config = parse_config(content)
        layers = await self._layers.make(self._wanted(repository, manifest, config), lease, report)
        await in_thread(self._content.put, content)
        return NewImage(manifest.config.digest, config.document, tuple(layers))

    def _wanted(self, repository: Repository, manifest: Manifest, config: Config) -> list[Wanted]:
        if len(manifest.layers) != len(config.diff_ids):
            raise DataLoss("layers from manifest don't match image configuration")
        return [
            Wanted(
                id=short(blob.digest),
                diff_id=diff_id,
                blob=blob.digest,
                blob_bytes=blob.size_bytes,
                source=_Download(repository, blob, self._config).chunks,
                media_type=blob.media_type,
            )
            for blob, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
        ]


class _Download:
    """The download of one layer's blob from the registry."""

    def __init__(self, repository: Repository, blob: Descriptor, config: RegistryConfig) -> None:
        self._repository = repository
        self._blob = blob
        self._config = config

    async def chunks(self, report: Report, offset: int) -> AsyncIterator[bytes]:
        """The bytes from `offset` on, with progress."""
        id, received, throttle = short(self._blob.digest), offset, Throttle()

        def retrying(left_s: int) -> None:
            report(step(id, f"Retrying in {left_s} second{'s' if left_s != 1 else ''}"))

        async with aclosing(self._fetch(offset, retrying)) as chunks:
            async for chunk in chunks:
                received += len(chunk)
                if throttle.ready():
                    report(step(id, "Downloading", received, self._blob.size_bytes))
                yield chunk

    def _fetch(self, offset: int, retrying: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
        return fetch(self._repository, self._blob, self._config, offset=offset, retrying=retrying)
