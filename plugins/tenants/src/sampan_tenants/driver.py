"""The resource driver `tenants`: the slice holds a cgroup for each tenant, and that the cgroups of its containers.

All the work on cgroups is the driver cgroups_v2's: one on the slice makes the tenants' groups and those of containers
without a tenant, and one on each tenant's group makes the groups of its containers.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping

from sampan.drivers import Cgroup, GroupEvent, ResourceCapabilities, Resources, ResourceSettings, Stats
from sampan_cgroups_v2.driver import CgroupDriver
from sampan_tenants.budgets import FILE, Budgets, read_budgets

_PREFIX = "tenant-"


class TenantDriver:
    """A `ResourceDriver` with a budget for each tenant."""

    def __init__(self, settings: ResourceSettings) -> None:
        self._state_dir = settings.state_dir
        self._parent = settings.parent.rstrip("/")
        self._slice = CgroupDriver(settings)
        self._tenants: dict[str, CgroupDriver] = {}
        self._owners: dict[str, str | None] = {}
        self._lock = threading.Lock()
        self._heard: queue.SimpleQueue[GroupEvent | None] | None = None

    def probe(self) -> str | None:
        """As cgroups_v2."""
        return self._slice.probe()

    def capabilities(self) -> ResourceCapabilities:
        """As cgroups_v2."""
        return self._slice.capabilities()

    def validate(self, resources: Resources) -> tuple[str, ...]:
        """As cgroups_v2."""
        return self._slice.validate(resources)

    def create(self, id: str, resources: Resources, labels: Mapping[str, str] | None = None) -> Cgroup:
        """Make the group within its tenant's, whose budget is set anew."""
        budgets = read_budgets(self._state_dir / FILE)
        tenant = budgets.tenant_of(labels or {})
        with self._lock:
            if tenant is None:
                made = self._slice.create(id, resources)
            else:
                made = self._create_within(tenant, budgets, id, resources)
            self._owners[id] = tenant
        return made

    def update(self, id: str, resources: Resources) -> tuple[str, ...]:
        """Within the tenant's budget, which stays."""
        return self._of(id).update(id, resources)

    def stats(self, id: str) -> Stats:
        """The container's own."""
        return self._of(id).stats(id)

    def freeze(self, id: str) -> None:
        """As cgroups_v2."""
        self._of(id).freeze(id)

    def thaw(self, id: str) -> None:
        """As cgroups_v2."""
        self._of(id).thaw(id)

    def is_frozen(self, id: str) -> bool:
        """As cgroups_v2."""
        return self._of(id).is_frozen(id)

    def kill(self, id: str) -> None:
        """As cgroups_v2."""
        self._of(id).kill(id)

    def processes(self, id: str) -> list[int]:
        """As cgroups_v2."""
        return self._of(id).processes(id)

    def oom_kills(self, id: str) -> int:
        """The container's own, also those for its tenant's budget."""
        return self._of(id).oom_kills(id)

    def events(self) -> Iterator[GroupEvent]:
        """Those of all containers, whoever's they are."""
        with self._lock:
            self._heard = queue.SimpleQueue()
            for driver in (self._slice, *map(self._driver_of, self._there())):
                self._listen(driver)
            return iter(self._heard.get, None)

    def remove(self, id: str) -> None:
        """With the last of a tenant's containers the tenant's group goes too."""
        with self._lock:
            tenant = self._tenant_of(id)
            (self._driver_of(tenant) if tenant else self._slice).remove(id)
            self._owners.pop(id, None)
            if tenant:
                self._remove_if_empty(tenant)

    def list(self) -> Iterator[str]:
        """The containers' groups of all tenants, and those of none."""
        with self._lock:
            tenants = self._there()
            own = [id for id in self._slice.list() if not id.startswith(_PREFIX)]
            return iter(sorted([*own, *(id for tenant in tenants for id in self._driver_of(tenant).list())]))

    def close(self) -> None:
        """Every driver lets go of what is empty."""
        with self._lock:
            for driver in (*self._tenants.values(), self._slice):
                driver.close()
            if self._heard:
                self._heard.put(None)

    def _there(self) -> tuple[str, ...]:
        """The tenants that have a group: what the kernel says, so that a new daemon knows those of the last."""
        return tuple(id.removeprefix(_PREFIX) for id in self._slice.list() if id.startswith(_PREFIX))

    def _driver_of(self, tenant: str) -> CgroupDriver:
        if tenant not in self._tenants:
            settings = ResourceSettings(self._state_dir, f"{self._parent}/{_PREFIX}{tenant}")
            self._tenants[tenant] = CgroupDriver(settings)
            if self._heard:
                self._listen(self._tenants[tenant])
        return self._tenants[tenant]

    def _of(self, id: str) -> CgroupDriver:
        with self._lock:
            tenant = self._tenant_of(id)
            return self._driver_of(tenant) if tenant else self._slice

    def _tenant_of(self, id: str) -> str | None:
        """Whose the group is; of one that the last daemon made, the kernel tells."""
        if id not in self._owners:
            return next((tenant for tenant in self._there() if id in self._driver_of(tenant).list()), None)
        return self._owners[id]

    def _create_within(self, tenant: str, budgets: Budgets, id: str, resources: Resources) -> Cgroup:
        self._set_budget(tenant, budgets)
        try:
            return self._driver_of(tenant).create(id, resources)
        except BaseException:
            self._remove_if_empty(tenant)
            raise

    def _set_budget(self, tenant: str, budgets: Budgets) -> None:
        group, budget = f"{_PREFIX}{tenant}", Resources(unified=budgets.tenants[tenant])
        self._slice.validate(budget)
        if group in self._slice.list():
            self._slice.update(group, budget)
        else:
            self._slice.create(group, budget)

    def _remove_if_empty(self, tenant: str) -> None:
        """The kernel refuses to remove a group with others in it."""
        driver = self._driver_of(tenant)
        if not list(driver.list()):
            del self._tenants[tenant]
            driver.close()
            self._slice.remove(f"{_PREFIX}{tenant}")

    def _listen(self, driver: CgroupDriver) -> None:
        """In a thread of its own: each driver's events are an iterator that blocks."""
        events, heard = driver.events(), self._heard
        assert heard is not None  # noqa: S101  # for the type checker

        def take() -> None:
            for event in events:
                if not event.id.startswith(_PREFIX):
                    heard.put(event)

        threading.Thread(target=take, name="events of a tenant", daemon=True).start()
