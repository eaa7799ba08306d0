"""Walks a tree and reports what differs in it.

A container may change its tree during the walk, and replace a directory by a link: each directory is therefore opened
relative to a descriptor of its tree, without following links, and its entries are accessed through its descriptor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from sampan.drivers import Change, ChangeKind
from sampan.syscalls.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ANCHOR_LENGTH = 1000  # with one more name, of at most 255 bytes, a path is still shorter than PATH_MAX
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS

Inside = TypeVar("Inside")
"""What a driver knows about a directory before it reads it."""


class Entry(NamedTuple, Generic[Inside]):
    """A name in a directory. `kind` is how it differs, `None` if it doesn't; `inside` is set if it is a directory."""

    name: str
    kind: ChangeKind | None
    inside: Inside | None = None


LookInto: TypeAlias = Callable[[str, Inside], Sequence[Entry[Inside]]]
"""Returns the entries of the directory at a path, in order. Leaves no descriptor open."""


@dataclass
class _Directory(Generic[Inside]):
    """A directory being walked. It is `told` once it has been reported, because it or something in it differs."""

    path: str
    entries: Iterator[Entry[Inside]]
    told: bool


def walk_changes(look_into: LookInto[Inside], top: Inside) -> Iterator[Change]:
    """Every path that differs, in order, a directory before its contents.

    A directory in which something differs counts as modified. Not recursive, as a container can nest directories
    deeper than Python's recursion limit.
    """
    way = [_Directory("", iter(look_into("", top)), told=True)]
    while way:
        entry = next(way[-1].entries, None)
        if entry is None:
            way.pop()
            continue
        path = f"{way[-1].path}/{entry.name}"
        if entry.kind is not None:
            yield from _told_now(way)
            yield Change(path, entry.kind)
        if entry.inside is not None:
            way.append(_Directory(path, iter(look_into(path, entry.inside)), told=entry.kind is not None))


def _told_now(way: Sequence[_Directory[Inside]]) -> Iterator[Change]:
    for directory in way:
        if not directory.told:
            directory.told = True
            yield Change(directory.path, ChangeKind.MODIFIED)


class Tree:
    """Opens directories in a tree; a context manager.

    Paths in a tree can be longer than PATH_MAX, so deep directories are opened relative to others on the way.
    """

    def __init__(self, top: Path) -> None:
        self._anchors = [("", os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))]

    def open(self, path: str, undo: ExitStack) -> int | None:
        """Open the directory at `path`; `None` if it is not one, or is behind a link. `undo` closes it."""
        while not path.startswith(self._anchors[-1][0] + "/") and len(self._anchors) > 1:
            os.close(self._anchors.pop()[1])
        above, fd = self._anchors[-1]
        way = os.fsencode(path[len(above) + 1 :])
        try:
            found = openat2(fd, way or b".", _DIRECTORY, _RESOLVE)
        except (FileNotFoundError, NotADirectoryError):
            return None
        undo.callback(os.close, found)
        if len(way) > _ANCHOR_LENGTH:
            self._anchors.append((path, os.dup(found)))
        return found

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, fd in self._anchors:
            os.close(fd)


def find_status(directory: int, name: str) -> os.stat_result | None:
    """The status of `name` in an open directory; `None` if it does not exist."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
