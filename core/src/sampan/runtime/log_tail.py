"""Finds the place in a log to start reading from."""

from __future__ import annotations

import os
from contextlib import suppress

from sampan.runtime.log_files import LogFiles

_BLOCK_BYTES = 256 << 10
_FLAG = slice(43, 44)
_FULL = b"F"
_CLOCK_NS = 1_000_000_000  # a file's time may lag behind the clock by a kernel tick

Place = tuple[int, int]
"""A file's number and an offset in it."""


def place_of_tail(files: LogFiles, count: int) -> Place | None:
    """Where the last `count` lines begin; `None` if nothing was ever written.

    Parts belong to the full line after them; parts at the very end count as a line.
    """
    numbers = files.numbers()
    tail = _Tail(count)
    for number in reversed(numbers):
        with suppress(FileNotFoundError):  # removed in the meantime
            fd = os.open(files.numbered(number), os.O_RDONLY | os.O_CLOEXEC)
            try:
                offset = tail.search(fd, newest=number == numbers[-1])
            finally:
                os.close(fd)
            if offset is not None:
                return number, offset
    return (numbers[0], 0) if numbers else None


def place_of_time(files: LogFiles, since_ns: int) -> Place | None:
    """The first file that may have lines of that time or later; `None` if nothing was ever written."""
    numbers = files.numbers()
    for number in numbers:
        with suppress(FileNotFoundError):
            if files.numbered(number).stat().st_mtime_ns + _CLOCK_NS >= since_ns:
                return number, 0
    return (numbers[-1], 0) if numbers else None


class _Tail:
    """Finds the last `count` lines, file by file from the newest."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen = 0

    def search(self, fd: int, *, newest: bool) -> int | None:
        """Where they begin in this file; `None` if they begin in an older one."""
        position = size = os.lseek(fd, 0, os.SEEK_END)
        if self._count <= 0:
            return size
        carry = b""  # the end of a line that begins in an earlier block
        while position > 0:
            start = max(0, position - _BLOCK_BYTES)
            block = os.pread(fd, position - start, start) + carry
            lines = block.split(b"\n")
            end = start + len(block)
            for line in reversed(lines[1:]):
                if line and self._is_one_too_many(line, at_end=newest and end >= size - 1):
                    return end + 1
                end -= len(line) + 1
            carry, position = lines[0], start
        return (
            len(carry) + 1
            if carry and self._is_one_too_many(carry, at_end=newest and len(carry) >= size - 1)
            else None
        )

    def _is_one_too_many(self, line: bytes, *, at_end: bool) -> bool:
        self._seen += line[_FLAG] == _FULL or at_end
        return self._seen > self._count
