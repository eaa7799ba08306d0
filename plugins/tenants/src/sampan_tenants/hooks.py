"""What this package offers to sampan."""

from __future__ import annotations

from sampan.drivers import ResourceFactory, hookimpl
from sampan_tenants.driver import TenantDriver


@hookimpl
def sampan_resource_driver() -> tuple[str, ResourceFactory]:
    """The driver `tenants`."""
    return "tenants", TenantDriver
