"""Layers of an archive that are unpacked while the rest of it is still read.

Which of its files are layers, and on top of what, an archive says at its end only. A layer can be unpacked without
knowing the latter, and what is large is a layer, as good as always.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType

from sampan.digest import Digest
from sampan.errdefs import SampanError
from sampan.images.layer.unpack import Unpacked
from sampan.tasks import end

Filled = tuple[str, Unpacked]
"""The key of a snapshot, and what was unpacked into it."""


class Ahead:
    """At most `at_most` blobs that are being unpacked; a context, at whose end those that nobody took are removed.

    `fill` unpacks a blob of so many bytes into a new snapshot, and leaves nothing if it fails; `discard` removes the
    snapshot of a key.
    """

    def __init__(
        self,
        fill: Callable[[Digest, int], Awaitable[Filled]],
        discard: Callable[[str], Awaitable[None]],
        *,
        at_most: int,
    ) -> None:
        self._fill = fill
        self._discard = discard
        self._at_most = at_most
        self._begun: dict[Digest, asyncio.Future[Filled]] = {}

    def begin(self, blob: Digest, blob_bytes: int) -> None:
        """Unpack `blob`, which is here, in a task, unless that was begun already or too many were."""
        if blob not in self._begun and len(self._begun) < self._at_most:
            self._begun[blob] = asyncio.ensure_future(self._fill(blob, blob_bytes))

    def __contains__(self, blob: Digest) -> bool:
        return blob in self._begun

    async def take(self, blob: Digest) -> Filled | None:
        """The snapshot with `blob` unpacked, which is the caller's from now on.

        `None` if there is none or it could not be unpacked: who tries again is told why.
        """
        filling = self._begun.get(blob)
        if filling is None:
            return None
        await asyncio.wait((filling,))  # who is cancelled meanwhile has taken nothing
        if self._begun.pop(blob, None) is None:  # somebody else has
            return None
        with suppress(SampanError):
            return filling.result()
        return None

    async def __aenter__(self) -> Ahead:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left, self._begun = list(self._begun.values()), {}
        try:
            await end(*left)
        finally:
            for filling in left:
                if not filling.cancelled() and filling.exception() is None:
                    await self._discard(filling.result()[0])
