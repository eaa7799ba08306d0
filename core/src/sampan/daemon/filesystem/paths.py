"""Paths in containers that clients specify: how they are interpreted, and what is there.

The host never resolves them: the kernel resolves each path below a descriptor of the container's root.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sampan.errdefs import InvalidArgument, NotFound, SystemFailure
from sampan.models import ContainerPathStat, PackPath, StatPath, UnpackArchive
from sampan.syscalls.in_root import follow
from sampan.syscalls.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

_RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_SECOND_NS = 1_000_000_000
# Bits of Go's io/fs.FileMode.
_GO_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


def absolute(path: bytes) -> bytes:
    """`path` below the root, normalized except for a trailing `/` or `/.`, which means the directory it leads to.

    Raises `InvalidArgument` for what can't be a path.
    """
    if b"\0" in path:
        raise InvalidArgument("invalid argument: a path with a zero byte in it")
    clean = posixpath.normpath(b"/" + path.lstrip(b"/"))
    if path == b"." or path.endswith(b"/."):
        return clean.rstrip(b"/") + b"/."
    return clean + b"/" if path.endswith(b"/") and clean != b"/" else clean


def base(path: bytes) -> bytes:
    """The name for a copy of the `absolute` path: its last component, `/` for the root."""
    return path.rstrip(b"/").rpartition(b"/")[2] or b"/"


def stat_path(root: int, path: bytes) -> ContainerPathStat:
    """What is at the `absolute` path. Raises `OSError`."""
    fd = openat2(root, path, os.O_PATH | (os.O_DIRECTORY if _is_directory(path) else os.O_NOFOLLOW), _RESOLVE)
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    is_link = stat.S_ISLNK(status.st_mode)
    return ContainerPathStat(
        name=shown(base(path)),
        size=status.st_size,
        mode=go_mode(status.st_mode),
        mtime=_rfc3339(status.st_mtime_ns),
        link_target=shown(b"/" + follow(root, path)) if is_link else "",
    )


def resolve_directory(root: int, path: bytes) -> bytes:
    """The location of the directory at `path`, normalized, without leading slash, all symbolic links followed.

    Raises `InvalidArgument` with Docker's message if it is not a directory, and `OSError`.
    """
    fd = openat2(root, path, os.O_PATH, _RESOLVE)
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise InvalidArgument("extraction point is not a directory")
    finally:
        os.close(fd)
    return follow(root, path)


@contextmanager
def in_words_of(request: StatPath | PackPath | UnpackArchive) -> Iterator[None]:
    """In this context, the kernel's errors are replaced by Docker's for a path."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"Could not find the file {shown(request.path)} in container {request.name}") from None
    except OSError as error:
        kind = InvalidArgument if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG) else SystemFailure
        raise kind(f"lstat {shown(request.path)}: {(error.strerror or '').lower()}") from None


def shown(path: bytes) -> str:
    """A path in a form that JSON can represent."""
    return path.decode(errors="replace")


def go_mode(mode: int) -> int:
    """Convert the kernel's mode to that of Go's io/fs."""
    bits = sum(bit for own, bit in _GO_BITS.items() if mode & own)
    return mode & 0o777 | bits | _GO_KINDS.get(stat.S_IFMT(mode), 0)


def _is_directory(path: bytes) -> bool:
    return path.endswith((b"/", b"/."))


def _rfc3339(time_ns: int) -> str:
    seconds, fraction = divmod(time_ns, _SECOND_NS)
    digits = f".{fraction:09}".rstrip("0") if fraction else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{digits}Z"
