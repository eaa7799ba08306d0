"""The resource driver `cgroups_v2`: each group is a cgroup v2 directory in the daemon's slice.

There are three kinds of host. On a unified host everything works. On a hybrid host, where v1 has the controllers and
v2 is mounted next to it, freezing, killing, CPU usage and pressure work; limits are warnings, and nothing outside the
slice is written to. On a host with v1 only, `probe` says why the driver can't work.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

from sampan.drivers import (
    ANYWHERE,
    Cgroup,
    GroupEvent,
    Placement,
    ResourceCapabilities,
    Resources,
    ResourceSettings,
    Stats,
)
from sampan.drivers.limits import discarded
from sampan.errdefs import Conflict, SystemFailure, Unsupported
from sampan_cgroups_v2 import limits
from sampan_cgroups_v2.group import Group
from sampan_cgroups_v2.host import Host, find_host
from sampan_cgroups_v2.slice import Slice, check_parent
from sampan_cgroups_v2.statistics import Accounts
from sampan_cgroups_v2.watch import Watchers

_FREEZE_SINCE = (5, 2)
_KILL_SINCE = (5, 14)


class CgroupDriver:
    """A `ResourceDriver` on cgroup v2.

    `host` overrides what mountinfo says. `deadline_s` is how long to wait for processes to freeze or to exit.
    """

    def __init__(self, settings: ResourceSettings, *, host: Host | None = None, deadline_s: float = 5.0) -> None:
        self._host = host or find_host()
        self._deadline_s = deadline_s
        self._watchers = Watchers()
        self._accounts = Accounts()
        self._slice = self._find_slice(settings.parent)
        self._lock = threading.RLock()

    def probe(self) -> str | None:
        """Check that cgroup v2 is mounted and that the slice can contain groups."""
        if self._slice is None:
            return self._host.why_not()
        return self._slice.why_not()

    def capabilities(self) -> ResourceCapabilities:
        """What the kernel and the slice support."""
        if self._slice is None:
            return ResourceCapabilities(self._host.kind, frozenset())
        return ResourceCapabilities(
            self._host.kind,
            self._slice.controllers(),
            freeze=_kernel() >= _FREEZE_SINCE,
            kill=True,
            pressure=Group(self._slice.path.parent).has("cpu.pressure"),
        )

    def validate(self, resources: Resources, placement: Placement = ANYWHERE) -> tuple[str, ...]:
        """Check against the controllers that groups have here and the control files that exist in the slice."""
        offers = self._slice.offers if self._slice else lambda file: False
        check_parent(placement.parent)
        limits.check_files(resources, self.capabilities().controllers if self._slice else (), offers)
        return discarded(resources, offers)

    def create(self, id: str, resources: Resources, placement: Placement = ANYWHERE) -> Cgroup:
        """Create the cgroup and set its limits; if a limit can't be set, the cgroup is removed again."""
        group = self._make(id, placement.parent)
        try:
            warnings = limits.apply(group, resources)
            if resources.pressure_alerts:
                self._watchers.alert(id, group, resources.pressure_alerts)
        except BaseException:
            self._remove(id, group)
            raise
        self._watchers.add(id, group)
        return Cgroup(id, self._need_slice().name_of(group.path), warnings)

    def limit_parent(self, parent: str, resources: Resources) -> None:
        """Create a parent and set the limits that all groups in it share. For drivers that build on this one.

        Raises as `create` does. The parent is removed together with the last group in it; one that never had a group
        stays until then.
        """
        slice = self._need_slice()
        with self._lock:
            slice.make()
            path = slice.make_parent(parent)
            try:
                limits.apply(Group(path), resources)
            except BaseException:
                slice.remove_parents(path)
                raise

    def update(self, id: str, resources: Resources) -> tuple[str, ...]:
        """Write the control files, or restore the old values. If alerts are given, they replace all earlier ones."""
        group = self._existing(id)
        if resources.pressure_alerts:
            self._watchers.alert(id, group, resources.pressure_alerts)
        return limits.apply(group, resources)

    def stats(self, id: str) -> Stats:
        """Read the control files."""
        return self._accounts.stats(self._group(id).path)

    def freeze(self, id: str) -> None:
        """Return when `cgroup.events` says `frozen 1`."""
        self._existing(id).freeze(self._deadline_s)

    def thaw(self, id: str) -> None:
        """Return when `cgroup.events` says `frozen 0`."""
        self._existing(id).thaw(self._deadline_s)

    def is_frozen(self, id: str) -> bool:
        """Read `cgroup.freeze`."""
        return self._group(id).find_number("cgroup.freeze") == 1

    def kill(self, id: str) -> None:
        """Use cgroup.kill or, on kernels before 5.14, signal each process."""
        self._group(id).kill(self._deadline_s)

    def processes(self, id: str) -> list[int]:
        """Read cgroup.procs of the group and of all cgroups below it."""
        return list(self._existing(id).processes())

    def oom_kills(self, id: str) -> int:
        """Read memory.events, which includes the cgroups below."""
        return self._existing(id).find_table("memory.events").get("oom_kill", 0)

    def events(self) -> Iterator[GroupEvent]:
        """Events from cgroup.events, memory.events and the alerts on pressure files."""
        return self._watchers.listen((id, self._group(id)) for id in self.list())

    def remove(self, id: str) -> None:
        """Remove the cgroup, after waiting for processes that are exiting."""
        self._remove(id, self._group(id))

    def list(self) -> Iterator[str]:
        """The groups in the slice and in its parents: the cgroups named by a container ID."""
        return iter(()) if self._slice is None else (path.name for path in self._slice.groups())

    def close(self) -> None:
        """Remove the slice if no group is in it, and end `events`."""
        self._accounts.close()
        self._watchers.close()
        if self._slice is not None:
            self._slice.remove_if_empty()

    def _find_slice(self, parent: str) -> Slice | None:
        if self._host.mount is None:
            return None
        return Slice(self._host.mount, parent, enable=self._host.kind == "unified")

    def _need_slice(self) -> Slice:
        if self._slice is None:
            raise Unsupported(f"the cgroups_v2 resource driver can't work: {self._host.why_not()}")
        return self._slice

    def _group(self, id: str) -> Group:
        return Group(self._need_slice().find(id))

    def _existing(self, id: str) -> Group:
        group = self._group(id)
        group.require()
        return group

    def _make(self, id: str, parent: str) -> Group:
        """Create the group's cgroup. The lock keeps its parent from being removed at the same time."""
        slice = self._need_slice()
        with self._lock:
            self._clear(id)
            slice.make()
            path = (slice.make_parent(parent) if parent else slice.path) / id
            try:
                path.mkdir()
            except OSError as error:
                slice.remove_parents(path.parent)
                raise SystemFailure(f"can't make cgroup {path}: {error.strerror}") from error
            slice.place(id, path)
        return Group(path)

    def _clear(self, id: str) -> None:
        """Remove an empty group left by a crash, since its limits and counters must not be inherited."""
        left = self._group(id)
        if left.is_populated():
            raise Conflict(f"cgroup {left.path} exists and has processes")
        if left.path.is_dir():
            self._remove(id, left)

    def _remove(self, id: str, group: Group) -> None:
        group.remove(self._deadline_s)
        self._accounts.forget(group.path)
        self._watchers.remove(id)
        with self._lock:
            slice = self._need_slice()
            slice.forget(id)
            slice.remove_parents(group.path.parent)


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(filter(str.isdigit, minor)))
