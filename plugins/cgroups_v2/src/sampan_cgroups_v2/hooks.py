"""What this package offers to sampan."""

from __future__ import annotations

from sampan.drivers import ResourceFactory, hookimpl
from sampan_cgroups_v2.driver import CgroupDriver


@hookimpl
def sampan_resource_driver() -> tuple[str, ResourceFactory]:
    """The driver `cgroups_v2`."""
    return "cgroups_v2", CgroupDriver
