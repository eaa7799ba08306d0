"""Creates one layer: from a stream of compressed bytes to a committed snapshot."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sampan.digest import Digest, chain_id_on
from sampan.drivers import StorageDriver
from sampan.errdefs import DataLoss, NotFound, SystemFailure
from sampan.images.ahead import Ahead, Blob, Filled
from sampan.images.blob_stream import BlobStream
from sampan.images.content import ContentStore
from sampan.images.examine import examine
from sampan.images.layer.growing import GrowingBlob
from sampan.images.layer.limits import WhiteoutFormat
from sampan.images.layer.parents import adopt_parents
from sampan.images.layer.unpack import Source, Unpacked, unpack, unpack_growing
from sampan.images.mounted import mounted, mounted_for_all
from sampan.images.progress import Report, step
from sampan.tasks import in_thread, to_the_end

_log = logging.getLogger(__name__)
KEY_PREFIX = "layer-"
"""The prefix for snapshots that are being written; a killed daemon's are removed at the next start."""

PROCESSES = max(2, os.cpu_count() or 1)
"""How many layers are unpacked at once."""


@dataclass(frozen=True)
class Layer:
    """A layer in the store: the snapshot named by its chain ID, and the blob it was created from.

    `size_bytes` is the size of its files, `blob_bytes` that of the blob.
    """

    chain_id: Digest
    diff_id: Digest
    parent: Digest | None
    size_bytes: int
    blob: Digest
    blob_bytes: int
    media_type: str = ""


def lowest_first(layers: Iterable[Layer]) -> list[Layer]:
    """The layers, each after its parent; those whose parent is missing are left out."""
    above: dict[Digest | None, list[Layer]] = {}
    for layer in layers:
        above.setdefault(layer.parent, []).append(layer)
    found: list[Layer] = []
    ahead = above.get(None, [])
    while ahead:
        found += ahead
        ahead = [child for layer in ahead for child in above.get(layer.chain_id, ())]
    return found


@dataclass(frozen=True)
class Wanted:
    """A layer to be created: what it must be, and the source of its blob. `id` is its ID in progress items.

    `source` is used only if the blob is not in the store, and from the first missing byte on. `ahead` may already
    have unpacked it.
    """

    id: str
    diff_id: Digest
    blob: Digest
    blob_bytes: int
    source: Callable[[Report, int], AsyncIterator[bytes]]
    media_type: str = ""
    ahead: Ahead | None = None


Parent = Callable[[], Awaitable[Layer | None]]
"""Waits for the layer below; `None` if there is none."""

UnpackInto = Callable[[str, Source, Digest | None, int | None], Awaitable[Unpacked]]
"""Unpacks a blob, whose digest and size may be known, into the snapshot of a key."""


class LayerMaker:
    """Creates layers in one storage driver, downloading at most `downloads` at once."""

    def __init__(self, storage: StorageDriver, content: ContentStore, state_dir: Path, *, downloads: int) -> None:
        self._storage = storage
        self._content = content
        self._state_dir = state_dir
        self._downloads = asyncio.Semaphore(downloads)
        self._unpacking = asyncio.Semaphore(PROCESSES)
        self._followed: set[GrowingBlob] = set()
        self._left: set[str] = set()
        self._detached = storage.capabilities.detached_layers is not None
        self._keys: set[str] = set()

    def is_writing(self, key: str) -> bool:
        """Whether the snapshot of this key is being worked on, or is waiting to be removed."""
        return key in self._keys or key in self._left

    def is_whole(self, layer: Layer) -> bool:
        """Whether the layer's blob is in the store."""
        return layer.blob in self._content

    async def fetch_again(self, layer: Layer, wanted: Wanted, report: Report) -> Layer:
        """Download the blob of a layer again, because it was lost.

        Raises the errors of downloading, `DataLoss` if it is a blob of something else.
        """
        async with self._downloading(wanted, report):
            await self._fetch(wanted, report)
        examined = await in_thread(examine, self._content.path(wanted.blob), wanted.blob.algorithm)
        if examined.diff_id != wanted.diff_id:
            raise DataLoss("layers from manifest don't match image configuration")
        report(step(wanted.id, "Pull complete"))
        return replace(layer, blob=wanted.blob, blob_bytes=wanted.blob_bytes, media_type=wanted.media_type)

    def fetch_at_once(self, downloads: int) -> None:
        """Change how many layers are downloaded at once, not counting those in progress."""
        self._downloads = asyncio.Semaphore(downloads)

    async def make(self, chain_id: Digest, wanted: Wanted, parent: Parent, report: Report) -> Layer:
        """Download, verify, unpack and commit. Raises the errors of these steps, and then leaves nothing behind."""
        make = self._make_detached if self._detached else self._make_attached
        was_begun = wanted.blob in self._content.begun
        try:
            layer = await make(chain_id, wanted, parent, report)
        except DataLoss:
            if not was_begun:
                raise
            # What an earlier attempt left was not its beginning, and is gone now.
            layer = await make(chain_id, wanted, parent, report)
        report(step(wanted.id, "Pull complete"))
        return layer

    def ahead(self, at_most: int) -> Ahead:
        """For unpacking up to `at_most` layers before they are asked for.

        It is none if the driver can't do that without knowing their parents.
        """
        most = at_most if self._detached else 0
        return Ahead(self._fill_ahead, self._discard, at_most=most, followed=self._followed)

    async def clear(self) -> None:
        """Remove the snapshots that could not be removed earlier."""
        for key in list(self._left):
            await self._discard(key)

    @asynccontextmanager
    async def unpacked(self, source: AsyncIterator[bytes], parent: Layer | None) -> AsyncIterator[NewLayer]:
        """Store and unpack a layer about which nothing is known in advance; to be committed within the context.

        It goes on top of `parent`, if any, and then has entries for all parent directories.
        """
        below = parent.chain_id if parent else None
        attached = None if self._detached else below
        async with self._snapshot(attached) as key, BlobStream(self._content.ingest(), lambda _: source) as stream:
            unpack_into = self._detached_into if self._detached else self._mounted_into
            done = await unpack_into(key, stream.chunks(), None, None)
            yield NewLayer(key, stream, done, below, partial(self._commit, parent=below if self._detached else None))

    @asynccontextmanager
    async def made_again(self, layer: Layer) -> AsyncIterator[tuple[Path, Path]]:
        """Mount the layer's snapshot, and a new one created from the same blob on the same parent.

        Raises the errors of unpacking, `NotFound` or `DataLoss` if there is no such snapshot or parent.
        """
        async with self._snapshot(layer.parent) as key:
            async with self._unpacking:
                await self._mounted_into(key, self._content.path(layer.blob), layer.blob, layer.blob_bytes)
            mounts = await in_thread(self._storage.mounts, key)
            async with _entered(mounted(mounts, self._state_dir)) as made, self._view(layer.chain_id) as kept:
                yield kept, made

    async def _make_detached(self, chain_id: Digest, wanted: Wanted, parent: Parent, report: Report) -> Layer:
        """Unpack while the parent is still being created, and put the layer on top of it at the end."""
        async with self._filled(wanted, report) as (key, unpacked):
            below = await parent()
            if not below or not await self._hides_links(key, below, unpacked):
                await self._commit(chain_id, key, below.chain_id if below else None)
                return _layer(chain_id, below, wanted, unpacked)
        return await self._make_attached(chain_id, wanted, parent, report)

    @asynccontextmanager
    async def _filled(self, wanted: Wanted, report: Report) -> AsyncIterator[Filled]:
        """A detached snapshot with the layer in it, removed at the end of the context unless it was committed."""
        filled = await self._taken(wanted, report)
        if filled is None:
            async with self._snapshot(None) as key:
                yield key, await self._fill_in_turn(key, wanted, report)
            return
        key, unpacked = filled
        try:
            _check_diff_id(unpacked, wanted)
            yield filled
        finally:
            await self._discard_uncommitted(key)

    async def _taken(self, wanted: Wanted, report: Report) -> Filled | None:
        """What was unpacked ahead, if it was, reported as if it happened now."""
        if wanted.ahead is None or wanted.blob not in wanted.ahead:
            return None
        report(step(wanted.id, "Extracting", 0, wanted.blob_bytes))
        filled = await wanted.ahead.take(wanted.blob)
        if filled is not None:
            report(step(wanted.id, "Extracting", wanted.blob_bytes, wanted.blob_bytes))
        return filled

    async def _fill_ahead(self, blob: Blob | GrowingBlob) -> Filled:
        key = self._new_key()
        try:
            await in_thread(self._storage.prepare, key, None)
            if isinstance(blob, GrowingBlob):
                target = await in_thread(self._storage.detached_dir, key)
                return key, await unpack_growing(blob, target, format=WhiteoutFormat.OVERLAY)
            async with self._unpacking:
                path = self._content.path(blob.digest)
                return key, await self._detached_into(key, path, blob.digest, blob.size_bytes)
        except BaseException:
            await self._discard(key)
            raise

    async def _fill_in_turn(self, key: str, wanted: Wanted, report: Report) -> Unpacked:
        """Unpack while downloading if a process is free for that; else download now, and unpack when one is."""
        async with self._downloading(wanted, report):
            if not self._unpacking.locked():
                async with self._unpacking:
                    return await self._fill(key, wanted, report, self._detached_into)
            await self._fetch(wanted, report)
        async with self._unpacking:
            return await self._fill(key, wanted, report, self._detached_into)

    async def _make_attached(self, chain_id: Digest, wanted: Wanted, parent: Parent, report: Report) -> Layer:
        """Download the blob in the meantime, and unpack it on top of the complete parent."""
        async with self._downloading(wanted, report):
            await self._fetch(wanted, report)
        below = await parent()
        async with self._snapshot(below.chain_id if below else None) as key:
            unpacked = await self._fill(key, wanted, report, self._mounted_into)
            await self._commit(chain_id, key)
        return _layer(chain_id, below, wanted, unpacked)

    async def _fetch(self, wanted: Wanted, report: Report) -> None:
        if wanted.blob in self._content:
            return
        async with self._stream(wanted, report) as stream:
            async for _ in _told(stream, wanted, report):
                pass
            await stream.commit(wanted.blob)

    def _stream(self, wanted: Wanted, report: Report) -> BlobStream:
        return BlobStream(self._content.resume(wanted.blob), partial(wanted.source, report))

    async def _fill(self, key: str, wanted: Wanted, report: Report, unpack_into: UnpackInto) -> Unpacked:
        blob, size = wanted.blob, wanted.blob_bytes
        if blob in self._content:
            report(step(wanted.id, "Extracting", 0, size))
            unpacked = await unpack_into(key, self._content.path(blob), blob, size)
            report(step(wanted.id, "Extracting", size, size))
        else:
            async with self._stream(wanted, report) as stream:
                unpacked = await unpack_into(key, _told(stream, wanted, report), blob, size)
                await stream.commit(blob)
        _check_diff_id(unpacked, wanted)
        return unpacked

    async def _detached_into(self, key: str, source: Source, expected: Digest | None, size: int | None) -> Unpacked:
        target = await in_thread(self._storage.detached_dir, key)
        return await self._unpack(source, target, WhiteoutFormat.OVERLAY, expected, size)

    async def _mounted_into(self, key: str, source: Source, expected: Digest | None, size: int | None) -> Unpacked:
        mounts = await in_thread(self._storage.mounts, key)
        async with _entered(mounted_for_all(mounts, self._state_dir)) as target:
            return await self._unpack(source, target, WhiteoutFormat.APPLY, expected, size)

    async def _unpack(
        self, source: Source, target: Path, format: WhiteoutFormat, expected: Digest | None, size: int | None
    ) -> Unpacked:
        # Hashing once is enough: a load has just hashed what it has written, and a stream raises an error at its end
        # if it has unexpected content.
        hashed = expected is not None and (not isinstance(source, Path) or self._content.is_fresh(expected))
        return await unpack(source, target, format=format, expected=expected, size=size, hashed=hashed)

    async def _hides_links(self, key: str, below: Layer, unpacked: Unpacked) -> bool:
        """Give directories that are missing in the tar the metadata they have below.

        Returns whether one of them is something else there, usually a symbolic link (`bin/x` on top of a `bin` that
        leads to `usr/bin`): such a layer must be unpacked through it.
        """
        if not unpacked.implicit_dirs:
            return False
        target = await in_thread(self._storage.detached_dir, key)
        async with self._view(below.chain_id) as lower:
            return bool(await in_thread(adopt_parents, target, unpacked.implicit_dirs, [lower]))

    @asynccontextmanager
    async def _downloading(self, wanted: Wanted, report: Report) -> AsyncIterator[None]:
        if self._downloads.locked():
            report(step(wanted.id, "Waiting"))
        async with self._downloads:
            yield

    @asynccontextmanager
    async def _snapshot(self, parent: str | None) -> AsyncIterator[str]:
        """The key of a new snapshot, which is removed at the end of the context unless it was committed."""
        key = self._new_key()
        try:
            await in_thread(self._storage.prepare, key, parent)
            yield key
        finally:
            await self._discard_uncommitted(key)

    @asynccontextmanager
    async def _view(self, parent: str) -> AsyncIterator[Path]:
        key = self._new_key()
        try:
            mounts = await in_thread(self._storage.view, key, parent)
            async with _entered(mounted(mounts, self._state_dir)) as path:
                yield path
        finally:
            await self._discard(key)

    async def _commit(self, chain_id: str, key: str, parent: str | None = None) -> None:
        """Commit the snapshot as a layer.

        From here until the layer is recorded, there must be no other wait: a cancellation there would leave a
        snapshot without an owner, in the way of the next one.
        """
        await to_the_end(self._storage.commit, chain_id, key, parent=parent)
        self._keys.discard(key)

    async def _discard_uncommitted(self, key: str) -> None:
        if key in self._keys:
            await self._discard(key)

    def _new_key(self) -> str:
        key = KEY_PREFIX + secrets.token_hex(16)
        self._keys.add(key)
        return key

    async def _discard(self, key: str) -> None:
        self._left.add(key)  # until it is known to be gone, which a cancelled caller does not learn
        try:
            await in_thread(self._storage.remove, key)
        except NotFound:
            pass
        except SystemFailure as error:
            # Usually on a full disk, where it succeeds as soon as others have given up too.
            _log.warning("snapshot %s can't be removed now: %s", key, error)
            return
        finally:
            self._keys.discard(key)
        self._left.discard(key)


class NewLayer:
    """A layer that is unpacked but not committed; `commit_snapshot` is called with its chain ID and key."""

    def __init__(
        self,
        key: str,
        stream: BlobStream,
        unpacked: Unpacked,
        parent: Digest | None,
        commit_snapshot: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._key = key
        self._stream = stream
        self._size_bytes = unpacked.size_bytes
        self._parent = parent
        self._commit_snapshot = commit_snapshot
        self._diff_id = unpacked.diff_id
        self.chain_id = chain_id_on(parent, unpacked.diff_id)
        self.blob = stream.digest

    async def commit(self) -> Layer:
        """Commit it."""
        await self._stream.commit()
        await self._commit_snapshot(self.chain_id, self._key)
        return Layer(self.chain_id, self._diff_id, self._parent, self._size_bytes, self.blob, self._stream.size_bytes)


async def _told(stream: BlobStream, wanted: Wanted, report: Report) -> AsyncIterator[bytes]:
    """The chunks of `stream`; after the last one, reports the next steps."""
    async for chunk in stream.chunks():
        yield chunk
    report(step(wanted.id, "Verifying Checksum"))
    stream.verify(wanted.blob, wanted.blob_bytes)
    report(step(wanted.id, "Download complete"))
    report(step(wanted.id, "Extracting", wanted.blob_bytes, wanted.blob_bytes))


def _check_diff_id(unpacked: Unpacked, wanted: Wanted) -> None:
    if unpacked.diff_id != wanted.diff_id:
        raise DataLoss("layers from manifest don't match image configuration")


@asynccontextmanager
async def _entered(context: AbstractContextManager[Path]) -> AsyncIterator[Path]:
    """Enter and leave `context` in threads, as mounting and unmounting may take a while."""
    undo = ExitStack()
    try:
        yield await in_thread(undo.enter_context, context)
    finally:
        await in_thread(undo.close)


def _layer(chain_id: Digest, below: Layer | None, wanted: Wanted, unpacked: Unpacked) -> Layer:
    return Layer(
        chain_id=chain_id,
        diff_id=wanted.diff_id,
        parent=below.chain_id if below else None,
        size_bytes=unpacked.size_bytes,
        blob=wanted.blob,
        blob_bytes=wanted.blob_bytes,
        media_type=wanted.media_type,
    )
