"""Reads the tar of an archive into the content store.

A compressed archive is decompressed by a confined process. Each file in it becomes a blob under its digest. File
names are used only as keys of a dictionary: no path of an archive is ever a path of the host.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing, asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from sampan.digest import Digest
from sampan.errdefs import DataLoss, InvalidArgument, NotFound
from sampan.images.blob_stream import batches
from sampan.images.content import ContentStore
from sampan.images.layer.decompress import MAGIC_BYTES, compression_of
from sampan.images.layer.expand import expanded
from sampan.images.layer.growing import GrowingBlob
from sampan.images.layer.limits import Limits
from sampan.images.layer.tar import LINK, REGULAR, SYMLINK, Header, TarReader
from sampan.images.leases import Lease
from sampan.tasks import settled

_ENTRIES_MAX = 100_000
_LINKS_MAX = 16
_NICER = 5
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True)
class Member:
    """A file of an archive, stored as a blob."""

    digest: Digest
    size_bytes: int


class Follower(Protocol):
    """Is told about the files of an archive as they are read."""

    async def begins(self, path: Path, size_bytes: int) -> GrowingBlob | None:
        """A file of `size_bytes` is about to be written to `path`.

        A blob that is returned is told about its growth.
        """

    async def ends(self, member: Member, blob: GrowingBlob | None) -> None:
        """A file is complete; `blob` is what `begins` returned for it."""


class Bulk(Protocol):
    """Most of a body, which a thread can read by itself; the rest comes the usual way."""

    async def beginning(self, count: int) -> bytes:
        """The first `count` bytes, without consuming them; fewer if that is not possible."""

    def blocks(self) -> AbstractContextManager[Iterator[bytes]]:
        """The blocks, for a thread that ends before the context does."""

    def stop(self) -> None:
        """Stop the thread's waiting."""


@runtime_checkable
class BulkSource(Protocol):
    """A body that may support bulk reading."""

    @property
    def bulk(self) -> Bulk | None:
        """`None` if this body does not support it."""


class Archive:
    """The members of an archive, by name."""

    def __init__(self, content: ContentStore) -> None:
        self._content = content
        self._members: dict[str, Member] = {}
        self._links: dict[str, str] = {}

    def find(self, path: str) -> Member | None:
        """The file at `path`, following links within the archive."""
        name = _normal(path)
        for _ in range(_LINKS_MAX):
            if name in self._members:
                return self._members[name]
            if name not in self._links:
                return None
            name = self._links[name]
        return None

    def get(self, path: str) -> Member:
        """As `find`. Raises `NotFound`."""
        member = self.find(path)
        if member is None:
            raise NotFound(f"invalid archive: there is no {path[:200]!r} in it")
        return member

    def read(self, path: str, limit: int) -> bytes:
        """The content of a small file. Raises `NotFound`, or `InvalidArgument` if it is larger than `limit` bytes."""
        member = self.get(path)
        if member.size_bytes > limit:
            raise InvalidArgument(f"invalid archive: {path[:200]!r} is larger than {limit} bytes")
        return self._content.read(member.digest, limit)

    def add(self, header: Header, member: Member | None) -> None:
        """Record one entry of the tar."""
        name = _normal(header.name.decode(errors="surrogateescape"))
        self._members.pop(name, None)
        self._links.pop(name, None)
        if member is not None:
            self._members[name] = member
        elif header.kind in (LINK, SYMLINK):
            target = header.linkname.decode(errors="surrogateescape")
            base = posixpath.dirname(name) if header.kind == SYMLINK else "/"
            self._links[name] = _normal(posixpath.join(base, target))


async def read_archive(
    body: AsyncIterator[bytes], content: ContentStore, lease: Lease, follower: Follower
) -> Archive:
    """Read all of `body`, compressed or not; `lease` holds every blob, and `follower` is told about each.

    Raises `DataLoss` if it is truncated or corrupt, `InvalidArgument` if it is not a tar, or a decompression bomb,
    `SystemFailure` if the disk is full.
    """
    loop = asyncio.get_running_loop()
    bridge = _Bridge(loop)
    limits = Limits(entries=_ENTRIES_MAX)
    async with _blocks_of(body, bridge, limits) as blocks:
        keeper = _Keeper(bridge, content, lease, follower)
        thread = ThreadPoolExecutor(1, "archive", _stand_back)
        reading = loop.run_in_executor(thread, copy_context().run, _read, keeper, blocks, limits)
        try:
            return await asyncio.shield(reading)
        finally:
            bridge.close()
            await settled(reading)
            thread.shutdown(wait=False)


@asynccontextmanager
async def _blocks_of(body: AsyncIterator[bytes], bridge: _Bridge, limits: Limits) -> AsyncIterator[Iterator[bytes]]:
    """The content of `body`, decompressed, for a thread."""
    bulk = body.bulk if isinstance(body, BulkSource) else None
    beginning = await bulk.beginning(MAGIC_BYTES) if bulk else b""
    if bulk and len(beginning) == MAGIC_BYTES and compression_of(beginning) is None:
        bridge.stops = bulk.stop
        with bulk.blocks() as blocks:
            yield chain(blocks, _chunks(bridge, body))
        return
    async with aclosing(batches(expanded(body, limits))) as chunks:
        yield _chunks(bridge, chunks)


def _stand_back() -> None:
    """Lower this thread's priority below that of the unpackers; on Linux, each thread has its own (setpriority(2)).

    If it ran ahead of them, the last of them would finish alone while other processors are idle.
    """
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + _NICER)


class _Bridge:
    """Lets a thread wait for coroutines of the event loop, until closed.

    `stops` ends any other waiting of the thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.stops: Callable[[], None] | None = None
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: Future[Any] | None = None
        self._closed = False

    def call(self, coroutine: Coroutine[Any, Any, AnswerT]) -> AnswerT:
        """Wait for the coroutine's result; for the thread. Raises `DataLoss` once the bridge is closed."""
        with self._lock:  # otherwise close() might miss a coroutine that has just been started
            if self._closed:
                coroutine.close()
                raise DataLoss("the archive broke off")
            waiting = self._waiting = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            answer: AnswerT = waiting.result()
        except CancelledError:
            raise DataLoss("the archive broke off") from None
        return answer

    def close(self) -> None:
        """End the thread's waiting; for the event loop."""
        with self._lock:
            self._closed = True
        if self._waiting is not None:
            self._waiting.cancel()
        if self.stops is not None:
            self.stops()


@dataclass(frozen=True)
class _Keeper:
    """Turns an archive's files into blobs; for the thread."""

    bridge: _Bridge
    content: ContentStore
    lease: Lease
    follower: Follower

    def keep(self, reader: TarReader, header: Header) -> Member:
        """Store the file that `reader` is positioned at."""
        if header.segments is not None:
            raise InvalidArgument("invalid archive: it holds a sparse file")
        with self.content.ingest() as ingest:
            blob = self.bridge.call(self.follower.begins(ingest.path, header.size))
            for piece in reader.stream.pieces(header.size):
                ingest.write(piece)
                reader.consumed(len(piece))
                if blob:
                    blob.grown(len(piece))
            self.bridge.call(self.lease.add(ingest.digest))
            member = Member(ingest.commit(), header.size)
        if blob:
            blob.ended()
        self.bridge.call(self.follower.ends(member, blob))
        return member


def _read(keeper: _Keeper, blocks: Iterator[bytes], limits: Limits) -> Archive:
    archive = Archive(keeper.content)
    reader = TarReader(blocks, limits)
    for header in reader:
        archive.add(header, keeper.keep(reader, header) if header.kind == REGULAR else None)
    return archive


def _chunks(bridge: _Bridge, body: AsyncIterator[bytes]) -> Iterator[bytes]:
    while chunk := bridge.call(_next(body)):
        yield chunk


async def _next(body: AsyncIterator[bytes]) -> bytes:
    return await anext(body, b"")


def _normal(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))
