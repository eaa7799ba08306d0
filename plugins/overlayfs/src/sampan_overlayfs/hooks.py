"""What this package offers to sampan."""

from __future__ import annotations

from sampan.drivers import StorageFactory, hookimpl
from sampan_overlayfs.driver import OverlayDriver


@hookimpl
def sampan_storage_driver() -> tuple[str, StorageFactory]:
    """The driver `overlayfs`."""
    return "overlayfs", OverlayDriver
