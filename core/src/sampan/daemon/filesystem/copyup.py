"""Copy-up: an empty volume is filled with the image's files at its mount point.

Source: moby daemon/volumes_unix.go and container/container_unix.go, CopyImagePathContent.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack

from sampan.daemon.filesystem.mounts import Point
from sampan.errdefs import InvalidArgument, SystemFailure
from sampan.syscalls.openat2 import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    openat2,
)


def fill_volumes(root: int, points: Sequence[Point]) -> None:
    """Fill those volumes that are empty from the container's files, opened as `root`. Blocks.

    Raises `InvalidArgument` with Docker's message if the image declares a volume where it has a file, `SystemFailure`
    if copying fails.
    """
    for point in points:
        with ExitStack() as files:
            if (target := _open_empty(point, files)) is not None and (source := _open_source(root, point, files)):
                _copy(source, target, point.name or "")


def _open_empty(point: Point, files: ExitStack) -> int | None:
    """The directory to fill; `None` if it is not empty. A missing subpath is reported at the start."""
    subpath = point.spec.volume_options.subpath if point.spec.volume_options else ""
    volume = os.open(point.source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    files.callback(os.close, volume)
    try:
        resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
        target = openat2(volume, os.fsencode(subpath or "."), os.O_RDONLY | os.O_DIRECTORY, resolve)
    except OSError:
        return None
    files.callback(os.close, target)
    with os.scandir(target) as entries:
        return None if any(entries) else target


def _open_source(root: int, point: Point, files: ExitStack) -> int | None:
    """The image's directory at the mount point; `None` if there is none."""
    try:
        source = openat2(
            root,
            os.fsencode(point.destination),
            os.O_RDONLY | os.O_DIRECTORY,
            RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        )
    except NotADirectoryError:
        if point.spec.type:
            return None  # the user's own mount: the runtime reports the error
        raise InvalidArgument(f"cannot mount volume over existing file, file exists {point.destination}") from None
    except OSError:
        return None
    files.callback(os.close, source)
    return source


def _copy(source: int, target: int, volume: str) -> None:
    """Copy the directory's content, and its own mode, owner and times.

    `cp -a` follows no symbolic link in the tree and preserves owners, times, hard links, xattrs and holes.
    """
    places = [f"/proc/self/fd/{fd}/." for fd in (source, target)]
    command = ["cp", "-a", "--no-target-directory", *places]
    done = subprocess.run(command, pass_fds=[source, target], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemFailure(f"failed to copy the image's content into volume {volume}: {done.stderr.strip()}")
