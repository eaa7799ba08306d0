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
    """Every path that differs, in order, a directory before what is in it. `lowers` is topmost first.

    Not recursive: a container can nest directories deeper than Python calls.
    """
    open_directories = [_directory("", upper, lowers)]
    while open_directories:
        found = next(open_directories[-1], None)
        if found is None:
            open_directories.pop()
            continue
        change, path, below = found
        yield change
        if change.kind is not ChangeKind.DELETED and _is_directory(path):
            open_directories.append(_directory(change.path, path, [lower for lower in below if _is_directory(lower)]))


def _directory(path: str, upper: Path, lowers: list[Path]) -> Iterator[tuple[Change, Path, list[Path]]]:
    """Changes of the entries of directory `path`, which is `upper` above and, as far as they show through, `lowers`.

    With each comes where it lies in the upper layer, and in the layers below.
    """
    names = set(_names(upper))
    # An opaque directory hides everything of its name below: what it does not have itself has been deleted.
    hidden = _visible(lowers) - names if _is_opaque(upper) else set()
    for name in sorted(names | hidden):
        below = _below(lowers, name)
        if (kind := _kind(upper / name, below)) is not None:
            yield Change(f"{path}/{name}", kind), upper / name, below


def _kind(upper: Path, below: list[Path]) -> ChangeKind | None:
    try:
        status = upper.lstat()
    except FileNotFoundError:
        # Hidden by an opaque directory, or taken away just now: a running container goes on changing its files.
        return ChangeKind.DELETED if below else None
    if _is_whiteout(status):
        return ChangeKind.DELETED if below else None
    return ChangeKind.MODIFIED if below else ChangeKind.ADDED


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


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


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
