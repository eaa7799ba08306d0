"""Gives directories that a layer has no entry for the metadata they have in the layers below.

A layer's tar may contain `tmp/x` but no `tmp/`. If it is unpacked in its own directory, `tmp` becomes 0755 and
root's, and would hide that the lower `tmp` is 1777: dockerd accepts that, containerd looks below, and so do we.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from sampan.images.layer.directories import clean, is_whiteout
from sampan.images.layer.extract import OVERLAY_XATTRS
from sampan.syscalls.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_OVERLAY = OVERLAY_XATTRS.decode()
_OPAQUE = _OVERLAY + "opaque"


def adopt_parents(layer: Path, implicit_dirs: Sequence[str], lower: Sequence[Path]) -> tuple[str, ...]:
    """Copy owner, mode, times and extended attributes of `implicit_dirs` in `layer` from the directories below.

    `lower` are the directories of the layers below, in overlayfs's form, the nearest first; theirs must be adopted
    already. Returns those of `implicit_dirs` that hide something other than a directory, usually a symbolic link:
    applied on top of its mounted parents, such a layer would have been written through it. Raises `OSError`.
    """
    hiding = []
    root = os.open(layer, _DIRECTORY)
    try:
        for path in implicit_dirs:
            target = openat2(root, os.fsencode(path), _DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
            try:
                _adopt(target, clean(os.fsencode(path)).split(b"/"), lower)
            except NotADirectoryError:
                hiding.append(path)
            finally:
                os.close(target)
    finally:
        os.close(root)
    return tuple(hiding)


def _adopt(target: int, steps: list[bytes], lower: Sequence[Path]) -> None:
    for layer in lower:
        source, covers = _descend(layer, steps)
        if source is not None:
            _copy_looks(source, target)
            os.close(source)
        if covers:
            return


def _descend(layer: Path, steps: list[bytes]) -> tuple[int | None, bool]:
    """The open directory, if this layer has it, and whether it hides the layers below.

    Raises `NotADirectoryError` if something else is there.
    """
    fd = os.open(layer, os.O_RDONLY | os.O_DIRECTORY)  # a view's is a symbolic link: /proc/PID/fd/N
    covers = False
    for step in steps:
        try:
            status = os.stat(step, dir_fd=fd, follow_symlinks=False)
            if is_whiteout(status):
                return None, True
            below = os.open(step, _DIRECTORY, dir_fd=fd)
        except FileNotFoundError:
            return None, covers
        finally:
            os.close(fd)
        fd = below
        covers = covers or _OPAQUE in os.listxattr(fd)
    return fd, True


def _copy_looks(source: int, target: int) -> None:
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if not name.startswith(_OVERLAY):
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
