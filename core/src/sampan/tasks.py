"""Waiting for work that must be completed even if the caller is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

ParametersT = ParamSpec("ParametersT")
ResultT = TypeVar("ResultT")


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel `tasks` and wait until all have ended."""
    for task in tasks:
        task.cancel()
    await settled(*tasks)


async def settled(*tasks: asyncio.Future[Any]) -> None:
    """Wait until all `tasks` have ended, with any outcome; a cancellation of the caller is raised only then."""
    cancelled: asyncio.CancelledError | None = None
    while running := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # marked as retrieved, so asyncio doesn't log it; whoever awaits the task sees it
    if cancelled is not None:
        raise cancelled


async def in_thread(
    function: Callable[ParametersT, ResultT], *args: ParametersT.args, **kwargs: ParametersT.kwargs
) -> ResultT:
    """Like `asyncio.to_thread`, but a cancellation is raised only when the function has returned.

    For work whose result the caller then undoes or discards.
    """
    deed = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    await settled(deed)
    return deed.result()


async def to_the_end(
    function: Callable[ParametersT, ResultT], *args: ParametersT.args, **kwargs: ParametersT.kwargs
) -> ResultT:
    """Like `in_thread`, but a cancellation in the meantime is ignored.

    For a final step that can't be undone: what the caller does next is part of it.
    """
    deed = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    with contextlib.suppress(asyncio.CancelledError):
        await settled(deed)
    return deed.result()
