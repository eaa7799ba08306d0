"""Parses conmon's log (its `k8s-file` format).

A line is `2026-11-23T22:46:12.180698579+00:00 stdout F words`: time (conmon is started with TZ=UTC), stream, and `F`
for a full line or `P` for a part that is continued in the stream's next line (conmon src/ctr_logging.c). All fields
but the last have a fixed width, so lines are parsed by column: 200,000 of them must not take long.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from sampan.runtime.interface import STDERR, STDOUT

Batch: TypeAlias = list[tuple[int, bytes]]
"""Output in order, each piece with its stream; complete lines end in a newline."""

_STAMP = slice(0, 29)  # to the nanosecond, without the zone
_STREAM = slice(36, 42)
_FLAG = slice(43, 44)
_WORDS = 45
_FULL = b"F"
_LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\+00:00 std(?:out|err) [FP] ")
_STREAMS = {b"stdout": STDOUT, b"stderr": STDERR}


@dataclass(frozen=True)
class LogQuery:
    """What is wanted of a log. `tail` counts lines of both streams, before other criteria; `None` means all.

    Times are nanoseconds since the epoch, inclusive. `timestamps` adds Docker's timestamp before each line, followed
    by `details`.
    """

    stdout: bool = True
    stderr: bool = True
    tail: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    timestamps: bool = False
    details: bytes = b""


class Lines:
    """Parses chunks of a log into the lines that are wanted."""

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
        """The output of the lines that end in `content`; consecutive lines of one stream are joined."""
        whole = (self._torn + content).split(b"\n")
        self._torn = whole.pop()
        if self._since or self._until:
            whole = list(self._in_time(whole))
        if self.query.timestamps or self.query.details:
            return [(stream, b"".join(self._with_heads(stream, lines))) for stream, lines in self._runs(whole)]
        return [(stream, _plain(lines)) for stream, lines in self._runs(whole)]

    def _runs(self, lines: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
        """Consecutive lines of one stream, if it is wanted."""
        for name, run in groupby(lines, key=_stream_of):
            if name in self._streams:
                yield self._streams[name], list(run)
            elif name not in _STREAMS:
                yield from self._runs([line for torn in run if (line := _without_torn(torn))])

    def _with_heads(self, stream: int, lines: list[bytes]) -> Iterator[bytes]:
        """The lines' text, each line prefixed by time, with Docker's zone Z, and details."""
        stamp, details = self.query.timestamps, self.query.details
        for line in lines:
            if stream not in self._inside_line:
                yield (line[_STAMP] + b"Z " if stamp else b"") + details
            yield line[_WORDS:]
            if line[_FLAG] == _FULL:
                self._inside_line.discard(stream)
                yield b"\n"
            else:
                self._inside_line.add(stream)

    def _in_time(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines in the time range. Stamps have equal length and zone, so they compare as bytes."""
        for line in lines:
            stamp = line[_STAMP]
            if self._until is not None and stamp > self._until:
                self.past_end = True
                return
            if stamp >= self._since:
                yield line


@dataclass(frozen=True)
class Piece:
    """The content of one line of a log: a whole line of output, or a part of one. `stamp` is RFC 3339 in UTC."""

    stamp: str
    stream: int
    words: bytes
    ends_line: bool


def piece_of(line: bytes) -> Piece | None:
    """Parse a line; `None` if it is invalid."""
    if _stream_of(line) not in _STREAMS:
        line = _without_torn(line)
        if not line:
            return None
    stamp = f"{line[_STAMP].decode()}Z"
    return Piece(stamp, _STREAMS[_stream_of(line)], line[_WORDS:], line[_FLAG] == _FULL)


def _stream_of(line: bytes) -> bytes:
    return line[_STREAM]


def _without_torn(line: bytes) -> bytes:
    """The line written right after a line that was cut off by a full disk; b"" if there is none."""
    begin = next((found.start() for found in _LINE.finditer(line)), None)
    return b"" if begin is None else line[begin:]


def _plain(lines: list[bytes]) -> bytes:
    return b"".join([line[_WORDS:] + b"\n" if line[_FLAG] == _FULL else line[_WORDS:] for line in lines])


def _stamp(at_ns: int) -> bytes:
    seconds, nanoseconds = divmod(max(0, at_ns), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}".encode()
