"""Access to a snapshot's files through a mount that nobody else sees and that can't be left behind.

The mounts are made in a separate mount namespace, by a thread that ends at once; only a directory's file descriptor
keeps them alive. When it is closed, or the daemon is killed, the kernel unmounts them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from sampan.drivers import Mount
from sampan.errdefs import SystemFailure
from sampan.syscalls.mount import MNT_DETACH, MS_PRIVATE, MS_REC, UMOUNT_NOFOLLOW, mount, umount2
from sampan.syscalls.namespaces import CLONE_FS, CLONE_NEWNS, unshare
from sampan.syscalls.overlay import mount_tower

PREFIX = "mount-"
"""The prefix of short-lived directories; a killed daemon may leave one, empty."""


@contextmanager
def mounted(mounts: Sequence[Mount], state_dir: Path) -> Iterator[Path]:
    """The directory where `mounts` are mounted during the context.

    `state_dir` is a directory in which a temporary one can be created. Blocks; raises `SystemFailure`.
    """
    if len(mounts) == 1 and mounts[0].type == "bind":
        yield Path(mounts[0].source)  # a bind mount of a directory is that directory
        return
    point = Path(tempfile.mkdtemp(prefix=PREFIX, dir=state_dir))
    try:
        # A thread that has left the process's mount namespace can't be used for anything else, so a new one is used.
        with ThreadPoolExecutor(1, thread_name_prefix="mount") as thread:
            fd = thread.submit(_open, mounts, point).result()
    finally:
        point.rmdir()
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{fd}")
    finally:
        os.close(fd)


@contextmanager
def mounted_for_all(mounts: Sequence[Mount], state_dir: Path) -> Iterator[Path]:
    """As `mounted`, but at a place visible to other processes; `unmount_left` cleans up after a killed daemon."""
    if len(mounts) == 1 and mounts[0].type == "bind":
        yield Path(mounts[0].source)
        return
    point = Path(tempfile.mkdtemp(prefix=PREFIX, dir=state_dir))
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="mount") as thread:  # a new one: it changes directory
            thread.submit(_mount, mounts, point).result()
        yield point
    finally:
        _unmount(point)


def unmount_left(state_dir: Path) -> None:
    """Remove what `mounted_for_all` and `mounted` of a killed daemon left in `state_dir`."""
    for point in state_dir.glob(PREFIX + "*"):
        _unmount(point)


def _unmount(point: Path) -> None:
    with suppress(OSError):  # EINVAL: nothing is mounted there any more
        while True:
            umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW)
    point.rmdir()


def _mount(mounts: Sequence[Mount], point: Path) -> None:
    try:
        unshare(CLONE_FS)
        for each in mounts:
            mount_tower(each.source, point, each.type, each.options)
    except OSError as error:
        raise SystemFailure(f"a snapshot can't be mounted: {error}") from error


def _open(mounts: Sequence[Mount], point: Path) -> int:
    try:
        unshare(CLONE_FS | CLONE_NEWNS)
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        for each in mounts:
            mount_tower(each.source, point, each.type, each.options)
        return os.open(point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SystemFailure(f"a snapshot can't be mounted: {error}") from error
