"""The snapshot between an image and its containers, which makes mount points real files and directories.

A hostile image may have `/dev` as a symbolic link to the host's. On top of it there is a layer of our own in which
everything that the engine mounts on is a real directory or file (the list is in moby daemon/initlayer/setup_unix.go).
All containers of an image share it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

INIT_PREFIX = "init-"
SCRATCH = "scratch"
"""Takes the place of the snapshot's name for an image without layers."""

_DIRECTORIES = ("dev/pts", "dev/shm", "proc", "sys")
_FILES = (".dockerenv", "etc/resolv.conf", "etc/hosts", "etc/hostname", "dev/console")
_LINKS = {"etc/mtab": "/proc/mounts"}
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def init_name(snapshot: str | None) -> str:
    """The name of the snapshot with mount points on top of `snapshot`."""
    return INIT_PREFIX + (snapshot or SCRATCH)


def make_mount_points(rootfs: Path) -> None:
    """Create all mount points in `rootfs`, replacing anything in the way except directories. Raises `OSError`."""
    root = os.open(rootfs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in _DIRECTORIES:
            os.close(_enter(root, path))
        for path in _FILES:
            _make_file(root, path)
        for path, target in _LINKS.items():
            _make_link(root, path, target)
    finally:
        os.close(root)


def _enter(root: int, path: str) -> int:
    """A file descriptor of the directory `path`, created if missing; symbolic links are not followed."""
    at = os.dup(root)
    for name in path.split("/") if path else []:
        below = _enter_one(at, name)
        os.close(at)
        at = below
    return at


def _enter_one(at: int, name: str) -> int:
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=at)
    with suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=at)
    return os.open(name, _DIRECTORY_FLAGS, dir_fd=at)


def _make_file(root: int, path: str) -> None:
    parent, _, name = path.rpartition("/")
    at = _enter(root, parent)
    try:
        if not _clear(at, name):
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755, dir_fd=at))
    finally:
        os.close(at)


def _make_link(root: int, path: str, target: str) -> None:
    parent, _, name = path.rpartition("/")
    at = _enter(root, parent)
    try:
        if not _clear(at, name):
            os.symlink(target, name, dir_fd=at)
    finally:
        os.close(at)


def _clear(at: int, name: str) -> bool:
    """Unlink `name`, unless it is a directory; returns whether it is one."""
    try:
        os.unlink(name, dir_fd=at)
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        return True
    return False
