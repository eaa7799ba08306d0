"""The init layer: between an image and its containers, with mount points of the engine's own.

The runtime mounts over /dev, /proc, /sys and the files in /etc. Made here as plain directories and files, in place of
whatever the image has there, they also keep a hostile image from leading the runtime elsewhere by a symlink
(CVE-2026-41579). Source of the list: moby daemon/initlayer/setup_unix.go.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from sampan.digest import Digest
from sampan.drivers import StorageDriver
from sampan.errdefs import NotFound
from sampan.images.mounted import mounted

INIT_SUFFIX = "-init"
_DIRECTORIES = ("dev/pts", "dev/shm", "proc", "sys")
_FILES = ("dev/console", "etc/hosts", "etc/hostname", "etc/resolv.conf", ".dockerenv")
_MTAB, _MOUNTS = "etc/mtab", "/proc/mounts"


def init_name(top: Digest | None) -> str:
    """The name of the init layer's snapshot above the layer `top`, `None` for an image without layers."""
    return f"{top or 'scratch'}{INIT_SUFFIX}"


def make_init_layer(storage: StorageDriver, top: Digest | None, key: str, state_dir: Path) -> str:
    """The init layer above `top`, made under `key` if it isn't there. Blocks. One call for a `top` at once."""
    name = init_name(top)
    with contextlib.suppress(NotFound):
        return storage.stat(name).name
    mounts = storage.prepare(key, top)
    try:
        with mounted(mounts, state_dir) as path:
            _furnish(path)
        storage.commit(name, key)
    except BaseException:
        storage.remove(key)
        raise
    return name


def _furnish(path: Path) -> None:
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for each in _DIRECTORIES:
            os.close(_directory(root, each.split("/")))
        for each in (*_FILES, _MTAB):
            *parents, name = each.split("/")
            parent = _directory(root, parents)
            try:
                _file(parent, name, target=_MOUNTS if each == _MTAB else None)
            finally:
                os.close(parent)
    finally:
        os.close(root)


def _directory(root: int, names: list[str]) -> int:
    """Open a directory below `root`, component by component; what is no directory gives way to one."""
    fd = os.dup(root)
    for name in names:
        try:
            below = _enter(fd, name)
        finally:
            os.close(fd)
        fd = below
    return fd


def _enter(parent: int, name: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    if not _is(parent, name, stat.S_ISDIR):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
        os.mkdir(name, 0o755, dir_fd=parent)
    return os.open(name, flags, dir_fd=parent)


def _file(parent: int, name: str, *, target: str | None) -> None:
    """An empty file, or a symlink to `target`, unless a plain file is there (for mtab, unless anything is)."""
    if target is not None:
        with contextlib.suppress(FileExistsError):
            os.symlink(target, name, dir_fd=parent)
        return
    if _is(parent, name, stat.S_ISREG) or _is(parent, name, stat.S_ISDIR):  # the start fails at a directory
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o755, dir_fd=parent))


def _is(parent: int, name: str, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False
