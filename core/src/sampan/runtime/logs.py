"""Reading a container's log: existing content, and new output."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Iterator

from sampan.runtime.inotify import Inotify
from sampan.runtime.log_files import LogFiles, LogReader
from sampan.runtime.log_lines import Batch, Lines, LogQuery
from sampan.runtime.log_tail import place_of_tail, place_of_time
from sampan.tasks import in_thread

_CHUNK_BYTES = 256 << 10


async def read(files: LogFiles, query: LogQuery) -> AsyncGenerator[Batch, None]:
    """Yield the log's current content. A missing log is empty. May be cancelled at any point."""
    lines = Lines(query)
    with LogReader(files) as reader:
        await in_thread(_seek, reader, query)
        async for batch in _rest(reader, lines):
            yield batch


async def follow(
    files: LogFiles, query: LogQuery, *, changes: Inotify, ended: Awaitable[object]
) -> AsyncGenerator[Batch, None]:
    """Yield the log's content, and new output until `ended` is done and the log is read to its end, or until a time.

    `ended` belongs to this reader: it is cancelled when the reader is closed. May be cancelled at any point.
    """
    lines = Lines(query)
    with (
        LogReader(files) as reader,
        changes.watch(files.path.parent) as changed,
        _task(ended) as end,
        _deadline(query.until_ns) as late,
    ):
        await in_thread(_seek, reader, query)
        while True:
            # Checked before reading: if it has ended, all its output is in the log by then.
            over = end.done() or late.done()
            async for batch in _rest(reader, lines):
                yield batch
            if over or lines.past_end:
                return
            with _task(changed.wait()) as more:
                await asyncio.wait((more, end, late), return_when=asyncio.FIRST_COMPLETED)


def _seek(reader: LogReader, query: LogQuery) -> None:
    place = None
    if query.tail is not None:
        place = place_of_tail(reader.files, query.tail)
    elif query.since_ns is not None:
        place = place_of_time(reader.files, query.since_ns)
    if place is not None:
        reader.go(*place)


async def _rest(reader: LogReader, lines: Lines) -> AsyncGenerator[Batch, None]:
    while not lines.past_end and (content := await in_thread(reader.read, _CHUNK_BYTES)):
        if batch := lines.take(content):
            yield batch


@contextlib.contextmanager
def _task(awaitable: Awaitable[object]) -> Iterator[asyncio.Future[object]]:
    task = asyncio.ensure_future(awaitable)
    try:
        yield task
    finally:
        task.cancel()


@contextlib.contextmanager
def _deadline(until_ns: int | None) -> Iterator[asyncio.Future[object]]:
    """A future that is done when that time has passed."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()
    timer = None
    if until_ns is not None:
        timer = loop.call_later(max(0.0, (until_ns - time.time_ns()) / 1e9), future.set_result, None)
    try:
        yield future
    finally:
        if timer is not None:
            timer.cancel()
