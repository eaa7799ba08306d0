"""Decides whether a file that was copied up differs from its original.

It compares the same attributes as dockerd (moby go-archive changes_unix.go, statDifferent; a directory's time is
ignored), and also extended attributes, link targets, and the content of files with equal size and time.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

_OVERLAY = "trusted.overlay."
_PIECE_BYTES = 256 << 10

File: TypeAlias = tuple[int, os.stat_result]
"""A descriptor of the directory that a file is in, and the file's status."""


def differs(above: File, below: File, name: str) -> bool:
    """Whether the file `name` in the directory of `above` differs from that in the directory of `below`."""
    (upper, now), (lower, before) = above, below
    if _identity(now) == _identity(before):
        return False
    if _looks(now) != _looks(before):
        return True
    if stat.S_ISLNK(now.st_mode):
        return _link(upper, name) != _link(lower, name)
    with _place(upper, name) as new, _place(lower, name) as old:
        if new is None or old is None or _xattrs(new) != _xattrs(old):
            return True
        return stat.S_ISREG(now.st_mode) and not _same_content(new, old)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Identifies a file, even if it is seen through two overlays, whose device numbers differ."""
    return stat.S_IFMT(status.st_mode), status.st_ino, status.st_ctime_ns


def _looks(status: os.stat_result) -> tuple[int, ...]:
    looks = (status.st_mode, status.st_uid, status.st_gid, status.st_rdev)
    return looks if stat.S_ISDIR(status.st_mode) else (*looks, status.st_size, status.st_mtime_ns)


def _link(directory: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:  # no longer a link
        return None


@contextmanager
def _place(directory: int, name: str) -> Iterator[int | None]:
    """The file, opened with O_PATH, as it may have become a device, which must not be opened."""
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _xattrs(place: int) -> dict[str, bytes]:
    path = f"/proc/self/fd/{place}"
    try:
        names = [name for name in os.listxattr(path) if not name.startswith(_OVERLAY)]
        return {name: os.getxattr(path, name) for name in names}
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENODATA):
            raise
        return {}


def _same_content(new: int, old: int) -> bool:
    if not all(stat.S_ISREG(os.fstat(place).st_mode) for place in (new, old)):
        return False
    with open(f"/proc/self/fd/{new}", "rb", 0) as ours, open(f"/proc/self/fd/{old}", "rb", 0) as theirs:  # noqa: PTH123
        while piece := ours.read(_PIECE_BYTES):
            if piece != theirs.read(_PIECE_BYTES):
                return False
        return True
