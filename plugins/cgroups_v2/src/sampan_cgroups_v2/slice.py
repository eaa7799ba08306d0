"""The slice: the cgroup that contains this daemon's groups, and the controllers enabled in it.

Source: kernel Documentation/admin-guide/cgroup-v2.rst, "Controlling Controllers" and "Delegation". Except for the
root, a cgroup can enable controllers for its children only if it has no processes of its own. systemd delegates a
service's cgroup with the daemon in it, so the daemon moves itself, but no other process, into a leaf cgroup below.

A group is in the slice or in a parent below it. A cgroup whose name is a container's id is that container's group.
Any other cgroup in the slice is a parent or belongs to another program, and is searched for groups. The content of a
container's group belongs to the container and is never searched: names in it prove nothing.
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
    """Raise `InvalidArgument` if a name in the path is reserved by the kernel or by this driver."""
    for name in filter(None, parent.split("/")):
        controller, dot, _ = name.partition(".")
        if name == LEAF or (dot and controller in CONTROLLERS):
            raise InvalidArgument(f"{name!r} can't be the name of a cgroup parent")


class Slice:
    """The cgroup `parent` of the file system on `mount`. `enable` is false if that has no controllers (hybrid)."""

    def __init__(self, mount: Path, parent: str, *, enable: bool) -> None:
        self._mount = mount
        self.path = mount / parent.strip("/")
        self._enable_controllers = enable
        self._made = False
        # Searched once, for groups of an earlier daemon: all later ones are created here.
        self._places = {path.name: path for path in self.groups()}

    def why_not(self) -> str | None:
        """Why groups can't be created in it, in one sentence; `None` if they can."""
        kind = _threaded(self.path)
        return f"the slice {self.path} is a threaded cgroup ({kind}), which can't hold containers" if kind else None

    def controllers(self) -> frozenset[str]:
        """The controllers of groups in it. Before the slice is created, those that are expected to be available."""
        if not self._enable_controllers:
            return frozenset()
        if self._made:
            return frozenset(_words(self.path / "cgroup.subtree_control"))
        return frozenset(_words(self._ours()[0] / "cgroup.controllers")).intersection(WANTED)

    def offers(self, file: str) -> bool:
        """Whether groups in it have this control file.

        If the slice itself has the controller, it has the same files. Otherwise the file is assumed to exist.
        """
        controller = file.partition(".")[0]
        if controller not in {CORE, *self.controllers()}:
            return False
        is_certain = controller in {CORE, *_words(self.path / "cgroup.controllers")} and self.path.is_dir()
        return has_limit(Group(self.path), file) if is_certain else True

    def make(self) -> None:
        """Create the slice, also if another program has removed it, and enable all controllers for its children."""
        if self._made and self.path.is_dir():
            return
        self._make(self.path)
        self._sweep()
        if self._enable_controllers:
            for path in self._ours():
                self._enable(path)
        self._made = True

    def make_parent(self, parent: str) -> Path:
        """Create a parent in the slice. Raises `Conflict` if groups in it can't be limited or can't exist."""
        path = self.path / parent
        try:
            self._make(path)
            for directory in _from(self.path, path)[1:]:
                self._prepare(directory)
        except BaseException:
            self.remove_parents(path)
            raise
        return path

    def remove_parents(self, path: Path) -> None:
        """Remove the parent at `path`, and those above it, if they are empty and were created by this driver."""
        remove_cgroups(path, self.path)

    def place(self, id: str, path: Path) -> None:
        """Remember where a group is."""
        self._places[id] = path

    def forget(self, id: str) -> None:
        """Forget a group that was removed."""
        self._places.pop(id, None)

    def find(self, id: str) -> Path:
        """The path of a container's group; for an unknown one, its path directly in the slice."""
        if not _ID.fullmatch(id):
            raise InvalidArgument(f"{id!r} is not a container id")
        return self._places.get(id, self.path / id)

    def name_of(self, path: Path) -> str:
        """The path within the cgroup file system, for the OCI spec's `cgroupsPath`."""
        return f"/{path.relative_to(self._mount)}"

    def groups(self) -> Iterator[Path]:
        """The groups of containers, in the slice and in the parents below it."""
        return _groups_in(self.path)

    def remove_if_empty(self) -> None:
        """Remove it unless it contains groups or processes or was created by another program."""
        self._sweep()
        remove_cgroups(self.path, self._mount)

    def _sweep(self) -> None:
        """Remove empty parents left by a daemon that was killed between creating the parent and the group."""
        for path in _parents_in(self.path):
            remove_cgroups(path, self.path)

    def _ours(self) -> list[Path]:
        """The slice and the cgroups above it that may be changed: up to the delegated one, or the root."""
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
                raise Conflict(f"cgroup parent {parent} has processes, so nothing in it can be limited")
            self._enable(parent)

    def _enable(self, path: Path) -> None:
        """Enable each controller separately, so that one that can't be enabled does not prevent the others.

        `controllers` does not include those that stay disabled, and limits that need them are warned about.
        """
        if path != self._mount or (path / "cgroup.type").exists():  # only the real root has no type
            step_aside(path)
            if _words(path / "cgroup.procs"):
                # With processes in it, the kernel rejects memory and io here, but accepts cpu and pids. That would
                # turn the cgroup into a threaded one, which can't contain containers.
                return
        given = set(_words(path / "cgroup.subtree_control"))
        for controller in _words(path / "cgroup.controllers"):
            if controller in WANTED and controller not in given:
                _give(path, controller)


def _give(path: Path, controller: str) -> None:
    # A process has been moved in meanwhile (EBUSY), the controller refuses (EINVAL), or no permission (EACCES).
    with suppress(OSError):
        (path / "cgroup.subtree_control").write_text(f"+{controller}")


def _from(top: Path, path: Path) -> list[Path]:
    """`top` and the directories below it down to `path`."""
    parts = path.relative_to(top).parts
    return [top.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]


def _groups_in(path: Path) -> Iterator[Path]:
    for directory in _directories(path):
        if _ID.fullmatch(directory.name):
            yield directory
        else:
            yield from _groups_in(directory)


def _parents_in(path: Path) -> Iterator[Path]:
    """The cgroups that are not a container's, innermost first."""
    for directory in _directories(path):
        if not _ID.fullmatch(directory.name):
            yield from _parents_in(directory)
            yield directory


def _directories(path: Path) -> list[Path]:
    """The directories in `path`; none if it is gone."""
    try:
        return sorted(path / entry.name for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _threaded(path: Path) -> str:
    """The type of a cgroup that can't have domain cgroups below it; empty for others."""
    kind = _words(path / "cgroup.type")
    return " ".join(kind) if "threaded" in kind or "invalid" in kind else ""


def _words(file: Path) -> list[str]:
    """The words in a control file; none if it does not exist (the root has no `cgroup.type`)."""
    try:
        return file.read_text().split()
    except FileNotFoundError:
        return []
