"""A blob in transit: each byte goes to the content store and to the unpacker as it arrives, and is read once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType

from sampan.digest import Digest
from sampan.errdefs import DataLoss
from sampan.images.content import Ingest
from sampan.images.interruption import may_go_on
from sampan.tasks import in_thread, settled

_BATCH_BYTES = 1 << 20


class BlobStream:
    """Writes what `source` yields to `ingest`; a context, at whose end an uncommitted blob is discarded.

    `source` is called with the offset of the first missing byte. An interrupted download is kept, to be continued.
    """

    def __init__(self, ingest: Ingest, source: Callable[[int], AsyncIterator[bytes]]) -> None:
        self._ingest = ingest
        self._source = source
        self._batches: AsyncGenerator[bytes, None] | None = None
        self._writing: asyncio.Future[None] | None = None

    @property
    def size_bytes(self) -> int:
        """The number of bytes written."""
        return self._ingest.size_bytes

    @property
    def digest(self) -> Digest:
        """The digest of what has been written; to be called while nothing is being written."""
        return self._ingest.digest

    async def chunks(self) -> AsyncIterator[bytes]:
        """The blob in large pieces, each written to disk while the caller processes it."""
        while batch := await in_thread(self._ingest.read_on, _BATCH_BYTES):
            yield batch
        self._batches = batches(self._source(self.size_bytes))
        async for batch in self._batches:
            self._writing = asyncio.ensure_future(asyncio.to_thread(self._ingest.write, batch))
            yield batch
            await self._written()

    def verify(self, expected: Digest, size_bytes: int) -> None:
        """Raise `DataLoss` if what was received is not the blob `expected`."""
        if self.size_bytes != size_bytes or self._ingest.digest != expected:
            raise DataLoss(f"filesystem layer verification failed for digest {expected}")

    async def commit(self, expected: Digest | None = None) -> Digest:
        """Keep the blob, and return its digest. Raises `DataLoss` if it is not `expected`."""
        await self._written()
        return await in_thread(self._ingest.commit, expected)

    async def __aenter__(self) -> BlobStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writing is not None:
                await settled(self._writing)
            if self._batches is not None:
                await self._batches.aclose()
        finally:
            self._ingest.close(keep=may_go_on(error))

    async def _written(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await settled(writing)
            writing.result()


async def batches(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """What `source` yields, in pieces of about a megabyte, to switch threads less often. Closes `source`."""
    parts: list[bytes] = []
    size = 0
    try:
        async for chunk in source:
            parts.append(chunk)
            size += len(chunk)
            if size >= _BATCH_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
        if parts:
            yield b"".join(parts)
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
