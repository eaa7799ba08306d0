"""The `none` resource driver: containers run without limits, on any host.

It creates no groups. It only remembers ids, and returns a warning for every limit, as it enforces none.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from sampan.drivers.hookspecs import hookimpl
from sampan.drivers.limits import discarded
from sampan.drivers.resource import (
    ANYWHERE,
    Cgroup,
    GroupEvent,
    Placement,
    ResourceCapabilities,
    ResourceFactory,
    Resources,
    ResourceSettings,
    Stats,
)
from sampan.errdefs import NotFound, Unsupported


class NoneResources:
    """A `ResourceDriver` that limits nothing; `Cgroup.path` is empty, so the runtime creates no cgroup."""

    def __init__(self, settings: ResourceSettings) -> None:
        self._ids: set[str] = set()
        self._lock = threading.Lock()

    def probe(self) -> str | None:
        """It works everywhere."""
        return None

    def capabilities(self) -> ResourceCapabilities:
        """None."""
        return ResourceCapabilities(host="none", controllers=frozenset())

    def validate(self, resources: Resources, placement: Placement = ANYWHERE) -> tuple[str, ...]:
        """A warning for each limit, and for the parent."""
        return _warnings(resources, placement)

    def create(self, id: str, resources: Resources, placement: Placement = ANYWHERE) -> Cgroup:
        """Remember `id`."""
        with self._lock:
            self._ids.add(id)
        return Cgroup(id=id, path="", warnings=_warnings(resources, placement))

    def update(self, id: str, resources: Resources) -> tuple[str, ...]:
        """Return warnings only."""
        self._require(id)
        return _warnings(resources)

    def stats(self, id: str) -> Stats:
        """Nothing is accounted."""
        self._require(id)
        return Stats()

    def freeze(self, id: str) -> None:
        """Not supported without a cgroup."""
        self._require(id)
        raise Unsupported("the none resource driver can't freeze processes")

    def thaw(self, id: str) -> None:
        """Not supported without a cgroup."""
        self._require(id)
        raise Unsupported("the none resource driver can't thaw processes")

    def is_frozen(self, id: str) -> bool:
        """Always false."""
        return False

    def kill(self, id: str) -> None:
        """Do nothing: the runtime kills the init process, and with it its PID namespace."""

    def processes(self, id: str) -> list[int]:
        """None are known."""
        self._require(id)
        return []

    def oom_kills(self, id: str) -> int:
        """Always zero, as they are not counted."""
        self._require(id)
        return 0

    def events(self) -> Iterator[GroupEvent]:
        """None without cgroups."""
        return iter(())

    def remove(self, id: str) -> None:
        """Forget `id`."""
        with self._lock:
            self._ids.discard(id)

    def list(self) -> Iterator[str]:
        """The remembered ids."""
        with self._lock:
            return iter(sorted(self._ids))

    def close(self) -> None:
        """Do nothing."""

    def _require(self, id: str) -> None:
        if id not in self._ids:
            raise NotFound(f"the group of {id} does not exist")


def _warnings(resources: Resources, placement: Placement = ANYWHERE) -> tuple[str, ...]:
    parents = ("This driver makes no cgroups. Cgroup parent discarded.",) if placement.parent else ()
    return (*discarded(resources, lambda file: False), *parents)


@hookimpl
def sampan_resource_driver() -> tuple[str, ResourceFactory]:
    """The `none` driver."""
    return "none", NoneResources
