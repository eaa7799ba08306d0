"""What may not be thrown away just now, though no image has it yet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sampan.digest import Digest


class Leases:
    """Counts who holds which blob or layer.

    `lock` is held while something is thrown away, and while something is leased: so what a lease's holder then finds
    there, stays.
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
    """What one holder holds."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.digests: list[Digest] = []

    async def add(self, *digests: Digest) -> None:
        """Hold `digests` too."""
        async with self._leases.lock:
            for digest in digests:
                self._leases._hold(digest)
                self.digests.append(digest)
