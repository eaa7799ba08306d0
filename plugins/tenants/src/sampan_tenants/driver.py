"""The resource driver `tenants`: within the slice, each tenant has a parent for its containers' cgroups.

It is the driver `cgroups_v2` with one addition: a tenant's containers are placed in the tenant's parent, whose limits
are the tenant's budget.
"""

from __future__ import annotations

from dataclasses import replace

from sampan.drivers import ANYWHERE, Cgroup, Placement, Resources, ResourceSettings
from sampan.errdefs import InvalidArgument
from sampan_cgroups_v2.driver import CgroupDriver
from sampan_tenants.budgets import FILE, read_budgets

_PREFIX = "tenant-"


class TenantDriver(CgroupDriver):
    """A `ResourceDriver` with a budget for each tenant."""

    def __init__(self, settings: ResourceSettings) -> None:
        super().__init__(settings)
        self._file = settings.state_dir / FILE

    def validate(self, resources: Resources, placement: Placement = ANYWHERE) -> tuple[str, ...]:
        """Check as `cgroups_v2` does.

        Raises `Forbidden` for a tenant without a budget, `InvalidArgument` for a tenant's parent.
        """
        if placement.parent.startswith(_PREFIX):
            raise InvalidArgument(
                f"cgroup parent {placement.parent} belongs to a tenant: use the tenant's label instead"
            )
        read_budgets(self._file).tenant_of(placement.labels)
        return super().validate(resources, placement)

    def create(self, id: str, resources: Resources, placement: Placement = ANYWHERE) -> Cgroup:
        """Create the group in its tenant's parent, in the parent asked for, after applying the budget again."""
        budgets = read_budgets(self._file)
        tenant = budgets.tenant_of(placement.labels)
        if tenant is None:
            return super().create(id, resources, placement)
        parent, budget = f"{_PREFIX}{tenant}", Resources(unified=budgets.tenants[tenant])
        super().validate(budget)
        within = replace(placement, parent=f"{parent}/{placement.parent}".rstrip("/"))
        with self._lock:  # so that nobody removes the parent before the group is in it
            self.limit_parent(parent, budget)
            return super().create(id, resources, within)
