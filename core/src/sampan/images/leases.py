"""Protects content from removal while no image uses it yet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sampan.digest import Digest


class Leases:
    """Counts the holders of each blob and layer.

    `lock` is held during removals and while something is leased: so what a lease's holder finds afterwards, stays.
    """

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self._held: Counter[str] = Counter()

    def __contains__(self, digest: str) -> bool:
        return self._held[digest] > 0

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Lease]:
        """A lease, empty at first, that ends with the context."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            self._held.subtract(lease.digests)
            self._held += Counter()  # drops the zeros

    def _hold(self, digest: Digest) -> None:
        self._held[digest] += 1


class Lease:
    """What one holder has leased."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.digests: list[Digest] = []

    async def add(self, *digests: Digest) -> None:
        """Lease `digests` too."""
        async with self._leases.lock:
            for digest in digests:
                self._leases._hold(digest)
                self.digests.append(digest)
