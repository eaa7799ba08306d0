"""Reads a container's log as messages for another logging system: line by line, and resuming where it stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from sampan.runtime.interface import STDERR, STDOUT
from sampan.runtime.log_files import LogReader
from sampan.runtime.log_lines import Piece, piece_of
from sampan.runtime.log_tail import Place

MOST_BYTES = 16 * 1024
"""The size of one message: a longer line is split (moby daemon/logger/copier.go, defaultBufSize)."""


@dataclass(frozen=True)
class Part:
    """The part of a long line that a message is: the line's ID, a number from 1, and whether it is the last."""

    id: str
    ordinal: int
    last: bool


@dataclass(frozen=True)
class Message:
    """A line of output, or part of a long one. `stamp` is the time when it began, RFC 3339 in UTC.

    `after` is where a later reader must start, so that it misses nothing that follows this message.
    """

    stamp: str
    stream: int
    words: bytes
    part: Part | None = None
    after: Place = field(default=(0, 0), compare=False)


@dataclass
class _Line:
    """A stream's unfinished line. `begin` is the place in the log of its first piece that was not returned yet."""

    stamp: str = ""
    begin: Place | None = None
    words: bytearray = field(default_factory=bytearray)
    part: Part | None = None


class LogMessages:
    """Reads messages from a log. Its methods may block."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._torn = b""
        self._here: Place = reader.place
        self._lines = {STDOUT: _Line(), STDERR: _Line()}

    @property
    def place(self) -> Place:
        """Where a later reader must start, so that it misses nothing that was not returned as a message."""
        return min([self._here, *(line.begin for line in self._lines.values() if line.begin)])

    def read(self, most: int) -> list[Message] | None:
        """The messages that end within about the next `most` bytes; `None` at the current end of the log."""
        content = self._reader.read(most)
        return list(self._messages(content)) if content else None

    def rest(self) -> list[Message]:
        """To be called at the end: what there is of lines that never ended."""
        unended = [(stream, line) for stream, line in self._lines.items() if line.words]
        return [self._cut(stream, line, last=True) for stream, line in unended]

    def _messages(self, content: bytes) -> Iterator[Message]:
        number, end = self._reader.place
        lines = (self._torn + content).split(b"\n")
        self._torn = lines.pop()
        left = sum(len(text) + 1 for text in lines) + len(self._torn)
        for text in lines:
            left -= len(text) + 1
            begin, self._here = self._here, (number, end - left)
            if piece := piece_of(text):
                yield from self._take(piece, begin)

    def _take(self, piece: Piece, begin: Place) -> Iterator[Message]:
        line = self._lines[piece.stream]
        line.begin, line.stamp = line.begin or begin, line.stamp or piece.stamp
        line.words += piece.words
        while len(line.words) > MOST_BYTES or (len(line.words) == MOST_BYTES and not piece.ends_line):
            yield self._cut(piece.stream, line, last=False)
            line.begin, line.stamp = (begin if line.words else None), (piece.stamp if line.words else "")
        if piece.ends_line:
            yield self._cut(piece.stream, line, last=True)

    def _cut(self, stream: int, line: _Line, *, last: bool) -> Message:
        """Take a message from the beginning of a line."""
        part = line.part
        if part or not last:
            part = Part(part.id if part else os.urandom(32).hex(), part.ordinal + 1 if part else 1, last)
        stamp, words = line.stamp, bytes(line.words[:MOST_BYTES])
        del line.words[:MOST_BYTES]
        line.part = None if last else part
        if last:
            line.begin, line.stamp = None, ""
        return Message(stamp, stream, words, part, self.place)
