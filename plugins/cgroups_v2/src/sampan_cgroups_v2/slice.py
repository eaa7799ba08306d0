"""The slice: the cgroup under which this daemon's groups lie, and the controllers enabled in it.

Source: kernel Documentation/admin-guide/cgroup-v2.rst, "Controlling Controllers" and "Delegation". A controller can
be given to children only by a cgroup without processes of its own, the root excepted. systemd delegates a
service's cgroup with the daemon in it: the daemon then moves itself, and nobody else, into a leaf below.

A group lies in the slice or in a parent below it. The group of a container is what has a container's id as its name;
all else in the slice is a parent or somebody's, and looked into. What is in a container's group is the container's,
and never looked at: names there prove nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sampan.errdefs import Conflict, InvalidArgument, SystemFailure
from sampan.syscalls.cgroup import LEAF, is_delegated, make_cgroups, remove_cgroups, step_aside
from sampan_cgroups_v2.group import CORE, Group
from sampan_cgroups_v2.limits import CONTROLLERS, has_limit

WANTED = ("cpu", "cpuset", "dmem", "hugetlb", "io", "memory", "misc", "pids", "rdma")
_ID = re.compile(r"[0-9a-f]{64}")


def check_parent(parent: str) -> None:
    """Raise `InvalidArgument` for a parent with a name in it that the kernel or this driver has taken."""
    for name in filter(None, parent.split("/")):
        controller, dot, _ = name.partition(".")
        if name == LEAF or (dot and controller in CONTROLLERS):
            raise InvalidArgument(f"{name!r} can't be the name of a cgroup parent")


class Slice:
    """The cgroup `parent` of the cgroup v2 file system mounted on `mount`; `enable`: whether that has controllers."""

    def __init__(self, mount: Path, parent: str, *, enable: bool) -> None:
        self._mount = mount
        self.path = mount / parent.strip("/")
        self._enable_controllers = enable
        self._made = False
        # Looked for once, for those of an earlier daemon: all others are of our making.
        self._places = {path.name: path for path in self.groups()}

    def why_not(self) -> str | None:
        """Why groups can't be made in it, in one sentence."""
        kind = _threaded(self.path)
        return f"the slice {self.path} is a threaded cgroup ({kind}), which can't hold containers" if kind else None

    def controllers(self) -> frozenset[str]:
        """What groups in it can be limited by: certain once it is made, before that what is to be expected."""
        if not self._enable_controllers:
            return frozenset()
        if self._made:
            return frozenset(_words(self.path / "cgroup.subtree_control"))
        return frozenset(_words(self._ours()[0] / "cgroup.controllers")).intersection(WANTED)

    def offers(self, file: str) -> bool:
        """Whether groups in it have this control file. Where the slice has the controller, it has what they have."""
        controller = file.partition(".")[0]
        if controller not in {CORE, *self.controllers()}:
            return False
        is_certain = controller in {CORE, *_words(self.path / "cgroup.controllers")} and self.path.is_dir()
        return has_limit(Group(self.path), file) if is_certain else True

    def make(self) -> None:
        """Make the slice, or make it again if somebody removed it, and give its children all controllers."""
        if self._made and self.path.is_dir():
            return
        self._make(self.path)
        self._sweep()
        if self._enable_controllers:
            for path in self._ours():
                self._enable(path)
        self._made = True

    def make_parent(self, parent: str) -> Path:
        """Make a parent in the slice. Raises `Conflict` if groups in it can't be limited, or are none."""
        path = self.path / parent
        try:
            self._make(path)
            for directory in _from(self.path, path)[1:]:
                self._prepare(directory)
        except BaseException:
            self.leave(path)
            raise
        return path

    def leave(self, path: Path) -> None:
        """Remove the parent at `path`, and those above it, as far as they are of our making and empty."""
        remove_cgroups(path, self.path)

    def place(self, id: str, path: Path) -> None:
        """Remember where a group lies."""
        self._places[id] = path

    def forget(self, id: str) -> None:
        """The group is gone."""
        self._places.pop(id, None)

    def find(self, id: str) -> Path:
        """Where the group of a container lies, or would if it had no parent."""
        if not _ID.fullmatch(id):
            raise InvalidArgument(f"{id!r} is no id of a container")
        return self._places.get(id, self.path / id)

    def name_of(self, path: Path) -> str:
        """The path within the cgroup file system, as the OCI spec has it."""
        return f"/{path.relative_to(self._mount)}"

    def groups(self) -> Iterator[Path]:
        """Those of containers, in the slice and in the parents below it."""
        return _groups_in(self.path)

    def remove_if_empty(self) -> None:
        """Remove it, unless groups or processes are in it, or somebody else made it."""
        self._sweep()
        remove_cgroups(self.path, self._mount)

    def _sweep(self) -> None:
        """Remove the empty parents of our making that a daemon left which was killed between parent and group."""
        for path in _parents_in(self.path):
            remove_cgroups(path, self.path)

    def _ours(self) -> list[Path]:
        """The slice and those above it that are ours to change: up to the one that systemd delegated, or the root."""
        paths = _from(self._mount, self.path)
        delegated = [place for place, path in enumerate(paths) if is_delegated(path)]
        return paths[max(delegated, default=0) :]

    def _make(self, path: Path) -> None:
        try:
            make_cgroups(path, self._mount)
        except OSError as error:
            raise SystemFailure(f"can't make the cgroup {path}: {error.strerror}") from error

    def _prepare(self, parent: Path) -> None:
        if kind := _threaded(parent):
            raise Conflict(f"cgroup parent {parent} is threaded ({kind}), which can't hold containers")
        if self._enable_controllers:
            if _words(parent / "cgroup.procs"):
                raise Conflict(f"cgroup parent {parent} has processes, so that nothing in it can be limited")
            self._enable(parent)

    def _enable(self, path: Path) -> None:
        """Each controller on its own: one that the kernel won't give keeps no other from being given.

        What stays off shows in `controllers`, and as warnings of the limits asked for.
        """
        if path != self._mount or (path / "cgroup.type").exists():  # only the root of all has no type
            step_aside(path)
            if _words(path / "cgroup.procs"):
                # The kernel refuses memory and io here, but takes cpu and pids, and makes it a threaded cgroup by
                # that, in which no container can live.
                return
        given = set(_words(path / "cgroup.subtree_control"))
        for controller in _words(path / "cgroup.controllers"):
            if controller in WANTED and controller not in given:
                _give(path, controller)


def _give(path: Path, controller: str) -> None:
    # A process that came meanwhile (EBUSY), a controller that refuses (EINVAL), or not ours to change (EACCES).
    with suppress(OSError):
        (path / "cgroup.subtree_control").write_text(f"+{controller}")


def _from(top: Path, path: Path) -> list[Path]:
    """`top` and those below it down to `path`."""
    parts = path.relative_to(top).parts
    return [top.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]


def _groups_in(path: Path) -> Iterator[Path]:
    for directory in _directories(path):
        if _ID.fullmatch(directory.name):
            yield directory
        else:
            yield from _groups_in(directory)


def _parents_in(path: Path) -> Iterator[Path]:
    """What is no container's, the inner ones first."""
    for directory in _directories(path):
        if not _ID.fullmatch(directory.name):
            yield from _parents_in(directory)
            yield directory


def _directories(path: Path) -> list[Path]:
    """Those in `path`, none if that is gone."""
    try:
        return sorted(path / entry.name for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _threaded(path: Path) -> str:
    """What the kernel calls a cgroup that can hold no domain below it; empty for others."""
    kind = _words(path / "cgroup.type")
    return " ".join(kind) if "threaded" in kind or "invalid" in kind else ""


def _words(file: Path) -> list[str]:
    """The words of a control file; none if there is no such file (the root has no `cgroup.type`)."""
    try:
        return file.read_text().split()
    except FileNotFoundError:
        return []
