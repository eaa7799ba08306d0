"""Pushes an image: its layers and config where they are missing, then the manifest.

The client sees the same messages as from moby daemon/internal/distribution/push_v2.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sampan.digest import Digest
from sampan.errdefs import InvalidArgument, NotFound
from sampan.images.compress import compress
from sampan.images.content import ContentStore
from sampan.images.description import Description, described, is_distributable, known
from sampan.images.destination import Destination
from sampan.images.image import Image
from sampan.images.index import ImageIndex
from sampan.images.layer_maker import Layer
from sampan.images.layers import Layers
from sampan.images.leases import Lease
from sampan.images.manifest import Descriptor
from sampan.images.progress import Report, Throttle, message, short, step
from sampan.images.reference import Reference
from sampan.images.registry import RegistryClient
from sampan.images.registry_config import RegistryAuth
from sampan.tasks import end, in_thread

_MOUNTS_MAX = 4  # repositories tried for each blob, as in moby


@dataclass(frozen=True)
class _Blob:
    """A blob to be pushed. `id` is its ID in progress items, "" for a config. `sources` may already have it."""

    digest: Digest
    size_bytes: int
    id: str = ""
    sources: tuple[Reference, ...] = ()


class Pusher:
    """Pushes images of one store."""

    def __init__(self, client: RegistryClient, content: ContentStore, layers: Layers, index: ImageIndex) -> None:
        self._client = client
        self._content = content
        self._layers = layers
        self._index = index
        self._compressing = asyncio.Lock()
        self._uploads = asyncio.Semaphore(client.config.uploads)

    def send_at_once(self, uploads: int) -> None:
        """Change how many layers are uploaded at once, not counting those in progress."""
        self._uploads = asyncio.Semaphore(uploads)

    async def push(self, reference: Reference, auth: RegistryAuth | None, lease: Lease, report: Report) -> None:
        """Push `reference`, or all tags of the repository if it has none.

        Raises `NotFound` if there is no such name here, `InvalidArgument` for a digest, and the errors of the
        registry.
        """
        report(message(f"The push refers to repository [{reference.name}]"))
        names = self._names(reference)
        channel = await self._client.channel(reference.domain, auth)
        for name in names:
            await self._push_tag(Destination(channel, name), name, lease, report)

    def _names(self, reference: Reference) -> list[Reference]:
        if reference.digest is not None:
            raise InvalidArgument("cannot push a digest reference")
        if reference.tag is not None:
            if self._index.find(reference) is None:
                if self._index.tags(reference.name):
                    raise NotFound(f"tag does not exist: {reference.familiar}")
                raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
            return [reference]
        tags = self._index.tags(reference.name)
        if not tags:
            raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
        return tags

    async def _push_tag(self, to: Destination, name: Reference, lease: Lease, report: Report) -> None:
        image = self._index.get(str(name))
        await lease.add(image.id, *image.layers, *image.documents)
        await lease.add(*(self._layers.get(chain_id).blob for chain_id in image.layers))
        description = await self._describe(to, name, image, lease)
        await self._push_layers(to, name, image, description, report)
        await self._push_blob(to, _Blob(image.id, self._content.size_bytes(image.id)), report)
        await to.put_manifest(name.tag or "", description.content, description.media_type)
        await self._note(image, name, description, lease)
        size = len(description.content)
        report(message(f"{name.tag}: digest: {description.digest} size: {size}"))
        report({"progressDetail": {}, "aux": {"Tag": name.tag, "Digest": description.digest, "Size": size}})

    async def _describe(self, to: Destination, name: Reference, image: Image, lease: Lease) -> Description:
        """The manifest to push: a known one if each of its blobs is in the store or the registry, else our own."""
        layers = [self._layers.get(chain_id) for chain_id in image.layers]
        bare = await in_thread(self._bare, image, layers)
        for one in await in_thread(known, self._content, image):
            absent = [(blob, at) for at, blob in enumerate(one.layers) if blob.digest not in self._content]
            if one.digest != bare and all(
                [await self._is_there(to, blob, self._sources(image.layers[at], name)) for blob, at in absent]
            ):
                return one
        ready = [await self._compressed(chain_id, lease) for chain_id in image.layers]
        return await in_thread(described, self._content, image, ready)

    def _bare(self, image: Image, layers: Sequence[Layer]) -> Digest | None:
        """The digest of our own manifest of bare tars, if any, which archives may have, but no registry."""
        if all(is_distributable(self._content, layer) for layer in layers):
            return None
        return described(self._content, image, layers).digest

    async def _is_there(self, to: Destination, blob: Descriptor, sources: Sequence[Reference]) -> bool:
        if await to.has(blob.digest):
            return True
        for source in sources:
            if await to.mount(blob.digest, source):
                return True
        return False

    async def _compressed(self, chain_id: Digest, lease: Lease) -> Layer:
        """The layer with a blob that registries accept, compressed once and kept instead of the loaded tar."""
        async with self._compressing:
            layer = self._layers.get(chain_id)
            if await in_thread(is_distributable, self._content, layer):
                return layer
            with self._content.ingest() as ingest:
                await in_thread(compress, self._content.path(layer.blob), ingest, diff_id=layer.diff_id)
                await lease.add(ingest.digest)
                blob = await in_thread(ingest.commit, durable=True)
                layer = replace(layer, blob=blob, blob_bytes=ingest.size_bytes, media_type="")
            await self._index.update_layer(layer)
            self._layers.adopt([layer])
            return layer

    async def _push_layers(
        self, to: Destination, name: Reference, image: Image, description: Description, report: Report
    ) -> None:
        blobs = {
            blob.digest: _Blob(blob.digest, blob.size_bytes, short(diff_id), tuple(self._sources(chain_id, name)))
            for blob, diff_id, chain_id in zip(description.layers, self._diff_ids(image), image.layers, strict=True)
        }
        for blob in reversed(blobs.values()):
            report(step(blob.id, "Preparing"))
        pushing = [asyncio.ensure_future(self._push_in_turn(to, blob, report)) for blob in blobs.values()]
        try:
            await asyncio.gather(*pushing)
        finally:
            await end(*pushing)

    async def _push_in_turn(self, to: Destination, blob: _Blob, report: Report) -> None:
        if self._uploads.locked():
            report(step(blob.id, "Waiting"))
        async with self._uploads:
            await self._push_blob(to, blob, report)

    async def _push_blob(self, to: Destination, blob: _Blob, report: Report) -> None:
        tell = _Teller(blob, report)
        if await to.has(blob.digest):
            return tell.say("Layer already exists")
        for source in blob.sources:
            if await to.mount(blob.digest, source):
                return tell.say(f"Mounted from {source.path}")
        tell.sent(0)
        await to.send(self._content.path(blob.digest), blob.digest, blob.size_bytes, tell.sent)
        return tell.say("Pushed")

    def _diff_ids(self, image: Image) -> list[Digest]:
        return [self._layers.get(chain_id).diff_id for chain_id in image.layers]

    def _sources(self, chain_id: Digest, name: Reference) -> list[Reference]:
        """Repositories of the same registry that are known to have the layer."""
        found = {
            source.path: source
            for image in self._index.list()
            if chain_id in image.layers
            for source in self._index.names_of(image)
            if source.digest is not None and source.domain == name.domain and source.path != name.path
        }
        return list(found.values())[:_MOUNTS_MAX]

    async def _note(self, image: Image, name: Reference, description: Description, lease: Lease) -> None:
        """Record the manifest: the next push sends the same one, and the image has a digest in this repository.

        If the image was removed in the meantime, there is nothing to record.
        """
        await lease.add(description.digest)
        await in_thread(self._content.put, description.content)
        with suppress(NotFound):
            await self._index.name(image.id, [name.with_digest(description.digest)], [description.digest])


class _Teller:
    """Reports the progress of one blob; that of a config is not reported."""

    def __init__(self, blob: _Blob, report: Report) -> None:
        self._blob = blob
        self._report = report
        self._throttle = Throttle()

    def say(self, status: str) -> None:
        if self._blob.id:
            self._report(step(self._blob.id, status))

    def sent(self, count: int) -> None:
        if self._blob.id and (self._throttle.ready() or count == self._blob.size_bytes):
            self._report(step(self._blob.id, "Pushing", count, self._blob.size_bytes))
