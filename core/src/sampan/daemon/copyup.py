"""Copy-up: an empty volume is filled with what the image has where it is mounted.

Source: moby daemon/volumes_unix.go and container/container_unix.go, CopyImagePathContent.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.errdefs import SystemFailure
from sampan.models import MountPoint
from sampan.syscalls.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def copy_up(daemon: Daemon, id: str, points: list[MountPoint]) -> None:
    """Fill the container's new volumes from its snapshot. Raises `SystemFailure` if that fails."""
    wanted = [point for point in points if point.type == "volume" and "nocopy" not in (point.mode or "")]
    empty = [point for point in wanted if not any(Path(point.source or "").iterdir())]
    if not empty:
        return
    mounts = await asyncio.to_thread(daemon.storage.mounts, id)
    await daemon.images.with_mounted(mounts, lambda root: _copy_all(root, empty))


def _copy_all(root: int, points: list[MountPoint]) -> None:
    """Runs in a thread where the snapshot is mounted; `root` is its open directory."""
    for point in points:
        try:
            source = openat2(
                root, point.destination, os.O_RDONLY | os.O_DIRECTORY, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
            )
        except OSError:  # the image has no directory there
            continue
        try:
            _copy(source, Path(point.source or ""))
        finally:
            os.close(source)


def _copy(source: int, target: Path) -> None:
    """Copy what is in the directory, and the directory's own mode, owner and times.

    `cp -a` follows no link in the tree and keeps owners, times, hard links, xattrs and holes.
    """
    command = ["cp", "-a", "--no-target-directory", f"/proc/self/fd/{source}/.", str(target)]
    done = subprocess.run(command, pass_fds=[source], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemFailure(f"failed to copy the image's content into volume {target}: {done.stderr.strip()}")
