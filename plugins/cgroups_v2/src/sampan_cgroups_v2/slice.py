"""The slice: the cgroup under which this daemon's groups lie, and the controllers enabled in it.

Source: kernel Documentation/admin-guide/cgroup-v2.rst, "Controlling Controllers" and "Delegation". A controller can
be given to children only by a cgroup without processes of its own, the root excepted. systemd delegates a
service's cgroup with the daemon in it: the daemon then moves itself, and nobody else, into a leaf below.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sampan.errdefs import SystemFailure

WANTED = ("cpu", "cpuset", "hugetlb", "io", "memory", "pids")
LEAF = "sampan.daemon"
"""Where a daemon that was started inside the slice puts itself."""


class Slice:
    """The cgroup `parent` of the cgroup v2 file system mounted on `mount`."""

    def __init__(self, mount: Path, parent: str) -> None:
        self._mount = mount
        self.path = mount / parent.strip("/")
        self._enabled = False

    def why_not(self) -> str | None:
        """Why groups can't be made in it, in one sentence."""
        kind = _words(self.path / "cgroup.type")
        if "threaded" in kind or "invalid" in kind:
            return f"the slice {self.path} is a threaded cgroup ({' '.join(kind)}), which can't hold containers"
        return None

    def controllers(self) -> frozenset[str]:
        """What groups in it can be limited by: certain once `make` was called, before that what is to be expected."""
        if self._enabled:
            return frozenset(_words(self.path / "cgroup.subtree_control"))
        nearest = next(path for path in (self.path, *self.path.parents) if path.is_dir())
        return frozenset(_words(nearest / "cgroup.controllers")).intersection(WANTED)

    def make(self, *, enable: bool) -> None:
        """Make the slice and, on a host whose v2 hierarchy is ours to use, give its children all controllers."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SystemFailure(f"can't make the slice {self.path}: {error.strerror}") from error
        if enable:
            for path in self._from_root():
                self._enable(path)
        self._enabled = True

    def remove_if_empty(self) -> None:
        """Remove it, unless groups or processes are in it, or it was never made."""
        with suppress(OSError):  # EBUSY, ENOTEMPTY, ENOENT: just so
            self.path.rmdir()

    def _from_root(self) -> Iterator[Path]:
        yield self._mount
        for depth in range(len(self.path.relative_to(self._mount).parts)):
            yield self._mount.joinpath(*self.path.relative_to(self._mount).parts[: depth + 1])

    def _enable(self, path: Path) -> None:
        """Each controller on its own: one that the kernel won't give keeps no other from being given.

        What stays off shows in `controllers`, and as warnings of the limits asked for.
        """
        if path == self.path:
            self._step_aside()
        if path != self._mount and _words(path / "cgroup.procs"):
            # The kernel refuses memory and io here, but takes cpu and pids, and makes it a threaded cgroup by that,
            # in which no container can live.
            return
        given = set(_words(path / "cgroup.subtree_control"))
        for controller in _words(path / "cgroup.controllers"):
            if controller in WANTED and controller not in given:
                _give(path, controller)

    def _step_aside(self) -> None:
        """Move this process, if it is in the slice itself, into the leaf."""
        if str(os.getpid()) in _words(self.path / "cgroup.procs"):
            leaf = self.path / LEAF
            leaf.mkdir(exist_ok=True)
            (leaf / "cgroup.procs").write_text(str(os.getpid()))


def _give(path: Path, controller: str) -> None:
    # A process that came meanwhile (EBUSY), a controller that refuses (EINVAL), or not ours to change (EACCES).
    with suppress(OSError):
        (path / "cgroup.subtree_control").write_text(f"+{controller}")


def _words(file: Path) -> list[str]:
    """The words of a control file; none if there is no such file (the root has no `cgroup.type`)."""
    try:
        return file.read_text().split()
    except FileNotFoundError:
        return []
