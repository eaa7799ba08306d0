"""A resource driver that keeps its groups in memory, for tests of the layers above a resource driver."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

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
from sampan.errdefs import Conflict, NotFound

ALL_CONTROLLERS = frozenset({"cpu", "cpuset", "hugetlb", "io", "memory", "pids"})


@dataclass
class _Group:
    resources: Resources
    placement: Placement = ANYWHERE
    pids: list[int] = field(default_factory=list)
    frozen: bool = False
    oom_kills: int = 0


class MemoryResource:
    """A `ResourceDriver` for tests. `add_process` and `report_oom_kill` simulate the kernel."""

    def __init__(self, settings: ResourceSettings, *, controllers: frozenset[str] = ALL_CONTROLLERS) -> None:
        self._parent = settings.parent
        self._controllers = controllers
        self._groups: dict[str, _Group] = {}
        self._listeners: list[queue.SimpleQueue[GroupEvent | None]] = []
        self._lock = threading.RLock()

    def probe(self) -> str | None:
        """It works everywhere."""
        return None

    def capabilities(self) -> ResourceCapabilities:
        """Everything but pressure, with the controllers given to the constructor."""
        return ResourceCapabilities("unified", self._controllers, freeze=True, kill=True, pressure=False)

    def validate(self, resources: Resources, placement: Placement = ANYWHERE) -> tuple[str, ...]:
        """Warnings for limits of missing controllers."""
        return self._warnings(resources)

    def create(self, id: str, resources: Resources, placement: Placement = ANYWHERE) -> Cgroup:
        """Create the group; an existing one without processes is reused."""
        with self._lock:
            if id in self._groups and self._groups[id].pids:
                raise Conflict(f"cgroup {self._parent}/{id} exists and has processes")
            self._groups[id] = _Group(resources, placement)
        path = "/".join(filter(None, (self._parent, placement.parent, id)))
        return Cgroup(id, path, self._warnings(resources))

    def update(self, id: str, resources: Resources) -> tuple[str, ...]:
        """Change the given limits; those that are `None` stay."""
        with self._lock:
            group = self._get(id)
            group.resources = replace(group.resources, **_asked(resources))
        return self._warnings(resources)

    def stats(self, id: str) -> Stats:
        """Limits and counts; time and memory usage are zero."""
        with self._lock:
            group = self._get(id)
            return Stats(
                cpu_usage_us=0,
                memory_bytes=0,
                memory_max_bytes=group.resources.memory_max_bytes,
                oom_kills=group.oom_kills,
                pids=len(group.pids),
                pids_max=group.resources.pids_max,
            )

    def freeze(self, id: str) -> None:
        """Record it."""
        with self._lock:
            self._get(id).frozen = True

    def thaw(self, id: str) -> None:
        """Record it."""
        with self._lock:
            self._get(id).frozen = False

    def placement(self, id: str) -> Placement:
        """The placement given to `create`."""
        with self._lock:
            return self._get(id).placement

    def is_frozen(self, id: str) -> bool:
        """Whether `freeze` was called after the last `thaw`."""
        with self._lock:
            return id in self._groups and self._groups[id].frozen

    def kill(self, id: str) -> None:
        """Forget all processes."""
        with self._lock:
            if (group := self._groups.get(id)) and group.pids:
                group.pids.clear()
                self._tell(GroupEvent(id, "empty"))

    def processes(self, id: str) -> list[int]:
        """The pids given to `add_process`."""
        with self._lock:
            return list(self._get(id).pids)

    def oom_kills(self, id: str) -> int:
        """The number reported by `report_oom_kill`."""
        with self._lock:
            return self._get(id).oom_kills

    def events(self) -> Iterator[GroupEvent]:
        """Events from this call on."""
        listener: queue.SimpleQueue[GroupEvent | None] = queue.SimpleQueue()
        with self._lock:
            self._listeners.append(listener)
        return iter(listener.get, None)

    def remove(self, id: str) -> None:
        """Forget the group."""
        with self._lock:
            if (group := self._groups.get(id)) and group.pids:
                raise Conflict(f"cgroup {self._parent}/{id} has processes")
            self._groups.pop(id, None)

    def list(self) -> Iterator[str]:
        """The ids of all groups."""
        with self._lock:
            return iter(sorted(self._groups))

    def add_process(self, id: str, pid: int) -> None:
        """Add `pid` to the group, as the OCI runtime does by writing to `cgroup.procs`."""
        with self._lock:
            self._get(id).pids.append(pid)

    def report_oom_kill(self, id: str, count: int = 1) -> None:
        """Report that the OOM killer has killed `count` processes of the group."""
        with self._lock:
            group = self._get(id)
            group.oom_kills += count
            self._tell(GroupEvent(id, "oom_kill", group.oom_kills))

    def resources(self, id: str) -> Resources:
        """The current limits."""
        with self._lock:
            return self._get(id).resources

    def close(self) -> None:
        """End all `events` iterators."""
        with self._lock:
            self._tell(None)
            self._listeners.clear()

    def _get(self, id: str) -> _Group:
        if id not in self._groups:
            raise NotFound(f"cgroup {self._parent}/{id} does not exist")
        return self._groups[id]

    def _tell(self, event: GroupEvent | None) -> None:
        for listener in self._listeners:
            listener.put(event)

    def _warnings(self, resources: Resources) -> tuple[str, ...]:
        return discarded(resources, lambda file: file.partition(".")[0] in self._controllers)


def _asked(resources: Resources) -> dict[str, Any]:
    """The fields of `resources` that are set."""
    values = {limit.name: getattr(resources, limit.name) for limit in fields(resources)}
    return {name: value for name, value in values.items() if value not in (None, (), {})}
