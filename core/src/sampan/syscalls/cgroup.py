"""Creates cgroups that are marked as sampan's, so that they can be distinguished from those of other programs.

The mark is the sticky bit, which has no other meaning there. mkdir(2) passes the mode to the kernel's cgroup_mkdir
(kernel/cgroup/cgroup.c), so it is set by the same call: no list is needed, and a crash at any moment leaves no cgroup
of unknown origin.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

LEAF = "sampan.daemon"
"""The leaf cgroup into which a daemon moves itself if it was started in the slice or above it."""

_MODE = 0o755 | stat.S_ISVTX
_IN_USE = (errno.EBUSY, errno.ENOTEMPTY)


def make_cgroups(path: Path, root: Path) -> None:
    """Create the cgroup `path`, and the missing ones between it and `root`. Raises `OSError`."""
    for directory in reversed(_up_to(path, root)):
        with suppress(FileExistsError):
            directory.mkdir(_MODE)


def remove_cgroups(path: Path, root: Path) -> None:
    """Remove the cgroup `path`, then those above it up to `root`, until one is in use or not marked."""
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
    """The cgroup v2 path of this process, absolute in that file system. Raises `OSError` if it has none."""
    for line in of_process.read_text().splitlines():
        if line.startswith("0::"):
            return line[3:]
    raise OSError(f"{of_process} has no line for cgroup v2")


def delegated_cgroup(mount: Path, own: str) -> str:
    """The cgroup above `own` (this process's) that systemd delegated and keeps free of processes; empty without one.

    Units with `DelegateSubgroup=` (systemd 254) have one. Without this setting systemd puts the main process into the
    delegated cgroup itself. The kernel refuses that once controllers are enabled for its children, so a daemon whose
    containers are there could not be restarted while they run.
    """
    above = [one for one in map(str, Path(own).parents) if one != "/"]
    return next((one for one in above if is_delegated(mount / one.lstrip("/"))), "")


def step_aside(path: Path) -> None:
    """If this process is in the cgroup `path`, move it into the leaf below, so that `path` can enable controllers.

    At the root of a cgroup namespace, which belongs to the engine's own container, all processes are moved, such as
    that container's init and shells. Elsewhere other processes are left alone. Raises `OSError`.
    """
    pids, own = _processes(path), str(os.getpid())
    if own not in pids:
        return
    make_cgroups(path / LEAF, path)
    procs = path / LEAF / "cgroup.procs"
    procs.write_text(own)
    if own_cgroup() == f"/{LEAF}":
        moved = {own}
        while pids := _processes(path) - moved:  # repeat, as processes may fork meanwhile
            for pid in pids:
                with suppress(ProcessLookupError):
                    procs.write_text(pid)
            moved |= pids


def _processes(path: Path) -> set[str]:
    """The pids in the cgroup; none if `path` is gone."""
    try:
        return set((path / "cgroup.procs").read_text().split())
    except FileNotFoundError:
        return set()


def is_delegated(path: Path) -> bool:
    """Whether systemd has delegated the cgroup (`Delegate=yes`; systemd.io/CGROUP_DELEGATION)."""
    return any(_attribute(path, name) == b"1" for name in ("user.delegate", "trusted.delegate"))


def _attribute(path: Path, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP, errno.ENOENT):
            return None
        raise
