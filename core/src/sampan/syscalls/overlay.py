"""Overlay mounts with many layers, although mount(2) takes at most one page of options.

The kernel resolves lower directories relative to the caller's working directory. So a thread with its own
(`CLONE_FS` unshared) can change to the directory of the layers and name each in a few bytes, as containerd does.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from pathlib import Path

from sampan.syscalls.mount import mount_with_options

_LOWER = "lowerdir="


def mount_tower(source: str, target: Path, type: str, options: Iterable[str]) -> None:
    """Mount as `mount_with_options` does, but with any number of layers.

    Only for a thread with its own working directory (`CLONE_FS` unshared), which it may change. `target` is absolute.
    """
    directory, fitting = fit_page(options)
    if directory is not None:
        os.chdir(directory)
    mount_with_options(source, target, type, fitting)


def fit_page(options: Iterable[str]) -> tuple[str | None, tuple[str, ...]]:
    """The directory to mount from, `None` if any will do, and options that fit into one page.

    Only `lowerdir` is rewritten. Colons in the names of lower directories are not supported.
    """
    given = tuple(options)
    lowers = next((option for option in given if option.startswith(_LOWER)), None)
    if lowers is None or len(os.fsencode(",".join(given))) < mmap.PAGESIZE:
        return None, given
    paths = lowers.removeprefix(_LOWER).split(":")
    common = os.path.commonpath(os.path.dirname(path) for path in paths)  # noqa: PTH120  (text, not a file)
    shortened = _LOWER + ":".join(os.path.relpath(path, common) for path in paths)
    return common, tuple(shortened if option is lowers else option for option in given)
