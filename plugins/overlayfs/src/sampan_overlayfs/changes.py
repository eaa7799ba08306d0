"""How an upper layer differs from the layers below it, read off its directory.

Source of the format: kernel Documentation/filesystems/overlayfs.rst, whiteouts and opaque directories. Only
directories of the layers are read, never a merged view, so it works mounted or not.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sampan.drivers import Change, ChangeKind

_OPAQUE = "trusted.overlay.opaque"


def changes_of(upper: Path, lowers: list[Path]) -> Iterator[Change]:
    """Every path that differs, in order, a directory before what is in it. `lowers` is topmost first."""
    yield from _directory("", upper, lowers)


def _directory(path: str, upper: Path, lowers: list[Path]) -> Iterator[Change]:
    """Changes below directory `path`, which is `upper` above and, as far as they show through, `lowers` below."""
    names = sorted(_names(upper))
    if _is_opaque(upper):
        # It hides everything of its name below: what it does not have itself has been deleted.
        deleted = sorted(_visible(lowers) - set(names))
        yield from (Change(f"{path}/{name}", ChangeKind.DELETED) for name in deleted)
    for name in names:
        yield from _entry(f"{path}/{name}", upper / name, _below(lowers, name))


def _entry(path: str, upper: Path, below: list[Path]) -> Iterator[Change]:
    try:
        status = upper.lstat()
    except FileNotFoundError:
        return  # a running container goes on changing its files
    if _is_whiteout(status):
        if below:
            yield Change(path, ChangeKind.DELETED)
        return
    yield Change(path, ChangeKind.MODIFIED if below else ChangeKind.ADDED)
    if stat.S_ISDIR(status.st_mode):
        yield from _directory(path, upper, _directories(below))


def _below(lowers: list[Path], name: str) -> list[Path]:
    """What `name` is in the layers below: one file, or the directories that are merged, or nothing."""
    found: list[Path] = []
    for lower in lowers:
        candidate = lower / name
        try:
            status = candidate.lstat()
        except FileNotFoundError:
            continue
        if _is_whiteout(status):
            break
        if not stat.S_ISDIR(status.st_mode):
            return found or [candidate]
        found.append(candidate)
        if _is_opaque(candidate):
            break
    return found


def _visible(lowers: list[Path]) -> set[str]:
    names = {name for lower in lowers for name in _names(lower)}
    return {name for name in names if _below(lowers, name)}


def _directories(below: list[Path]) -> list[Path]:
    return [path for path in below if stat.S_ISDIR(path.lstat().st_mode)]


def _names(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in directory.iterdir()]
    except FileNotFoundError:
        return []


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(directory: Path) -> bool:
    try:
        return os.getxattr(directory, _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False  # it has no such attribute, or the file system has none at all
