"""Locks by key, so that two changes of one container run one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from sampan.engine.slots import idle


class Serial:
    """One fair lock for each key in use. A key that nobody holds or awaits takes no memory."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold `key` exclusively. Not reentrant.

        A job that waits for it is idle, so that many jobs waiting for one container don't block the others.
        """
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._users[key] = self._users.get(key, 0) + 1
        is_mine = False
        try:
            async with idle() if lock.locked() else nullcontext():
                is_mine = await lock.acquire()
            yield
        finally:
            if is_mine:
                lock.release()
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]

    def __len__(self) -> int:
        """How many keys are held or awaited."""
        return len(self._locks)
