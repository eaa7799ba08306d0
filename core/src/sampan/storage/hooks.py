"""The storage driver built into core."""

from __future__ import annotations

from sampan.drivers import StorageFactory, hookimpl
from sampan.storage.copy_driver import CopyDriver


@hookimpl
def sampan_storage_driver() -> tuple[str, StorageFactory]:
    """The `copy` driver."""
    return "copy", CopyDriver
