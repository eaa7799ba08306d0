"""Reads the tar of an archive into the content store.

A compressed one is decompressed by a confined process. Every file of it becomes a blob under its digest. Its names
are keys of a dictionary here and never anything else: no path of an archive is ever a path of the host.
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
    """A file of an archive, kept as a blob."""

    digest: Digest
    size_bytes: int


class Follower(Protocol):
    """Hears of the files of an archive as they are read."""

    async def begins(self, path: Path, size_bytes: int) -> GrowingBlob | None:
        """A file of `size_bytes` is about to be written to `path`. A blob that is answered hears of its growth."""

    async def ends(self, member: Member, blob: GrowingBlob | None) -> None:
        """A file is complete; `blob` is what `begins` answered for it."""


class Bulk(Protocol):
    """Most of a body, for a thread to read by itself; what is behind it comes the usual way."""

    async def beginning(self, count: int) -> bytes:
        """The first `count` bytes, which stay to be read; fewer if that can't be told."""

    def blocks(self) -> AbstractContextManager[Iterator[bytes]]:
        """For a thread that has ended before the context does."""

    def stop(self) -> None:
        """Have the thread wait no longer."""


@runtime_checkable
class BulkSource(Protocol):
    """A body that may be read in bulk."""

    @property
    def bulk(self) -> Bulk | None:
        """`None` if this one can't be."""


class Archive:
    """The members of an archive by name."""

    def __init__(self, content: ContentStore) -> None:
        self._content = content
        self._members: dict[str, Member] = {}
        self._links: dict[str, str] = {}

    def find(self, path: str) -> Member | None:
        """The file that `path` names, through links within the archive."""
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
        """Know one entry of the tar."""
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
    """Read all of `body`, compressed or not; `lease` holds every blob, and `follower` is told of each.

    Raises `DataLoss` if it is cut off or broken, `InvalidArgument` if it is no tar, or a bomb, `SystemFailure` if the
    disk is full.
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
    """What `body` says, decompressed, for a thread."""
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
    """Let the unpackers go first. If this thread is ahead of them, the last of them works on alone in the end, while
    the other processors have nothing to do. It is the thread's own: on Linux priorities are (setpriority(2))."""
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + _NICER)


class _Bridge:
    """Lets a thread wait for coroutines of the loop, until it is closed. `stops` ends what else it may wait for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.stops: Callable[[], None] | None = None
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: Future[Any] | None = None
        self._closed = False

    def call(self, coroutine: Coroutine[Any, Any, AnswerT]) -> AnswerT:
        """The coroutine's answer; for the thread. Raises `DataLoss` once the bridge is closed."""
        with self._lock:  # else the loop could close it when the coroutine runs already, and nobody knows of it yet
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
        """End what the thread waits for; for the loop."""
        with self._lock:
            self._closed = True
        if self._waiting is not None:
            self._waiting.cancel()
        if self.stops is not None:
            self.stops()


@dataclass(frozen=True)
class _Keeper:
    """Makes blobs of an archive's files; for the thread."""

    bridge: _Bridge
    content: ContentStore
    lease: Lease
    follower: Follower

    def keep(self, reader: TarReader, header: Header) -> Member:
        """The file that `reader` stands at."""
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
