"""Runs functions inside the mounts of a storage driver, with nothing to clean up."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sampan.drivers import Mount
from sampan.syscalls.mount import MS_PRIVATE, MS_REC, mount, mount_with_options, umount2
from sampan.syscalls.namespaces import CLONE_FS, CLONE_NEWNS, unshare
from sampan.syscalls.overlay import fit_page

T = TypeVar("T")


def run_inside(mounts: Sequence[Mount], work: Callable[[Path], T]) -> T:
    """Call `work` with the root of the mounted snapshot, and return its result.

    The mounts are made in a thread with a private mount namespace, which needs root. A writable bind mount of a
    directory is used without mounting, so that drivers based on plain directories can be tested without root.
    """
    if len(mounts) == 1 and mounts[0].type == "bind" and "ro" not in mounts[0].options:
        return work(Path(mounts[0].source))
    with tempfile.TemporaryDirectory(prefix="sampan-mount-") as root, ThreadPoolExecutor(1) as threads:
        return threads.submit(_run_mounted, mounts, Path(root), work).result()


def _run_mounted(mounts: Sequence[Mount], root: Path, work: Callable[[Path], T]) -> T:
    unshare(CLONE_FS | CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    for one in mounts:
        directory, options = fit_page(one.options)
        os.chdir(directory or "/")
        mount_with_options(one.source, root, one.type, options)
    try:
        return work(root)
    finally:
        for _ in mounts:
            umount2(root)
