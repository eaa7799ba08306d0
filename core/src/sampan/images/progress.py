"""Progress items of a pull or load, in Docker's form (moby daemon/internal/progress, streamformatter)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from sampan.digest import Digest
from sampan.tasks import end

Progress: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
"""Receives one item: `{"status": …, "id": …, "progressDetail": {…}}` or `{"stream": …}`."""

Report: TypeAlias = Callable[[dict[str, Any]], None]
"""Receives one item without waiting; for work shared by several callers."""

_INTERVAL_S = 0.1
ResultT = TypeVar("ResultT")


def short(digest: Digest) -> str:
    """The digest as shown to users: its first 12 digits."""
    return digest.hex[:12]


def message(text: str, id: str | None = None) -> dict[str, Any]:
    """A message about the whole operation or (with `id`) about a tag."""
    return {"status": text, "id": id} if id else {"status": text}


def step(id: str, action: str, current_bytes: int = 0, total_bytes: int = 0) -> dict[str, Any]:
    """The current step of layer `id` (of the whole, if it is empty)."""
    detail = {name: count for name, count in (("current", current_bytes), ("total", total_bytes)) if count}
    return {"status": action, "progressDetail": detail, **({"id": id} if id else {})}


class Throttle:
    """Lets an item of a fast stream pass ten times a second."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def ready(self) -> bool:
        """Whether enough time has passed since the last one."""
        now = time.monotonic()
        if now < self._next_s:
            return False
        self._next_s = now + _INTERVAL_S
        return True


async def relay(progress: Progress, work: Callable[[Report], Awaitable[ResultT]]) -> ResultT:
    """Run `work`, passing on its reports; all of them have been passed on when this returns.

    If `progress` fails (the client is gone), the work is cancelled and that failure raised.
    """
    items: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def pass_on() -> None:
        while (item := await items.get()) is not None:
            await progress(item)

    passing = asyncio.ensure_future(pass_on())
    working = asyncio.ensure_future(work(items.put_nowait))
    try:
        await asyncio.wait({passing, working}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await passing  # it has failed: without the `None` below it never ends otherwise
        items.put_nowait(None)
        await passing
        return working.result()
    finally:
        await end(working, passing)
