"""Every resource driver passes the suite that outside plugin authors run too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.drivers import Cgroup, ResourceDriver, ResourceFactory, ResourceSettings
from sampan.drivers.loader import load
from sampan.testing.memory_resource import MemoryResource
from sampan.testing.resource_suite import ResourceDriverSuite
from sampan_cgroups_v2.host import find_host


class TestMemoryResource(ResourceDriverSuite):
    @pytest.fixture
    def factory(self) -> ResourceFactory:
        return MemoryResource

    def join(self, driver: ResourceDriver, cgroup: Cgroup, pid: int) -> None:
        assert isinstance(driver, MemoryResource)
        driver.add_process(cgroup.id, pid)

    def reopened(self, factory: ResourceFactory, settings: ResourceSettings) -> ResourceDriver:
        pytest.skip("this driver keeps nothing")


class TestNoneResources(ResourceDriverSuite):
    @pytest.fixture
    def factory(self) -> ResourceFactory:
        return load().resource_factory("none")


@pytest.mark.root
class TestCgroupsV2(ResourceDriverSuite):
    @pytest.fixture
    def factory(self) -> ResourceFactory:
        return load().resource_factory("cgroups_v2")

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Iterator[ResourceSettings]:
        settings = ResourceSettings(tmp_path, f"/sampan-{tmp_path.name}-{id(tmp_path):x}")
        yield settings
        mount = find_host().mount
        if mount and (path := mount / settings.parent.lstrip("/")).is_dir():
            path.rmdir()
