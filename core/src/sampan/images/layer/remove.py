"""Removes trees below a directory's file descriptor, without following symbolic links, however deep they are."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Container

Identity = tuple[int, int]
"""Device and inode number."""


def identity(status: os.stat_result) -> Identity:
    """Identifies a file as long as it exists."""
    return status.st_dev, status.st_ino


def remove(parent: int, name: bytes, keep: Container[Identity] = ()) -> int:
    """Remove `name` and everything below in the directory `parent`; returns how many inodes were removed.

    What is in `keep` stays, and so do the directories that lead to it. No error if there is no such name.
    """
    removed = 0
    walk = _Walk(parent, name)
    try:
        while walk.levels:
            if walk.levels[-1].names:
                removed += _remove_next(walk, keep)
            elif level := walk.leave():
                removed += _remove_directory(walk.fd, level, keep)
    finally:
        os.close(walk.fd)
    return removed


class _Level:
    """A directory on the way down, and its remaining names."""

    __slots__ = ("identity", "name", "names")

    def __init__(self, name: bytes, names: list[bytes], identity: Identity) -> None:
        self.name = name
        self.names = names
        self.identity = identity


class _Walk:
    """The way down from `parent`.

    Only the last directory is open, as trees may be deeper than the limit of open files.
    """

    def __init__(self, parent: int, name: bytes) -> None:
        self._parent = parent
        self.fd = os.dup(parent)
        self.levels = [_Level(b"", [name], (-1, -1))]

    def enter(self, name: bytes, identity: Identity) -> None:
        """Go down into a directory."""
        self._be_in(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.fd))
        self.levels.append(_Level(name, [os.fsencode(entry) for entry in os.listdir(self.fd)], identity))  # noqa: PTH208

    def leave(self) -> _Level | None:
        """Go up again; returns the level left, `None` at the end.

        Raises `OSError` if it was moved in the meantime.
        """
        level = self.levels.pop()
        if not self.levels:
            return None
        if len(self.levels) == 1:
            self._be_in(os.dup(self._parent))
            return level
        self._be_in(os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.fd))
        if identity(os.fstat(self.fd)) != self.levels[-1].identity:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), os.fsdecode(level.name))
        return level

    def _be_in(self, fd: int) -> None:
        os.close(self.fd)
        self.fd = fd


def _remove_next(walk: _Walk, keep: Container[Identity]) -> int:
    name = walk.levels[-1].names.pop()
    try:
        status = os.stat(name, dir_fd=walk.fd, follow_symlinks=False)
    except FileNotFoundError:
        return 0
    if stat.S_ISDIR(status.st_mode):
        walk.enter(name, identity(status))
        return 0
    if identity(status) in keep:
        return 0
    os.unlink(name, dir_fd=walk.fd)
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
