"""How a tree differs from the one that it was copied from.

A container goes on changing its tree meanwhile, and may put a link where a directory was: each directory is opened
below a descriptor of its tree, through no link, and all that is in it is looked at by that descriptor.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from sampan.drivers import Change, ChangeKind
from sampan.storage.difference import differs
from sampan.syscalls.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS


class _Entry(NamedTuple):
    """A name in a directory: how it differs, if it does. `directory` is set if it is one now."""

    name: str
    kind: ChangeKind | None
    directory: _Inside | None = None


class _Inside(NamedTuple):
    """What is known of a directory from outside: whether the original has one of its name, and whether it, or one
    above it, may have been moved here."""

    has_original: bool
    is_suspect: bool


class _Directory:
    """One that is being walked. It is `told` of once something in it differs, or it itself."""

    def __init__(self, path: str, entries: Iterator[_Entry], *, told: bool) -> None:
        self.path = path
        self.entries = entries
        self.told = told


class CopiedTree:
    """A tree, and what it was copied from (`None` if it began empty) until the time `copied_at_ns`.

    Whatever changes a file sets its change time, and nobody can set that otherwise. So what has an older one than the
    copy, in directories that have, is as it was, and the content of only a few files is ever compared.
    """

    def __init__(self, tree: Path, original: Path | None, copied_at_ns: int) -> None:
        self._tree = tree
        self._original = original
        self._copied_at_ns = copied_at_ns

    def changes(self) -> Iterator[Change]:
        """Every path that differs, in order, a directory before what is in it. Not recursive: a container can nest
        directories deeper than Python calls."""
        with ExitStack() as undo:
            now = _open_top(self._tree, undo)
            before = _open_top(self._original, undo) if self._original else None
            yield from self._walk(now, before)

    def _walk(self, now: int, before: int | None) -> Iterator[Change]:
        top = _Inside(has_original=True, is_suspect=False)  # the top can't be moved
        way = [_Directory("", self._entries(now, before, "", top), told=True)]
        while way:
            entry = next(way[-1].entries, None)
            if entry is None:
                way.pop()
                continue
            path = f"{way[-1].path}/{entry.name}"
            if entry.kind is not None:
                yield from _told_now(way)
                yield Change(path, entry.kind)
            if entry.directory:
                entries = self._entries(now, before, path, entry.directory)
                way.append(_Directory(path, entries, told=entry.kind is not None))

    def _entries(self, now: int, before: int | None, path: str, inside: _Inside) -> Iterator[_Entry]:
        """What is in a directory, in order; all of it is looked at now, so that no descriptor stays open."""
        with ExitStack() as undo:
            tree = _open(now, path, undo)
            if tree is None:  # taken away just now
                return iter(())
            original = _open(before, path, undo) if before is not None and inside.has_original else None
            names = set(os.listdir(tree))  # noqa: PTH208
            if original is not None:
                names |= set(os.listdir(original))  # noqa: PTH208
            return iter([self._entry(tree, original, name, inside) for name in sorted(names)])

    def _entry(self, tree: int, original: int | None, name: str, inside: _Inside) -> _Entry:
        now = _status(tree, name)
        before = _status(original, name) if original is not None else None
        if now is None:
            return _Entry(name, ChangeKind.DELETED if before else None)
        touched = inside.is_suspect or now.st_ctime_ns >= self._copied_at_ns
        directory = None
        if stat.S_ISDIR(now.st_mode):
            directory = _Inside(before is not None and stat.S_ISDIR(before.st_mode), is_suspect=touched)
        if before is None or original is None:
            return _Entry(name, ChangeKind.ADDED, directory)
        changed = touched and differs((tree, now), (original, before), name)
        return _Entry(name, ChangeKind.MODIFIED if changed else None, directory)


def _told_now(way: list[_Directory]) -> Iterator[Change]:
    for directory in way:
        if not directory.told:
            directory.told = True
            yield Change(directory.path, ChangeKind.MODIFIED)


def _open_top(tree: Path, undo: ExitStack) -> int:
    fd = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    undo.callback(os.close, fd)
    return fd


def _open(top: int, path: str, undo: ExitStack) -> int | None:
    try:
        fd = openat2(top, os.fsencode(path.lstrip("/") or "."), _DIRECTORY, _RESOLVE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    undo.callback(os.close, fd)
    return fd


def _status(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
