"""A blob on its way: each byte goes to the content store and to the unpacker as it comes in, and is read once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType

from sampan.digest import Digest
from sampan.errdefs import DataLoss
from sampan.images.content import ContentStore
from sampan.images.tasks import settled

_BATCH_BYTES = 1 << 20


class BlobStream:
    """Writes what `source` yields to `content`; a context, at whose end an uncommitted blob is thrown away."""

    def __init__(self, content: ContentStore, source: AsyncIterator[bytes], algorithm: str = "sha256") -> None:
        self._ingest = content.ingest(algorithm)
        self._batches = batches(source)
        self._writing: asyncio.Future[None] | None = None

    @property
    def size_bytes(self) -> int:
        """How much has been written."""
        return self._ingest.size_bytes

    @property
    def digest(self) -> Digest:
        """The digest of what has been written; call it when nothing is being written."""
        return self._ingest.digest

    async def chunks(self) -> AsyncIterator[bytes]:
        """The blob in large pieces, each written to the disk while the caller works on it."""
        async for batch in self._batches:
            self._writing = asyncio.ensure_future(asyncio.to_thread(self._ingest.write, batch))
            yield batch
            await self._written()

    def verify(self, expected: Digest, size_bytes: int) -> None:
        """Raises `DataLoss` if what came is not the blob `expected`."""
        if self.size_bytes != size_bytes or self._ingest.digest != expected:
            raise DataLoss(f"filesystem layer verification failed for digest {expected}")

    async def commit(self, expected: Digest | None = None) -> Digest:
        """Keep the blob, and answer its digest. Raises `DataLoss` if it is not `expected`."""
        await self._written()
        return await asyncio.to_thread(self._ingest.commit, expected)

    async def __aenter__(self) -> BlobStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writing is not None:
                await settled(self._writing)
            await self._batches.aclose()
        finally:
            self._ingest.close()

    async def _written(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await settled(writing)
            writing.result()


async def batches(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """What `source` yields, in pieces of about a megabyte: less often from thread to thread. Closes `source`."""
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
