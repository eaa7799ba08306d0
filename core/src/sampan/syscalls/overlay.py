"""Overlay mounts of many layers: mount(2) takes one page of options.

The kernel looks lower directories up from the caller's working directory. So a thread that has its own
(`CLONE_FS` unshared) can stand where the layers lie and name them in a few bytes each, as containerd does.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from pathlib import Path

from sampan.syscalls.mount import mount_with_options

_LOWER = "lowerdir="


def mount_tower(source: str, target: Path, type: str, options: Iterable[str]) -> None:
    """Mount, as `mount_with_options` does, however many layers there are.

    Only for a thread with a working directory of its own (`CLONE_FS` unshared): it may move it. `target` is absolute.
    """
    directory, fitting = fit_page(options)
    if directory is not None:
        os.chdir(directory)
    mount_with_options(source, target, type, fitting)


def fit_page(options: Iterable[str]) -> tuple[str | None, tuple[str, ...]]:
    """Options that fit into one page, and the directory to mount from; `None` if any directory will do.

    Only `lowerdir` is rewritten. A colon within the name of a lower directory is not understood.
    """
    given = tuple(options)
    lowers = next((option for option in given if option.startswith(_LOWER)), None)
    if lowers is None or len(os.fsencode(",".join(given))) < mmap.PAGESIZE:
        return None, given
    paths = lowers.removeprefix(_LOWER).split(":")
    common = os.path.commonpath(os.path.dirname(path) for path in paths)  # noqa: PTH120  (text, not a file)
    shortened = _LOWER + ":".join(os.path.relpath(path, common) for path in paths)
    return common, tuple(shortened if option is lowers else option for option in given)
