"""The resource driver `cgroups_v2`: a group is a cgroup of version 2, in a slice of the daemon's.

Three kinds of host. Unified: everything works. Hybrid (v1 has the controllers, v2 is mounted beside it): freezing,
killing, CPU usage and pressure work, limits are warnings, and nothing outside the slice is written. With v1 only,
`probe` says why it can't work.
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

    `host` overrides what mountinfo says, `deadline_s` is how long to wait for processes that are to stop or to die.
    """

    def __init__(self, settings: ResourceSettings, *, host: Host | None = None, deadline_s: float = 5.0) -> None:
        self._host = host or find_host()
        self._deadline_s = deadline_s
        self._watchers = Watchers()
        self._accounts = Accounts()
        self._slice = self._find_slice(settings.parent)
        self._lock = threading.RLock()

    def probe(self) -> str | None:
        """Whether cgroup v2 is mounted, and the slice can hold groups."""
        if self._slice is None:
            return self._host.why_not()
        return self._slice.why_not()

    def capabilities(self) -> ResourceCapabilities:
        """What the kernel and the slice offer."""
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
        """By the controllers that groups have here, and the control files that the slice has for them."""
        offers = self._slice.offers if self._slice else lambda file: False
        check_parent(placement.parent)
        limits.check_files(resources, self.capabilities().controllers if self._slice else (), offers)
        return discarded(resources, offers)

    def create(self, id: str, resources: Resources, placement: Placement = ANYWHERE) -> Cgroup:
        """Make the cgroup; a failure to set a limit removes it again."""
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
        """Make a parent, and set limits that all that is in it shares. For drivers that build on this one.

        Raises as `create` does. A parent that holds nothing goes with the next group that is removed from it.
        """
        slice = self._need_slice()
        with self._lock:
            slice.make()
            path = slice.make_parent(parent)
            try:
                limits.apply(Group(path), resources)
            except BaseException:
                slice.leave(path)
                raise

    def update(self, id: str, resources: Resources) -> tuple[str, ...]:
        """Write the control files, or put the old values back. Alerts that are given take the place of all before."""
        group = self._existing(id)
        if resources.pressure_alerts:
            self._watchers.alert(id, group, resources.pressure_alerts)
        return limits.apply(group, resources)

    def stats(self, id: str) -> Stats:
        """Read the control files."""
        return self._accounts.stats(self._group(id).path)

    def freeze(self, id: str) -> None:
        """Returns when `cgroup.events` says `frozen 1`."""
        self._existing(id).freeze(self._deadline_s)

    def thaw(self, id: str) -> None:
        """Returns when `cgroup.events` says `frozen 0`."""
        self._existing(id).thaw(self._deadline_s)

    def is_frozen(self, id: str) -> bool:
        """As `cgroup.freeze` says."""
        return self._group(id).find_number("cgroup.freeze") == 1

    def kill(self, id: str) -> None:
        """By cgroup.kill, or process by process on kernels before 5.14."""
        self._group(id).kill(self._deadline_s)

    def processes(self, id: str) -> list[int]:
        """From cgroup.procs of the group and those below."""
        return list(self._existing(id).processes())

    def oom_kills(self, id: str) -> int:
        """From memory.events, which counts the groups below too."""
        return self._existing(id).find_table("memory.events").get("oom_kill", 0)

    def events(self) -> Iterator[GroupEvent]:
        """From cgroup.events, memory.events and the alerts on pressure files."""
        return self._watchers.listen((id, self._group(id)) for id in self.list())

    def remove(self, id: str) -> None:
        """Waits for dying processes."""
        self._remove(id, self._group(id))

    def list(self) -> Iterator[str]:
        """The cgroups in the slice, and in parents there, that have a container's id as their name."""
        return iter(()) if self._slice is None else (path.name for path in self._slice.groups())

    def close(self) -> None:
        """Remove the slice if no group is in it; listening ends."""
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
        """The group, new. Its parent can't be removed meanwhile."""
        slice = self._need_slice()
        with self._lock:
            self._clear(id)
            slice.make()
            path = (slice.make_parent(parent) if parent else slice.path) / id
            try:
                path.mkdir()
            except OSError as error:
                slice.leave(path.parent)
                raise SystemFailure(f"can't make cgroup {path}: {error.strerror}") from error
            slice.place(id, path)
        return Group(path)

    def _clear(self, id: str) -> None:
        """An empty group that is there was left by a crash; its limits and counts must not live on."""
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
            slice.leave(group.path.parent)


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(filter(str.isdigit, minor)))
