"""Slots limit how many jobs run at once and how many more may wait; a job that only waits can lend its slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from sampan.errdefs import Unavailable


@dataclass(frozen=True)
class Limits:
    """At most `running` jobs have a slot, and `queued` more may wait for one; further jobs are refused."""

    running: int = 64
    queued: int = 256


class Slots:
    """The slots of one engine."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free = asyncio.Semaphore(limits.running)
        self._admitted = 0

    def admit(self) -> None:
        """Admit one more job. Raises `Unavailable` if the maximum number are running or queued."""
        if self._admitted >= self._limits.running + self._limits.queued:
            raise Unavailable(f"the engine is busy: {self._admitted} jobs are running or queued")
        self._admitted += 1

    def leave(self) -> None:
        """Called when an admitted job has ended."""
        self._admitted -= 1

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Wait for a free slot, and hold it within the context."""
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
        """Within the context, other jobs may use the slot, and its owner doesn't count as admitted."""
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
    """The slot of one job, which may be lent to others."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.held = False


_current: ContextVar[_Slot | None] = ContextVar("slot", default=None)


@asynccontextmanager
async def idle() -> AsyncIterator[None]:
    """Within the context, the current job only waits, and others may use its slot. Without a job it has no effect.

    Must not be entered while holding something that those others may wait for.
    """
    slot = _current.get()
    if slot is None or not slot.held:
        yield
        return
    async with slot.slots.lend(slot):
        yield
