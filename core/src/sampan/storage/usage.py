"""The disk usage of a directory tree."""

from __future__ import annotations

import errno
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from sampan.drivers import Usage

_BLOCK_BYTES = 512  # the unit of st_blocks, independent of the file system's block size (stat(3type))
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_LEVELS = 100  # each takes an open file


def disk_usage(root: Path) -> Usage:
    """Blocks and inodes of everything under `root`, including itself; a file with several links is counted once.

    A running container may change its files during the count: those that vanish are not counted, and a link that
    replaces a directory can't lead out of the tree. Raises `OSError` if `root` is not a directory.
    """
    count = _Count()
    if _walk(root, count):
        return Usage(size_bytes=count.blocks * _BLOCK_BYTES, inodes=count.inodes)
    return Usage(size_bytes=_du(root, "-B1"), inodes=_du(root, "--inodes"))


def _du(root: Path, unit: str) -> int:
    """The count of du(1), which handles trees of any depth, but is a process to start each time.

    Its status is 1 if files vanished during the count, but it prints the sum nevertheless.
    """
    done = subprocess.run(["du", "-s", unit, "--", root], check=False, capture_output=True, text=True)
    return int(done.stdout.split()[0])


class _Count:
    """The count so far."""

    def __init__(self) -> None:
        self.blocks = self.inodes = 0
        self._linked: set[tuple[int, int]] = set()

    def add(self, status: os.stat_result) -> None:
        """Count a file."""
        self.blocks += status.st_blocks
        self.inodes += 1

    def look_into(self, directory: int) -> list[str]:
        """Count the entries of an open directory; returns the names of its subdirectories."""
        names = []
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    names.append(entry.name)
                elif status.st_nlink > 1:
                    if (status.st_dev, status.st_ino) in self._linked:
                        continue
                    self._linked.add((status.st_dev, status.st_ino))
                self.add(status)
        return names


def _walk(root: Path, count: _Count) -> bool:
    """Count the whole tree by open directories; returns false if it is too deep for that."""
    levels = [_Level(os.open(root, _DIRECTORY))]
    try:
        count.add(os.fstat(levels[0].fd))
        levels[0].unvisited = count.look_into(levels[0].fd)
        while levels:
            if not levels[-1].unvisited:
                os.close(levels.pop().fd)
                continue
            if len(levels) == _MOST_LEVELS:
                return False
            if (inner := _open(levels[-1].unvisited.pop(), levels[-1].fd)) is not None:
                levels.append(_Level(inner))
                levels[-1].unvisited = count.look_into(inner)
        return True
    finally:
        for level in levels:
            os.close(level.fd)


@dataclass
class _Level:
    """An open directory on the way down, and its subdirectories that are still to be visited."""

    fd: int
    unvisited: list[str] = field(default_factory=list)


def _open(name: str, parent: int) -> int | None:
    """Open the directory; `None` if it has vanished or is no longer a directory."""
    try:
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return None
