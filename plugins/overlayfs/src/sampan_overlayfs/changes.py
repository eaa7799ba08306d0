"""Derives the difference between an upper layer and the layers below it from its directory.

Source of the format: kernel Documentation/filesystems/overlayfs.rst, whiteouts and opaque directories. Only the
layers' directories are read, never a merged view, so it works whether mounted or not.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sampan.drivers import Change, ChangeKind
from sampan.storage.changed_tree import Entry, Tree, find_status, walk_changes
from sampan.storage.difference import differs

_OPAQUE = "trusted.overlay.opaque"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Inside(NamedTuple):
    """The lower layers that a directory merges with, unless it or a directory above it is opaque (`is_hiding`)."""

    lowers: Sequence[int]
    is_hiding: bool


class _Below(NamedTuple):
    """What a name is in one of the lower layers; `fd` is the directory that contains it."""

    layer: int
    fd: int
    status: os.stat_result


def changes_of(upper: Path, lowers: list[Path]) -> Iterator[Change]:
    """Every path that differs, as described at `walk_changes`. `lowers` is topmost first."""
    with ExitStack() as undo:
        layers = [undo.enter_context(Tree(layer)) for layer in (upper, *lowers)]
        yield from walk_changes(partial(_look_into, layers), _Inside(range(1, len(layers)), is_hiding=False))


def _look_into(layers: Sequence[Tree], path: str, inside: _Inside) -> Sequence[Entry[_Inside]]:
    with ExitStack() as undo:
        upper = layers[0].open(path, undo)
        if upper is None:  # removed in the meantime
            return ()
        lowers = [(one, fd) for one in inside.lowers if (fd := layers[one].open(path, undo)) is not None]
        names = set(os.listdir(upper))  # noqa: PTH208
        is_hiding = inside.is_hiding or _is_opaque(upper)
        if is_hiding:  # names that exist only below have been deleted
            names |= {name for _, fd in lowers for name in os.listdir(fd)}  # noqa: PTH208
        return [_entry(upper, lowers, name, is_hiding=is_hiding) for name in sorted(names)]


def _entry(upper: int, lowers: Sequence[tuple[int, int]], name: str, *, is_hiding: bool) -> Entry[_Inside]:
    below = _below(lowers, name)
    status = find_status(upper, name)
    if status is None or _is_whiteout(status):
        return Entry(name, ChangeKind.DELETED if below else None)
    inside = None
    if stat.S_ISDIR(status.st_mode):
        inside = _Inside([one.layer for one in below if stat.S_ISDIR(one.status.st_mode)], is_hiding)
    if not below:
        return Entry(name, ChangeKind.ADDED, inside)
    is_other = differs((upper, status), (below[0].fd, below[0].status), name)
    return Entry(name, ChangeKind.MODIFIED if is_other else None, inside)


def _below(lowers: Sequence[tuple[int, int]], name: str) -> list[_Below]:
    """What `name` is in the lower layers: one file, the directories that are merged, or nothing."""
    found: list[_Below] = []
    for layer, fd in lowers:
        status = find_status(fd, name)
        if status is None:
            continue
        if _is_whiteout(status):
            break
        if not stat.S_ISDIR(status.st_mode):
            return found or [_Below(layer, fd, status)]
        found.append(_Below(layer, fd, status))
        if _hides(fd, name):
            break
    return found


def _hides(directory: int, name: str) -> bool:
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=directory)
    except OSError:
        return False
    try:
        return _is_opaque(fd)
    finally:
        os.close(fd)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(directory: int) -> bool:
    try:
        return os.getxattr(directory, _OPAQUE) == b"y"
    except OSError:
        return False  # it has no such attribute, or the file system has none at all
