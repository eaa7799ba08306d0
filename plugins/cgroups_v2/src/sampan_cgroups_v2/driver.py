"""The resource driver `cgroups_v2`: a group is a cgroup of version 2, in a slice of the daemon's.

Three kinds of host. Unified: everything works. Hybrid (v1 has the controllers, v2 is mounted beside it): freezing,
killing, CPU usage and pressure work, limits are warnings, and nothing outside the slice is written. With v1 only,
`probe` says why it can't work.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping

from sampan.drivers import Cgroup, GroupEvent, ResourceCapabilities, Resources, ResourceSettings, Stats
from sampan.drivers.limits import discarded
from sampan.errdefs import Conflict, InvalidArgument, SystemFailure, Unsupported
from sampan_cgroups_v2 import limits
from sampan_cgroups_v2.group import Group
from sampan_cgroups_v2.host import Host, find_host
from sampan_cgroups_v2.slice import LEAF, Slice
from sampan_cgroups_v2.statistics import Accounts
from sampan_cgroups_v2.watch import Watchers

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_FREEZE_SINCE = (5, 2)
_KILL_SINCE = (5, 14)


class CgroupDriver:
    """A `ResourceDriver` on cgroup v2.

    `host` overrides what mountinfo says, `deadline_s` is how long to wait for processes that are to stop or to die.
    """

    def __init__(self, settings: ResourceSettings, *, host: Host | None = None, deadline_s: float = 5.0) -> None:
        self._host = host or find_host()
        self._parent = "/" + settings.parent.strip("/")
        self._deadline_s = deadline_s
        self._watchers = Watchers()
        self._accounts = Accounts()
        self._slice = Slice(self._host.mount, self._parent) if self._host.mount else None
        self._lock = threading.Lock()
        self._made = False

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
            self._slice.controllers() if self._host.kind == "unified" or self._made else frozenset(),
            freeze=_kernel() >= _FREEZE_SINCE,
            kill=True,
            pressure=Group(self._slice.path.parent).has("cpu.pressure"),
        )

    def validate(self, resources: Resources) -> tuple[str, ...]:
        """By the controllers that groups have here, and the control files that the slice has for them."""
        controllers = self.capabilities().controllers
        limits.check_files(resources, Group(self._slice.path) if self._slice else None, controllers)
        return discarded(resources, lambda file: file.partition(".")[0] in controllers)

    def create(self, id: str, resources: Resources, labels: Mapping[str, str] | None = None) -> Cgroup:
        """Make the cgroup; a failure to set a limit removes it again."""
        group = self._group(id)
        self._make_slice()
        self._make(group)
        try:
            warnings = limits.apply(group, resources)
            self._watchers.alert(id, group, resources.pressure_alerts)
        except BaseException:
            group.remove(self._deadline_s)
            raise
        self._watchers.add(id, group)
        return Cgroup(id, f"{self._parent.rstrip('/')}/{id}", warnings)

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
        self._group(id).remove(self._deadline_s)
        self._accounts.forget(self._group(id).path)
        self._watchers.remove(id)

    def list(self) -> Iterator[str]:
        """The cgroups in the slice, but the daemon's own."""
        if self._slice is None or not self._slice.path.is_dir():
            return iter(())
        names = [path.name for path in self._slice.path.iterdir() if path.is_dir()]
        return (name for name in sorted(names) if name != LEAF)

    def close(self) -> None:
        """Remove the slice if no group is in it; listening ends."""
        self._accounts.close()
        self._watchers.close()
        if self._slice is not None:
            self._slice.remove_if_empty()

    def _group(self, id: str) -> Group:
        if not _ID.fullmatch(id):
            raise InvalidArgument(f"{id!r} can't be the name of a cgroup")
        if self._slice is None:
            raise Unsupported(f"the cgroups_v2 resource driver can't work: {self._host.why_not()}")
        return Group(self._slice.path / id)

    def _existing(self, id: str) -> Group:
        group = self._group(id)
        group.require()
        return group

    def _make_slice(self) -> None:
        """Once, and again if somebody removed it."""
        with self._lock:
            if self._slice and not (self._made and self._slice.path.is_dir()):
                self._slice.make(enable=self._host.kind == "unified")
                self._made = True

    def _make(self, group: Group) -> None:
        """An empty group that is there was left by a crash; its limits and counts must not live on."""
        if group.path.is_dir():
            if group.is_populated():
                raise Conflict(f"cgroup {group.path} exists and has processes")
            group.remove(self._deadline_s)
            self._accounts.forget(group.path)
        try:
            group.path.mkdir()
        except OSError as error:
            raise SystemFailure(f"can't make cgroup {group.path}: {error.strerror}") from error


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(filter(str.isdigit, minor)))
