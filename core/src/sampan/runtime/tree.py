"""Trees: what a container's mounts use in addition to its rootfs, in its monitor's mount namespace.

Like the rootfs, they disappear with the container, however it ends. Everything here runs in the thread that creates
the container, in that namespace.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from sampan.errdefs import InvalidArgument, NotFound, SampanError, SystemFailure
from sampan.runtime.interface import Tree
from sampan.syscalls.mount import MS_BIND, MS_REC, mount
from sampan.syscalls.namespaces import CLONE_NEWNS, open_namespace, setns
from sampan.syscalls.open_tree import move_mount, open_tree
from sampan.syscalls.openat2 import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2
from sampan.syscalls.overlay import mount_tower

_WHOLE = ".whole"


def make_tree(tree: Tree, bundle: Path) -> None:
    """Mount the tree at `bundle/NAME`.

    Raises, with Docker's messages, `NotFound` for a subpath that does not exist or is a symbolic link,
    `InvalidArgument` for one that leads outside.
    """
    place = bundle / tree.name
    whole = bundle / f"{tree.name}{_WHOLE}" if tree.subpath else place
    whole.mkdir(exist_ok=True)
    for each in tree.mounts:
        mount_tower(each.source, whole, each.type, each.options)
    if tree.subpath:
        _bind_below(whole, tree.subpath, place)


def join_tree(monitor: int, theirs: Path, place: Path) -> None:
    """Mount at `place` what the container whose monitor is `monitor` has at `theirs`.

    A mount of another namespace can't be bound, but it can be copied there, and the copy attached here.
    """
    place.mkdir(exist_ok=True)
    own = open_namespace("mnt")
    try:
        fd = _copy_in(monitor, theirs, own)
    except OSError as error:
        raise SystemFailure(f"the mount {theirs} can't be shared: {error.strerror}") from error
    finally:
        os.close(own)
    try:
        move_mount(fd, place)
    finally:
        os.close(fd)


def _copy_in(monitor: int, path: Path, own: int) -> int:
    namespace = os.open(f"/proc/{monitor}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(namespace, CLONE_NEWNS)
        try:
            return open_tree(path)
        finally:
            setns(own, CLONE_NEWNS)
    finally:
        os.close(namespace)


def _bind_below(whole: Path, subpath: str, place: Path) -> None:
    """As in Docker, no symbolic link is followed, not even one that stays inside (moby daemon/volume/safepath)."""
    root = os.open(whole, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
        fd = openat2(root, os.fsencode(subpath), os.O_PATH, resolve)
    except OSError as error:
        raise _unreachable(whole, subpath, error) from None
    finally:
        os.close(root)
    try:
        _make_like(fd, place)
        mount(f"/proc/self/fd/{fd}", place, None, MS_BIND | MS_REC)
    finally:
        os.close(fd)


def _make_like(fd: int, place: Path) -> None:
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        place.mkdir(exist_ok=True)
    else:
        place.touch()


def _unreachable(whole: Path, subpath: str, error: OSError) -> SampanError:
    if error.errno == errno.EXDEV:
        return InvalidArgument(f"path concatenation escapes the base directory, base: {whole}, subpath: {subpath}")
    return NotFound(f"cannot access path {subpath}: {(error.strerror or '').lower()}")
