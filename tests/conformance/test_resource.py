"""Every resource driver passes the suite that third-party plugin authors run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sampan.drivers import ANYWHERE, Cgroup, Placement, ResourceDriver, ResourceFactory, Resources, ResourceSettings
from sampan.drivers.loader import load
from sampan.testing.memory_resource import MemoryResource
from sampan.testing.resource_suite import OTHER, WEB, ResourceDriverSuite
from sampan_cgroups_v2.host import find_host
from sampan_tenants.budgets import FILE
from sampan_tenants.driver import TenantDriver


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


class OnCgroups(ResourceDriverSuite):
    """Uses a slice of its own, which must be gone afterwards."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Iterator[ResourceSettings]:
        settings = ResourceSettings(tmp_path, f"/sampan-{tmp_path.name}-{id(tmp_path):x}")
        yield settings
        mount = find_host().mount
        assert mount is None or not (mount / settings.parent.lstrip("/")).exists()


@pytest.mark.root
class TestCgroupsV2(OnCgroups):
    @pytest.fixture
    def factory(self) -> ResourceFactory:
        return load().resource_factory("cgroups_v2")


@pytest.mark.root
class TestTenants(OnCgroups):
    @pytest.fixture
    def factory(self) -> ResourceFactory:
        return load().resource_factory("tenants")


@pytest.mark.root
class TestWithinATenant(OnCgroups):
    """As above, with every container in one tenant."""

    @pytest.fixture
    def factory(self) -> ResourceFactory:
        return OfOneTenant

    def test_a_tenants_group_goes_with_its_last_container(self, driver: OfOneTenant) -> None:
        one, other = driver.create(WEB, Resources()), driver.create(OTHER, Resources())
        assert Path(one.path).parent == Path(other.path).parent
        assert Path(one.path).parent.name == "tenant-a"
        driver.remove(WEB)
        assert list(driver.list()) == [OTHER]
        driver.remove(OTHER)
        assert not any(path.name == "tenant-a" for path in _slice_of(one).glob("*"))


class OfOneTenant(TenantDriver):
    """Labels every container with tenant `a`."""

    def __init__(self, settings: ResourceSettings) -> None:
        (settings.state_dir / FILE).write_text("[tenants.a]")
        super().__init__(settings)

    def create(self, id: str, resources: Resources, placement: Placement = ANYWHERE) -> Cgroup:
        return super().create(id, resources, replace(placement, labels={"tenant": "a"}))


def _slice_of(cgroup: Cgroup) -> Path:
    mount = find_host().mount
    assert mount is not None
    return mount / Path(cgroup.path).parent.parent.relative_to("/")
