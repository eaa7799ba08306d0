"""The files of a container's log: the one that conmon writes, and older ones.

conmon knows one name. When told to reopen its log, or when the file has reached the size that conmon was started
with, it creates a new file and renames it over that name (conmon src/ctr_logging.c, reopen_k8s_file), so the older
file would be lost. So each file also gets a numbered name, such as `output.log.7`, while it is the current one;
higher numbers are newer. A file that was not numbered in time is lost, but that takes two rotations by conmon itself
without a daemon.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)
_MOST_HELD_BYTES = 256 << 20
_LEAST_OWN_LIMIT = 16 << 20


@dataclass(frozen=True)
class LogLimits:
    """The size that a file should have, `file_bytes`, and how many of the newest are kept; `None` means no limit."""

    file_bytes: int | None = None
    files: int = 1

    @property
    def monitor_bytes(self) -> int | None:
        """The size at which conmon itself starts a new file, which limits the log while no daemon manages it."""
        return None if self.file_bytes is None else max(self.file_bytes * self.files, _LEAST_OWN_LIMIT)


class LogFiles:
    """The files of the log at `path`. Files that readers have not finished are not removed, up to a limit."""

    def __init__(self, path: Path, limits: LogLimits) -> None:
        self.path = path
        self.limits = limits
        self.readers: set[LogReader] = set()

    def begin(self) -> None:
        """Prepare for a writer: a current file that is numbered, ends in a complete line and is not full."""
        if self.is_full():
            self.path.unlink()
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _end_line(fd)
        finally:
            os.close(fd)
        if self.number_current():
            self.prune()

    def inode(self) -> int:
        """The current file's inode; 0 if there is none."""
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return 0

    def is_full(self) -> bool:
        """Whether the current file should be replaced by a new one."""
        most = self.limits.file_bytes
        return most is not None and _size(self.path) >= most

    def number_current(self) -> bool:
        """Give the current file a number; returns false if it already has one or does not exist."""
        last = max(self.numbers(), default=0)
        try:
            if last and self.path.samefile(self.numbered(last)):
                return False
            self.numbered(last + 1).hardlink_to(self.path)
        except FileNotFoundError:
            return False
        return True

    def numbers(self) -> list[int]:
        """The numbers of all files, oldest first."""
        prefix = f"{self.path.name}."
        try:
            names = os.listdir(self.path.parent)  # noqa: PTH208  called for each end of a file that a follower meets
        except FileNotFoundError:
            return []
        endings = (name[len(prefix) :] for name in names if name.startswith(prefix))
        return sorted(int(ending) for ending in endings if ending.isdecimal())

    def numbered(self, number: int) -> Path:
        """The permanent name of a file."""
        return self.path.with_name(f"{self.path.name}.{number}")

    def prune(self) -> None:
        """Remove the oldest files: those that neither the limits nor a reader keep.

        conmon's own rotations leave short files, so the newest are kept by number *and* by the total size they should
        have.
        """
        if self.limits.file_bytes is None:
            return
        needed = min((reader.number for reader in self.readers), default=None)
        older = 0  # bytes in files newer than this one, except the current one
        for place, number in enumerate(reversed(self.numbers())):
            kept = place < self.limits.files or older < self.limits.file_bytes * (self.limits.files - 1)
            held = needed is not None and number >= needed and older < _MOST_HELD_BYTES
            size = _size(self.numbered(number))
            if not (kept or held):
                self.numbered(number).unlink(missing_ok=True)
            older += size if place else 0

    def size(self) -> int:
        """The bytes of all files."""
        return sum(_size(self.numbered(number)) for number in self.numbers())


class LogReader:
    """The log's bytes from a given place on, across all its files. A context manager; its methods may block."""

    def __init__(self, files: LogFiles) -> None:
        self.files = files
        self.number = 0
        self._fd: int | None = None
        self._whole = True  # whether the bytes returned so far end in a newline

    def __enter__(self) -> LogReader:
        self.files.readers.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.files.readers.discard(self)
        self._close()
        if not self.files.readers:
            self.files.prune()

    def read(self, most: int) -> bytes:
        """The next bytes; b"" at the current end. If a file ends within a line, a newline is added."""
        while True:
            if self._fd is not None and (content := os.read(self._fd, most)):
                self._whole = content.endswith(b"\n")
                return content
            if not self._next():
                return b""
            if not self._whole:
                self._whole = True
                return b"\n"

    @property
    def place(self) -> tuple[int, int]:
        """Where reading continues: a file's number, and an offset in it."""
        return self.number, 0 if self._fd is None else os.lseek(self._fd, 0, os.SEEK_CUR)

    def go(self, number: int, offset: int) -> None:
        """Continue reading from there."""
        self._open(number)
        if self._fd is not None:
            os.lseek(self._fd, offset, os.SEEK_SET)

    def _next(self) -> bool:
        """Continue with what follows the current file's end, if anything.

        Once there is a newer file, nothing is written to the current one, but it may have grown until that was
        checked.
        """
        newer = [number for number in self.files.numbers() if number > self.number]
        if not newer:
            return False
        if self._fd is not None and os.lseek(self._fd, 0, os.SEEK_CUR) < os.fstat(self._fd).st_size:
            return True
        if self.number and newer[0] > self.number + 1:
            _log.warning("%s: a reader was too slow, files of the log are gone", self.files.path)
        self._open(newer[0])
        return True

    def _open(self, number: int) -> None:
        self._close()
        self.number = number
        with suppress(FileNotFoundError):
            self._fd = os.open(self.files.numbered(number), os.O_RDONLY | os.O_CLOEXEC)

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _end_line(fd: int) -> None:
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        with suppress(OSError):  # the disk is still full, which is why the line is incomplete
            os.write(fd, b"\n")
