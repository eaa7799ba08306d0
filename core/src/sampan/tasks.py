"""Waiting for work that must not be left half done, whoever is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

ParametersT = ParamSpec("ParametersT")
ResultT = TypeVar("ResultT")


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel `tasks` and return when each has ended."""
    for task in tasks:
        task.cancel()
    await settled(*tasks)


async def settled(*tasks: asyncio.Future[Any]) -> None:
    """Return when all `tasks` have ended, however; a cancellation of the caller is raised only then."""
    cancelled: asyncio.CancelledError | None = None
    while running := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # whoever awaits the task sees it; asyncio need not complain that nobody did
    if cancelled is not None:
        raise cancelled


async def in_thread(
    function: Callable[ParametersT, ResultT], *args: ParametersT.args, **kwargs: ParametersT.kwargs
) -> ResultT:
    """As `asyncio.to_thread`, but a cancellation is raised only when the thread has ended: no deed is half done.

    For what the caller then undoes, or leaves to be thrown away.
    """
    deed = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    await settled(deed)
    return deed.result()


async def to_the_end(
    function: Callable[ParametersT, ResultT], *args: ParametersT.args, **kwargs: ParametersT.kwargs
) -> ResultT:
    """As `in_thread`, but a cancellation meanwhile is forgotten.

    For the last step of all, after which nothing can be undone: what the caller does next belongs to it.
    """
    deed = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    with contextlib.suppress(asyncio.CancelledError):
        await settled(deed)
    return deed.result()
