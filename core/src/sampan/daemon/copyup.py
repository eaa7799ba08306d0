"""Copy-up: an empty volume is filled with what the image has where it is mounted.

Source: moby daemon/volumes_unix.go and container/container_unix.go, CopyImagePathContent.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.daemon.rootfs import open_rootfs
from sampan.drivers import Mount
from sampan.errdefs import SystemFailure
from sampan.models import MountPoint
from sampan.syscalls.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def copy_up(daemon: Daemon, id: str, points: list[MountPoint]) -> None:
    """Fill the container's empty volumes from its snapshot. Raises `SystemFailure` if that fails."""
    wanted = [point for point in points if point.type == "volume" and "nocopy" not in point.mode]
    empty = await asyncio.to_thread(lambda: [point for point in wanted if not any(Path(point.source).iterdir())])
    if empty:
        mounts = await asyncio.to_thread(daemon.storage.mounts, id)
        await asyncio.to_thread(_copy_all, mounts, empty, daemon.settings.exec_root)


def _copy_all(mounts: Sequence[Mount], points: list[MountPoint], state_dir: Path) -> None:
    with open_rootfs(mounts, state_dir) as root:
        for point in points:
            try:
                source = openat2(
                    root,
                    os.fsencode(point.destination),
                    os.O_RDONLY | os.O_DIRECTORY,
                    RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
                )
            except OSError:  # the image has no directory there
                continue
            try:
                _copy(source, Path(point.source))
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
