"""Slots: how many jobs work at once, how many more may wait, and how a job that only waits lets others work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from sampan.errdefs import Unavailable


@dataclass(frozen=True)
class Limits:
    """`running` jobs have a slot at once, `queued` more may wait for one; the next is refused."""

    running: int = 64
    queued: int = 256


class Slots:
    """The slots of one engine."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free = asyncio.Semaphore(limits.running)
        self._admitted = 0

    def admit(self) -> None:
        """Let one more job in. Raises `Unavailable` when as many as may be are working or queued."""
        if self._admitted >= self._limits.running + self._limits.queued:
            raise Unavailable(f"the engine is busy: {self._admitted} jobs are running or queued")
        self._admitted += 1

    def leave(self) -> None:
        """A job that was admitted has ended."""
        self._admitted -= 1

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Hold a slot, as soon as one is free."""
        slot = _Slot(self)
        await self._free.acquire()
        slot.held = True
        token = _current.set(slot)
        try:
            yield
        finally:
            _current.reset(token)
            if slot.held:
                slot.held = False
                self._free.release()

    @asynccontextmanager
    async def lend(self, slot: _Slot) -> AsyncIterator[None]:
        """Within this, others may have the slot, and whoever holds it counts for nothing."""
        slot.held = False
        self._free.release()
        self._admitted -= 1
        try:
            yield
        finally:
            self._admitted += 1
            await self._free.acquire()
            slot.held = True


class _Slot:
    """A job's own, lent to others or not."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.held = False


_current: ContextVar[_Slot | None] = ContextVar("slot", default=None)


@asynccontextmanager
async def idle() -> AsyncIterator[None]:
    """Within this, the job that runs only waits, and others may have its slot; without a job it changes nothing.

    It must not be begun while something is held that those others may wait for.
    """
    slot = _current.get()
    if slot is None or not slot.held:
        yield
        return
    async with slot.slots.lend(slot):
        yield
