"""Work shared by several callers, which ends when the last of them has left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Generic, TypeVar

from sampan.images.progress import Report

ResultT = TypeVar("ResultT")


class Flight(Generic[ResultT]):
    """A piece of shared work, and its watchers; a watcher that comes later first gets the last report."""

    def __init__(self) -> None:
        self._watchers: list[Report] = []
        self._last: dict[str, Any] | None = None
        self.task: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()

    @classmethod
    def landed(cls, result: ResultT) -> Flight[ResultT]:
        """A flight that is already complete."""
        flight = cls()
        flight.task.set_result(result)
        return flight

    def start(self, work: Coroutine[Any, Any, ResultT]) -> None:
        """Start the work."""
        self.task = asyncio.ensure_future(work)

    @property
    def is_watched(self) -> bool:
        """Whether anybody still watches it."""
        return bool(self._watchers)

    def watch(self, watcher: Report) -> None:
        """Report to `watcher` from now on."""
        self._watchers.append(watcher)
        if self._last is not None:
            watcher(self._last)

    def unwatch(self, watcher: Report) -> None:
        """Stop reporting to `watcher`."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def report(self, item: dict[str, Any]) -> None:
        """Report to all watchers."""
        self._last = item
        for watcher in self._watchers:
            watcher(item)

    async def landing(self) -> ResultT:
        """The result; if the caller is cancelled, the work continues."""
        return await asyncio.shield(self.task)


async def all_landed(flights: Sequence[Flight[ResultT]]) -> list[ResultT]:
    """All results. Raises the first error as soon as there is one."""
    if not flights:
        return []
    await asyncio.wait([flight.task for flight in flights], return_when=asyncio.FIRST_EXCEPTION)
    for flight in flights:
        if flight.task.done():
            flight.task.result()
    return [flight.task.result() for flight in flights]
