"""The files of a container that is not running."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from sampan.drivers import Mount
from sampan.errdefs import InvalidArgument, SystemFailure
from sampan.images.mounted import mounted
from sampan.syscalls.in_root import resolve
from sampan.syscalls.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, openat2


@contextmanager
def open_rootfs(mounts: Sequence[Mount], state_dir: Path) -> Iterator[int]:
    """The open root directory, mounted where nobody else sees it. Blocks; raises `SystemFailure`."""
    with mounted(mounts, state_dir) as path:
        root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield root
        finally:
            os.close(root)


def make_directory(root: int, path: str) -> None:
    """Create the absolute `path` and its missing parents below the open directory `root`, owned by root.

    Symbolic links are followed as by a process inside, even dangling ones, and none leads outside. Raises
    `InvalidArgument` with Docker's message if something else is in the way.
    """
    try:
        resolve(os.fsencode(path), partial(_enter, root, path))
    except OSError as error:  # too many links
        raise InvalidArgument(f"Cannot mkdir: {path}: {(error.strerror or '').lower()}") from error


def _enter(root: int, path: str, at: bytes, name: bytes) -> bytes | None:
    """Create the directory `name` in `at` if nothing has that name; returns the target if it is a symbolic link."""
    try:
        parent = openat2(root, at or b".", os.O_PATH | os.O_DIRECTORY, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
        try:
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=parent)
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                return os.readlink(name, dir_fd=parent)
        finally:
            os.close(parent)
    except OSError as error:
        raise SystemFailure(f"Cannot mkdir: {path}: {(error.strerror or '').lower()}") from error
    if not stat.S_ISDIR(mode):
        raise InvalidArgument(f"Cannot mkdir: {path} is not a directory")
    return None
