"""Removes trees below a directory's file descriptor, following no link and as deep as they are."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Container

Identity = tuple[int, int]
"""Device and inode number."""


def identity(status: os.stat_result) -> Identity:
    """What tells a file from all others while it exists."""
    return status.st_dev, status.st_ino


def remove(parent: int, name: bytes, keep: Container[Identity] = ()) -> int:
    """Remove `name` and all below it in the directory `parent`; answer how many inodes went.

    What is in `keep` stays, and so do the directories that lead to it. No error if there is no such name.
    """
    removed = 0
    levels = [_Level(parent, b"", [name])]
    try:
        while levels:
            level = levels[-1]
            if level.names:
                removed += _remove_next(levels, keep)
                continue
            levels.pop()
            if levels:
                os.close(level.fd)
                removed += _remove_directory(levels[-1].fd, level, keep)
    finally:
        for level in levels[1:]:
            os.close(level.fd)
    return removed


class _Level:
    """An open directory on the way down, and what in it is still to be looked at."""

    __slots__ = ("fd", "identity", "name", "names")

    def __init__(self, fd: int, name: bytes, names: list[bytes], identity: Identity = (-1, -1)) -> None:
        self.fd = fd
        self.name = name
        self.names = names
        self.identity = identity


def _remove_next(levels: list[_Level], keep: Container[Identity]) -> int:
    parent = levels[-1].fd
    name = levels[-1].names.pop()
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return 0
    if stat.S_ISDIR(status.st_mode):
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        names = [os.fsencode(entry) for entry in os.listdir(fd)]  # noqa: PTH208
        levels.append(_Level(fd, name, names, identity(status)))
        return 0
    if identity(status) in keep:
        return 0
    os.unlink(name, dir_fd=parent)
    return int(status.st_nlink == 1)


def _remove_directory(parent: int, level: _Level, keep: Container[Identity]) -> int:
    if level.identity in keep:
        return 0
    try:
        os.rmdir(level.name, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return 0
        raise
    return 1
