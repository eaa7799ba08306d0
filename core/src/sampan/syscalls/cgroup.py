"""Cgroups that we made, told from those that somebody else made by a mark that they bear from the first moment on.

mkdir(2) hands the mode to the kernel's cgroup_mkdir (kernel/cgroup/cgroup.c), so the mark is set in the same call: a
sticky bit, which means nothing else there. Nothing has to be remembered, and a crash at any moment leaves no cgroup
of which nobody knows whose it is.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

LEAF = "sampan.daemon"
"""Where a daemon that was started in the slice, or above it, puts itself."""

_MODE = 0o755 | stat.S_ISVTX
_IN_USE = (errno.EBUSY, errno.ENOTEMPTY)


def make_cgroups(path: Path, root: Path) -> None:
    """Make the cgroup `path`, and those between it and `root` that are missing. Raises `OSError`."""
    for directory in reversed(_up_to(path, root)):
        with suppress(FileExistsError):
            directory.mkdir(_MODE)


def remove_cgroups(path: Path, root: Path) -> None:
    """Remove `path` and then those above it, below `root`, until one is in use or is not of our making."""
    for directory in _up_to(path, root):
        try:
            if not os.lstat(directory).st_mode & stat.S_ISVTX:
                return
            directory.rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in _IN_USE:
                return
            raise


def _up_to(path: Path, root: Path) -> list[Path]:
    """`path` and the directories above it, as far as they are below `root`."""
    return [one for one in (path, *path.parents) if one != root and one.is_relative_to(root)]


def own_cgroup(of_process: Path = Path("/proc/self/cgroup")) -> str:
    """The cgroup of version 2 that this process is in, absolute in that file system. Raises `OSError` without one."""
    for line in of_process.read_text().splitlines():
        if line.startswith("0::"):
            return line[3:]
    raise OSError(f"{of_process} has no line for cgroup v2")


def delegated_cgroup(mount: Path, own: str) -> str:
    """The cgroup above `own`, this process's, that systemd delegated and keeps free of processes; empty without one.

    That is what a unit with `DelegateSubgroup=` has (systemd 254). Without it systemd puts the main process into the
    delegated cgroup itself, which the kernel refuses once that has handed controllers down: a daemon whose containers
    lie there could not be restarted while they run.
    """
    above = [one for one in map(str, Path(own).parents) if one != "/"]
    return next((one for one in above if is_delegated(mount / one.lstrip("/"))), "")


def step_aside(path: Path) -> None:
    """Move this process, if it is in the cgroup `path` itself, into the leaf below: only then can `path` hand
    controllers down.

    From the root of a cgroup namespace, which is what an engine in a container has to itself, everybody is moved: the
    container's init, the shell around us. Anywhere else others are left alone. Raises `OSError`.
    """
    pids, own = _processes(path), str(os.getpid())
    if own not in pids:
        return
    make_cgroups(path / LEAF, path)
    procs = path / LEAF / "cgroup.procs"
    procs.write_text(own)
    if own_cgroup() == f"/{LEAF}":
        moved = {own}
        while pids := _processes(path) - moved:  # what is forked meanwhile too
            for pid in pids:
                with suppress(ProcessLookupError):
                    procs.write_text(pid)
            moved |= pids


def _processes(path: Path) -> set[str]:
    """None if `path` is gone."""
    try:
        return set((path / "cgroup.procs").read_text().split())
    except FileNotFoundError:
        return set()


def is_delegated(path: Path) -> bool:
    """Whether systemd has handed the cgroup over (`Delegate=yes`; systemd.io/CGROUP_DELEGATION)."""
    return any(_attribute(path, name) == b"1" for name in ("user.delegate", "trusted.delegate"))


def _attribute(path: Path, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP, errno.ENOENT):
            return None
        raise
