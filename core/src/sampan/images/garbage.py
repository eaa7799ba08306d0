"""Removes what no image, container or lease needs any more: layers, their snapshots, blobs."""

from __future__ import annotations

import logging

from sampan.digest import Digest
from sampan.drivers import SnapshotKind, StorageDriver
from sampan.errdefs import Conflict, InvalidArgument, NotFound
from sampan.images.content import ContentStore
from sampan.images.index import ImageIndex
from sampan.images.init_snapshot import INIT_PREFIX, init_name
from sampan.images.layer_maker import KEY_PREFIX, Layer
from sampan.images.layers import Layers
from sampan.images.leases import Leases
from sampan.tasks import in_thread

_log = logging.getLogger(__name__)


class Garbage:
    """Knows what is needed, and removes the rest."""

    def __init__(
        self, storage: StorageDriver, content: ContentStore, layers: Layers, index: ImageIndex, leases: Leases
    ) -> None:
        self._storage = storage
        self._content = content
        self._layers = layers
        self._index = index
        self._leases = leases

    async def collect(self) -> list[Digest]:
        """Remove all garbage; returns the chain IDs of the layers removed.

        A layer below a container's snapshot stays.
        """
        async with self._leases.lock:
            removed = await self._collect_layers()
            await in_thread(self._collect_blobs)
        return removed

    async def collect_blobs(self) -> None:
        """Remove the blobs that neither an image nor a layer uses."""
        async with self._leases.lock:
            await in_thread(self._collect_blobs)

    async def _collect_layers(self) -> list[Digest]:
        users = self._index.layer_users()
        unused = [layer for layer in self._layers.list() if not users[layer.chain_id]]
        removed = [one.chain_id for one in unused if one.chain_id not in self._leases and await self._take(one)]
        if removed:
            await self._index.forget_layers(removed)
        return removed

    async def remove_layer(self, layer: Layer) -> bool:
        """Remove a layer even if it is needed, unless something is on top of it. The caller holds the leases' lock.

        Returns whether it is gone.
        """
        if not await self._take(layer):
            return False
        await self._index.forget_layers([layer.chain_id])
        return True

    async def _take(self, layer: Layer) -> bool:
        if not await in_thread(self._remove_snapshot, layer.chain_id):
            return False
        self._layers.forget(layer.chain_id)
        return True

    def _collect_blobs(self) -> None:
        needed = self.needed_blobs()
        for digest in self._content:
            if digest not in needed and digest not in self._leases:
                self._content.remove(digest)

    def needed_blobs(self) -> dict[Digest, int | None]:
        """The blobs that images and layers use, with their sizes in bytes if known."""
        needed: dict[Digest, int | None] = {}
        for image in self._index.list():
            needed.update(dict.fromkeys((image.id, *image.documents)))
        needed.update((layer.blob, layer.blob_bytes) for layer in self._layers.list())
        return needed

    def clear_snapshots(self) -> None:
        """Remove a killed daemon's leftovers in the storage driver: layers that are incomplete, or of no image."""
        known = {layer.chain_id for layer in self._layers.list()}
        children_first = sorted(self._storage.list(), key=lambda snapshot: snapshot.kind is SnapshotKind.COMMITTED)
        left = [one.name for one in children_first if is_ours(one.name) and layer_name(one.name) not in known]
        while removed := [name for name in left if self._remove(name)]:
            _log.info("removed %d snapshots that belong to no image", len(removed))
            left = [name for name in left if name not in removed]

    def _remove_snapshot(self, chain_id: Digest) -> bool:
        return self._remove(init_name(chain_id)) and self._remove(chain_id)

    def _remove(self, name: str) -> bool:
        """Returns whether the snapshot is gone now."""
        try:
            self._storage.remove(name)
        except NotFound:
            return True
        except Conflict:
            return False
        return True


def is_ours(name: str) -> bool:
    """Whether a snapshot of this name belongs to an image: a layer, an unfinished one, or an init snapshot."""
    if name.startswith((KEY_PREFIX, INIT_PREFIX)):
        return True
    try:
        Digest(name)
    except InvalidArgument:
        return False  # a container's
    return True


def layer_name(name: str) -> str:
    """The chain ID of the layer that the snapshot is, or is on top of."""
    return name.removeprefix(INIT_PREFIX)
