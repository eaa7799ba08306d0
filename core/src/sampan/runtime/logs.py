"""Reading the log that conmon writes (its `k8s-file` format).

A line is `2026-11-23T22:46:12.180698579+00:00 stdout F words`: time (conmon is started with TZ=UTC), stream, and `F`
for a full line or `P` for a piece of one that goes on in the stream's next line (conmon src/ctr_logging.c). All but
the words has a fixed width, so lines are taken apart by column: 200,000 of them must not take long. At its
greatest size the log is begun anew in another file of the same name; what was in the old one is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sampan.runtime.inotify import watch
from sampan.runtime.interface import STDERR, STDOUT

Batch: TypeAlias = list[tuple[int, bytes]]
"""Lines in order, each with its stream; whole ones end in a newline."""

_CHUNK_BYTES = 256 << 10
_STAMP = slice(0, 29)  # to the nanosecond, without the zone
_STREAM = slice(36, 42)
_FLAG = slice(43, 44)
_WORDS = 45
_FULL = b"F"
_STREAMS = {b"stdout": STDOUT, b"stderr": STDERR}


@dataclass(frozen=True)
class LogQuery:
    """What of a log is wanted. `tail` counts lines of both streams, before any other choice; `None` is all.

    Times are nanoseconds since the epoch, both ends included. `timestamps` puts Docker's before each line.
    """

    stdout: bool = True
    stderr: bool = True
    tail: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    timestamps: bool = False


async def read(path: Path, query: LogQuery, *, ended: Awaitable[object] | None = None) -> AsyncIterator[Batch]:
    """Yield what is in the log now; with `ended`, follow it until that is done and the log is read to its end.

    A log that is not there is empty. Following stops at `until_ns` as well. `ended` is this reader's own: it is
    cancelled when the reader goes. May be cancelled at any point.
    """
    lines = _Lines(query)
    with _LogFile(path) as file:
        if query.tail is not None:
            await asyncio.to_thread(file.seek_tail, query.tail)
        if ended is None:
            async for batch in _rest(file, lines):
                yield batch
            return
        async for batch in _follow(file, lines, ended):
            yield batch


async def _rest(file: _LogFile, lines: _Lines) -> AsyncIterator[Batch]:
    while not lines.past_end and (content := await asyncio.to_thread(file.read)):
        if batch := lines.take(content):
            yield batch


async def _follow(file: _LogFile, lines: _Lines, ended: Awaitable[object]) -> AsyncIterator[Batch]:
    with watch(file.path.parent) as changes, _task(ended) as end, _deadline(lines.query.until_ns) as late:
        while True:
            # Looked at before reading: what the container said until it ended is in the log by then.
            over = end.done() or late.done()
            async for batch in _rest(file, lines):
                yield batch
            if over or lines.past_end:
                return
            with _task(changes.wait()) as changed:
                await asyncio.wait((changed, end, late), return_when=asyncio.FIRST_COMPLETED)


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


class _LogFile:
    """The log's bytes from one place on, through its renewals."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def __enter__(self) -> _LogFile:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self) -> bytes:
        """The next bytes; b"" at the end, for now."""
        if self._fd is None:
            self._open()
        while self._fd is not None:
            # Looked at before reading: nothing is written to a file once another one has taken its place.
            renewed = self._renewed()
            if content := os.read(self._fd, _CHUNK_BYTES):
                return content
            if not renewed:
                break
            self._close()
            self._open()
        return b""

    def seek_tail(self, count: int) -> None:
        """Go to the beginning of the last `count` lines, reading from the end."""
        if self._fd is not None:
            os.lseek(self._fd, _tail_offset(self._fd, count), os.SEEK_SET)

    def _renewed(self) -> bool:
        assert self._fd is not None  # noqa: S101 for the type checker
        here = os.fstat(self._fd)
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        return (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino)

    def _open(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _tail_offset(fd: int, count: int) -> int:
    """Where the last `count` lines begin. Pieces belong to the full line after them; pieces at the end are one."""
    position = size = os.lseek(fd, 0, os.SEEK_END)
    if count <= 0:
        return size
    seen = 0
    carry = b""  # the beginning of a line whose start is in the block before
    while position > 0:
        start = max(0, position - _CHUNK_BYTES)
        block = os.pread(fd, position - start, start) + carry
        lines = block.split(b"\n")
        end = start + len(block)
        for line in reversed(lines[1:]):
            if line:
                at_end = end == size or end == size - 1
                seen += line[_FLAG] == _FULL or at_end
                if seen > count:
                    return end + 1
            end -= len(line) + 1
        carry, position = lines[0], start
    seen += carry[_FLAG] == _FULL
    return len(carry) + 1 if seen > count else 0


class _Lines:
    """Takes chunks of a log apart into the lines that are asked for."""

    def __init__(self, query: LogQuery) -> None:
        self.query = query
        self.past_end = False
        self._torn = b""
        self._inside_line: set[int] = set()
        self._since = _stamp(query.since_ns) if query.since_ns is not None else b""
        self._until = _stamp(query.until_ns) if query.until_ns is not None else None
        wanted = {STDOUT: query.stdout, STDERR: query.stderr}
        self._streams = {name: stream for name, stream in _STREAMS.items() if wanted[stream]}

    def take(self, content: bytes) -> Batch:
        """The lines that end in `content`."""
        *whole, self._torn = (self._torn + content).split(b"\n")
        if self._since or self._until:
            whole = list(self._in_time(whole))
        return self._with_stamps(whole) if self.query.timestamps else self._plain(whole)

    def _plain(self, lines: list[bytes]) -> Batch:
        streams = self._streams
        return [
            (streams[name], line[_WORDS:] + b"\n" if line[_FLAG] == _FULL else line[_WORDS:])
            for line in lines
            if (name := line[_STREAM]) in streams
        ]

    def _with_stamps(self, lines: list[bytes]) -> Batch:
        """As `_plain`, with the time before each line that begins; Docker's has a Z for the zone."""
        batch: Batch = []
        for line in lines:
            stream = self._streams.get(line[_STREAM])
            if stream is None:
                continue
            head = b"" if stream in self._inside_line else line[_STAMP] + b"Z "
            if line[_FLAG] == _FULL:
                self._inside_line.discard(stream)
                batch.append((stream, head + line[_WORDS:] + b"\n"))
            else:
                self._inside_line.add(stream)
                batch.append((stream, head + line[_WORDS:]))
        return batch

    def _in_time(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Stamps of one length and zone compare as bytes."""
        for line in lines:
            stamp = line[_STAMP]
            if self._until is not None and stamp > self._until:
                self.past_end = True
                return
            if stamp >= self._since:
                yield line


def _stamp(at_ns: int) -> bytes:
    seconds, nanoseconds = divmod(max(0, at_ns), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}".encode()
