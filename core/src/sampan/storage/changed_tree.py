"""Walks a tree for what differs in it.

A container goes on changing its tree meanwhile, and may put a link where a directory was: each directory is opened
below a descriptor of its tree, through no link, and all that is in it is looked at by that descriptor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from sampan.drivers import Change, ChangeKind
from sampan.syscalls.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS

Inside = TypeVar("Inside")
"""What a driver knows of a directory from outside, before it looks into it."""


class Entry(NamedTuple, Generic[Inside]):
    """A name in a directory: how it differs, if it does. `inside` is set if it is a directory now."""

    name: str
    kind: ChangeKind | None
    inside: Inside | None = None


LookInto: TypeAlias = Callable[[str, Inside], Sequence[Entry[Inside]]]
"""Answers what is in the directory of a path, in order. It leaves no descriptor open."""


@dataclass
class _Directory(Generic[Inside]):
    """One that is being walked. It is `told` of once something in it differs, or it itself."""

    path: str
    entries: Iterator[Entry[Inside]]
    told: bool


def walk_changes(look_into: LookInto[Inside], top: Inside) -> Iterator[Change]:
    """Every path that differs, in order, a directory before what is in it.

    A directory in which something differs counts as modified. Not recursive: a container can nest directories
    deeper than Python calls.
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


def open_top(tree: Path, undo: ExitStack) -> int:
    """The tree, to open directories beneath; `undo` closes it."""
    fd = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    undo.callback(os.close, fd)
    return fd


def open_beneath(top: int, path: str, undo: ExitStack) -> int | None:
    """The directory at `path` of the tree `top`, if it is one and no link leads there; `undo` closes it."""
    try:
        fd = openat2(top, os.fsencode(path.lstrip("/") or "."), _DIRECTORY, _RESOLVE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    undo.callback(os.close, fd)
    return fd


def find_status(directory: int, name: str) -> os.stat_result | None:
    """The status of `name` in an open directory, if it is there."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
