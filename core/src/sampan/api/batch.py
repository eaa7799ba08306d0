"""Combines small pieces of data into large sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_FULL = 128 * 1024


class Batch:
    """Pieces written in one iteration of the event loop, or while a send is in progress, are sent together.

    `write` returns immediately until a batch is full, then waits for the receiver. An error of a send is raised by
    the next `write` or `close`.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._send = send
        self._pieces: list[bytes] = []
        self._size = 0
        self._task: asyncio.Task[None] | None = None

    async def write(self, *pieces: bytes) -> None:
        """Queue `pieces` to be sent."""
        if self._task is None or self._task.done():
            self._raise_error()
            self._task = asyncio.create_task(self._run(), name="batch")
        self._pieces += pieces
        self._size += sum(map(len, pieces))
        while self._size >= _FULL:
            await asyncio.shield(self._task)

    async def close(self) -> None:
        """Wait until everything is sent."""
        if self._task:
            await self._task

    def cancel(self) -> None:
        """Stop sending."""
        if self._task:
            self._task.cancel()

    async def _run(self) -> None:
        while self._pieces:
            content = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            await self._send(content)

    def _raise_error(self) -> None:
        if self._task and not self._task.cancelled() and (error := self._task.exception()):
            raise error
