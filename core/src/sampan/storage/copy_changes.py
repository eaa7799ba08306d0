"""Finds how a tree differs from the one it was copied from."""

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


class _Inside(NamedTuple):
    """Whether the original has a directory of this name, and whether it or a parent may have been moved here."""

    has_original: bool
    is_suspect: bool


class CopiedTree:
    """A tree, the original it was copied from (`None` if it began empty), and when the copy was complete.

    Every change of a file updates its ctime, which can't be set otherwise. So a file whose ctime, and that of all
    directories above it, is older than the copy is unchanged, and only a few files need to be compared by content.
    """

    def __init__(self, tree: Path, original: Path | None, copied_at_ns: int) -> None:
        self._tree = tree
        self._original = original
        self._copied_at_ns = copied_at_ns

    def changes(self) -> Iterator[Change]:
        """Every path that differs, as `walk_changes` yields them."""
        with ExitStack() as undo:
            now = undo.enter_context(Tree(self._tree))
            before = undo.enter_context(Tree(self._original)) if self._original else None
            top = _Inside(has_original=True, is_suspect=False)  # the top can't be moved
            yield from walk_changes(partial(self._look_into, now, before), top)

    def _look_into(self, now: Tree, before: Tree | None, path: str, inside: _Inside) -> Sequence[Entry[_Inside]]:
        with ExitStack() as undo:
            tree = now.open(path, undo)
            if tree is None:  # just removed
                return ()
            original = before.open(path, undo) if before is not None and inside.has_original else None
            names = set(os.listdir(tree))  # noqa: PTH208
            if original is not None:
                names |= set(os.listdir(original))  # noqa: PTH208
            return [self._entry(tree, original, name, inside) for name in sorted(names)]

    def _entry(self, tree: int, original: int | None, name: str, inside: _Inside) -> Entry[_Inside]:
        now = find_status(tree, name)
        before = find_status(original, name) if original is not None else None
        if now is None:
            return Entry(name, ChangeKind.DELETED if before else None)
        touched = inside.is_suspect or now.st_ctime_ns >= self._copied_at_ns
        below = None
        if stat.S_ISDIR(now.st_mode):
            below = _Inside(before is not None and stat.S_ISDIR(before.st_mode), is_suspect=touched)
        if before is None or original is None:
            return Entry(name, ChangeKind.ADDED, below)
        changed = touched and differs((tree, now), (original, before), name)
        return Entry(name, ChangeKind.MODIFIED if changed else None, below)
