"""Every storage driver passes the suite that outside plugin authors run too."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from sampan.drivers import StorageDriver, StorageFactory
from sampan.drivers.loader import load
from sampan.testing.memory_storage import MemoryStorage
from sampan.testing.storage_suite import StorageDriverSuite


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
class TestOverlayfsWithQuota(StorageDriverSuite):
    @pytest.fixture
    def factory(self) -> StorageFactory:
        return load().storage_factory("overlayfs")

    @pytest.fixture
    def state_dir(self, tmp_path: Path) -> Iterator[Path]:
        disk, point = tmp_path / "disk", tmp_path / "point"
        point.mkdir()
        with disk.open("wb") as file:
            file.truncate(400 << 20)
        with ExitStack() as undo:
            for command in (["mkfs.xfs", "-q", str(disk)], ["mount", "-o", "loop,pquota", str(disk), str(point)]):
                try:
                    done = subprocess.run(command, capture_output=True, text=True, check=False)
                except FileNotFoundError as error:
                    pytest.skip(f"there is no {error.filename}")
                if done.returncode:
                    pytest.skip(f"this kernel has no quota of XFS: {done.stderr.strip()}")
            undo.callback(subprocess.check_call, ["umount", str(point)])
            (point / "state").mkdir()
            yield point / "state"

    def test_there_is_quota(self, driver: StorageDriver) -> None:
        assert driver.capabilities.quota
        assert ("Quota", "true") in driver.status()
