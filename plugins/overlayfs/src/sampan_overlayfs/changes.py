"""How an upper layer differs from the layers below it, read off its directory.

Source of the format: kernel Documentation/filesystems/overlayfs.rst, whiteouts and opaque directories. Only
directories of the layers are read, never a merged view, so it works mounted or not.

A container goes on changing its layer meanwhile, and may put a link where a directory was: each directory is opened
below a descriptor of its layer, through no link, and all that is in it is looked at by that descriptor.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from sampan.drivers import Change, ChangeKind
from sampan.storage.difference import differs
from sampan.syscalls.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_OPAQUE = "trusted.overlay.opaque"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS


class _Directory:
    """One that is being walked. `lowers` are the layers of which it shows something, unless it hides them.

    It is `told` of once something in it differs, or it itself.
    """

    def __init__(self, path: str, lowers: Sequence[int], *, hiding: bool, told: bool) -> None:
        self.path = path
        self.lowers = lowers
        self.hiding = hiding
        self.told = told
        self.entries: Iterator[_Entry] = iter(())


class _Entry(NamedTuple):
    """A name in a directory: how it differs, if it does, and if it is a directory, those of its name below."""

    name: str
    kind: ChangeKind | None
    lowers: Sequence[int] | None


class _Below(NamedTuple):
    """What a name is in one of the layers below: `fd` is the directory that it is in."""

    layer: int
    fd: int
    status: os.stat_result


def changes_of(upper: Path, lowers: list[Path]) -> Iterator[Change]:
    """Every path that differs, in order, a directory before what is in it. `lowers` is topmost first.

    A directory in which something differs counts as modified. Not recursive: a container can nest directories
    deeper than Python calls.
    """
    with ExitStack() as undo:
        layers = [os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for layer in (upper, *lowers)]
        for layer in layers:
            undo.callback(os.close, layer)
        yield from _walk(layers)


def _walk(layers: Sequence[int]) -> Iterator[Change]:
    way = [_Directory("", range(1, len(layers)), hiding=False, told=True)]
    way[0].entries = _entries(layers, way[0])
    while way:
        entry = next(way[-1].entries, None)
        if entry is None:
            way.pop()
            continue
        path = f"{way[-1].path}/{entry.name}"
        if entry.kind is not None:
            yield from _told_now(way)
            yield Change(path, entry.kind)
        if entry.lowers is not None:
            below = _Directory(path, entry.lowers, hiding=way[-1].hiding, told=entry.kind is not None)
            below.entries = _entries(layers, below)
            way.append(below)


def _told_now(way: Sequence[_Directory]) -> Iterator[Change]:
    for directory in way:
        if not directory.told:
            directory.told = True
            yield Change(directory.path, ChangeKind.MODIFIED)


def _entries(layers: Sequence[int], directory: _Directory) -> Iterator[_Entry]:
    """What is in a directory, in order; all of it is looked at now, so that no descriptor stays open."""
    with ExitStack() as undo:
        upper = _open(layers[0], directory.path, undo)
        if upper is None:  # taken away just now
            return iter(())
        lowers = [
            (one, fd) for one in directory.lowers if (fd := _open(layers[one], directory.path, undo)) is not None
        ]
        names = set(os.listdir(upper))  # noqa: PTH208
        # What is in a directory that hides those below, itself or one above it, has been deleted if it is only there.
        directory.hiding = directory.hiding or _is_opaque(upper)
        if directory.hiding:
            names |= {name for _, fd in lowers for name in os.listdir(fd)}  # noqa: PTH208
        return iter([_entry(upper, lowers, name) for name in sorted(names)])


def _open(layer: int, path: str, undo: ExitStack) -> int | None:
    try:
        fd = openat2(layer, os.fsencode(path.lstrip("/") or "."), _DIRECTORY, _RESOLVE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    undo.callback(os.close, fd)
    return fd


def _entry(upper: int, lowers: Sequence[tuple[int, int]], name: str) -> _Entry:
    below = _below(lowers, name)
    status = _status(upper, name)
    if status is None or _is_whiteout(status):
        return _Entry(name, ChangeKind.DELETED if below else None, None)
    is_directory = stat.S_ISDIR(status.st_mode)
    merged = [one.layer for one in below if stat.S_ISDIR(one.status.st_mode)] if is_directory else None
    if not below:
        return _Entry(name, ChangeKind.ADDED, merged)
    is_other = differs((upper, status), (below[0].fd, below[0].status), name)
    return _Entry(name, ChangeKind.MODIFIED if is_other else None, merged)


def _below(lowers: Sequence[tuple[int, int]], name: str) -> list[_Below]:
    """What `name` is in the layers below: one file, or the directories that are merged, or nothing."""
    found: list[_Below] = []
    for layer, fd in lowers:
        status = _status(fd, name)
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


def _status(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


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
