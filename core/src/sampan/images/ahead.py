"""Unpacks layers of an archive while the rest of it is still being read.

An archive says only at its end which of its files are layers, and what they go on top of. A layer can be unpacked
without knowing the latter, and a large file is nearly always a layer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from sampan.digest import Digest
from sampan.errdefs import SampanError
from sampan.images.layer.growing import GrowingBlob
from sampan.images.layer.unpack import Unpacked
from sampan.tasks import end

_FOLLOWED_MAX = 2

Filled = tuple[str, Unpacked]
"""The key of a snapshot, and what was unpacked into it."""


class Blob(NamedTuple):
    """A blob in the content store."""

    digest: Digest
    size_bytes: int


class Ahead:
    """At most `at_most` blobs that are being unpacked. Those not taken are removed at the end of this context.

    `fill` unpacks a blob into a new snapshot, and leaves nothing behind if it fails; `discard` removes the snapshot
    of a key. `followed` are the blobs of all archives that are unpacked while being written: only a few, because a
    client that stalls keeps their processes waiting.
    """

    def __init__(
        self,
        fill: Callable[[Blob | GrowingBlob], Awaitable[Filled]],
        discard: Callable[[str], Awaitable[None]],
        *,
        at_most: int,
        followed: set[GrowingBlob],
    ) -> None:
        self._fill = fill
        self._discard = discard
        self._at_most = at_most
        self._followed = followed
        self._begun: dict[Digest, asyncio.Future[Filled]] = {}
        self._unnamed: dict[GrowingBlob, asyncio.Future[Filled]] = {}

    def begin(self, blob: Blob) -> None:
        """Unpack `blob` in a task, unless that has been started already or too many have."""
        if blob.digest not in self._begun and not self._is_full():
            self._begun[blob.digest] = asyncio.ensure_future(self._fill(blob))

    def follow(self, path: Path, size_bytes: int) -> GrowingBlob | None:
        """Unpack, in a task, the blob about to be written to the file `path`; `None` if too many were started.

        The writer reports the file's growth to the object returned, and then calls `name`.
        """
        if self._is_full() or len(self._followed) >= _FOLLOWED_MAX:
            return None
        blob = GrowingBlob(path, size_bytes)
        self._followed.add(blob)
        self._unnamed[blob] = filling = asyncio.ensure_future(self._fill(blob))
        filling.add_done_callback(lambda _: self._leave(blob))
        return blob

    def name(self, blob: GrowingBlob, digest: Digest) -> None:
        """Report that `blob` is complete and what its digest is, so that it can be taken."""
        self._followed.discard(blob)
        if not blob.digest.done():
            blob.digest.set_result(digest)
        if digest not in self._begun:
            self._begun[digest] = self._unnamed.pop(blob)

    def __contains__(self, blob: Digest) -> bool:
        return blob in self._begun

    async def take(self, blob: Digest) -> Filled | None:
        """The snapshot with `blob` unpacked, which belongs to the caller from now on.

        `None` if there is none or it could not be unpacked: whoever tries again gets the error.
        """
        filling = self._begun.get(blob)
        if filling is None:
            return None
        await asyncio.wait((filling,))  # a caller that is cancelled here has taken nothing
        if self._begun.pop(blob, None) is None:  # somebody else has taken it
            return None
        with suppress(SampanError):
            return filling.result()
        return None

    async def __aenter__(self) -> Ahead:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = [*self._begun.values(), *self._unnamed.values()]
        self._begun, self._unnamed = {}, {}
        try:
            await end(*left)
        finally:
            for filling in left:
                if not filling.cancelled() and filling.exception() is None:
                    await self._discard(filling.result()[0])

    def _leave(self, blob: GrowingBlob) -> None:
        blob.close()
        self._followed.discard(blob)

    def _is_full(self) -> bool:
        return len(self._begun) + len(self._unnamed) >= self._at_most
