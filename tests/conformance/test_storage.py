"""Every storage driver passes the suite that third-party plugin authors run."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from sampan.drivers import StorageFactory
from sampan.drivers.loader import load
from sampan.testing.memory_storage import MemoryStorage
from sampan.testing.storage_suite import StorageDriverSuite, require_user_attributes


class TestMemoryStorage(StorageDriverSuite):
    persistent = False

    @pytest.fixture
    def factory(self) -> StorageFactory:
        return MemoryStorage


class TestMemoryStorageWithDetachedLayers(StorageDriverSuite):
    persistent = False

    @pytest.fixture
    def factory(self) -> StorageFactory:
        return partial(MemoryStorage, detached=True)


class TestCopy(StorageDriverSuite):
    @pytest.fixture
    def factory(self) -> StorageFactory:
        return load().storage_factory("copy")


@pytest.mark.root
class TestOverlayfs(StorageDriverSuite):
    @pytest.fixture
    def factory(self) -> StorageFactory:
        return load().storage_factory("overlayfs")

    @pytest.fixture
    def state_dir(self, tmp_path: Path) -> Path:
        path = tmp_path / "overlayfs"
        path.mkdir()
        return path


@pytest.mark.root
def test_a_file_system_without_attributes_of_users_is_no_failure_of_a_driver() -> None:
    with pytest.raises(pytest.skip.Exception, match="/proc has no attributes of users"):
        require_user_attributes(Path("/proc"))
