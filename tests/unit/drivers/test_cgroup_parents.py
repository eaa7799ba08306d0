"""Parent cgroups: who owns them, when they are removed, and what is not a group; on plain directories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.drivers import Placement, Resources, ResourceSettings
from sampan.errdefs import Conflict, Forbidden, InvalidArgument, SystemFailure
from sampan.syscalls.cgroup import delegated_cgroup, make_cgroups, own_cgroup, remove_cgroups
from sampan_cgroups_v2.driver import CgroupDriver
from sampan_cgroups_v2.host import Host
from sampan_tenants.budgets import FILE
from sampan_tenants.driver import TenantDriver

WEB, OTHER = "ab" * 32, "cd" * 32
NIGHT = Placement("batch/night")


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[CgroupDriver]:
    driver = CgroupDriver(ResourceSettings(tmp_path, "/sampan"), host=Host("hybrid", tmp_path), deadline_s=0)
    yield driver
    driver.close()


@pytest.fixture
def unified(tmp_path: Path) -> CgroupDriver:
    return CgroupDriver(ResourceSettings(tmp_path, "/sampan"), host=Host("unified", tmp_path), deadline_s=0)


def directories(path: Path) -> list[str]:
    return sorted(str(one.relative_to(path)) for one in path.rglob("*") if one.is_dir())


# Directories we created


def test_what_was_made_is_removed_as_far_as_it_is_empty(tmp_path: Path) -> None:
    make_cgroups(tmp_path / "a/b/c", tmp_path)
    make_cgroups(tmp_path / "a/x", tmp_path)
    remove_cgroups(tmp_path / "a/b/c", tmp_path)
    assert directories(tmp_path) == ["a", "a/x"]


def test_what_somebody_else_made_stays(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    make_cgroups(tmp_path / "theirs/ours", tmp_path)
    remove_cgroups(tmp_path / "theirs/ours", tmp_path)
    remove_cgroups(tmp_path / "theirs", tmp_path)
    assert directories(tmp_path) == ["theirs"]


def test_removing_goes_on_above_what_is_gone_already(tmp_path: Path) -> None:
    make_cgroups(tmp_path / "a/b", tmp_path)
    (tmp_path / "a/b").rmdir()
    remove_cgroups(tmp_path / "a/b", tmp_path)
    assert directories(tmp_path) == []


# Groups in parents


def test_a_parent_is_made_with_its_first_group_and_goes_with_the_last(driver: CgroupDriver, tmp_path: Path) -> None:
    assert driver.create(WEB, Resources(), NIGHT).path == f"/sampan/batch/night/{WEB}"
    driver.create(OTHER, Resources(), Placement("batch"))
    driver.remove(WEB)
    assert directories(tmp_path) == ["sampan", "sampan/batch", f"sampan/batch/{OTHER}"]
    driver.remove(OTHER)
    assert directories(tmp_path) == ["sampan"]


def test_a_parent_that_the_user_made_stays_and_is_no_group(driver: CgroupDriver, tmp_path: Path) -> None:
    (tmp_path / "sampan/batch").mkdir(parents=True)
    driver.create(WEB, Resources(), NIGHT)
    assert list(driver.list()) == [WEB]
    driver.remove(WEB)
    assert list(driver.list()) == []
    assert directories(tmp_path) == ["sampan", "sampan/batch"]


def test_the_next_driver_finds_the_groups_and_removes_parents_of_the_last_ones_making(
    driver: CgroupDriver, tmp_path: Path
) -> None:
    driver.create(WEB, Resources(), NIGHT)
    again = CgroupDriver(ResourceSettings(tmp_path, "/sampan"), host=Host("hybrid", tmp_path), deadline_s=0)
    assert list(again.list()) == [WEB]
    again.remove(WEB)
    assert directories(tmp_path) == ["sampan"]


def test_parents_that_a_killed_driver_left_empty_are_swept(tmp_path: Path) -> None:
    for path in ("left/over", f"used/{WEB}", "sampan.daemon"):
        make_cgroups(tmp_path / "sampan" / path, tmp_path)
    (tmp_path / "sampan/mine").mkdir()
    driver = CgroupDriver(ResourceSettings(tmp_path, "/sampan"), host=Host("hybrid", tmp_path), deadline_s=0)
    driver.create(OTHER, Resources())
    kept = ["sampan", f"sampan/{OTHER}", "sampan/mine", "sampan/used", f"sampan/used/{WEB}"]
    assert directories(tmp_path) == kept
    make_cgroups(tmp_path / "sampan/left", tmp_path)
    driver.close()
    assert directories(tmp_path) == kept


def test_names_within_a_containers_group_prove_nothing(driver: CgroupDriver, tmp_path: Path) -> None:
    driver.create(WEB, Resources())
    (tmp_path / "sampan" / WEB / OTHER).mkdir()
    (tmp_path / "sampan" / WEB / "x" / OTHER).mkdir(parents=True)
    again = CgroupDriver(ResourceSettings(tmp_path, "/sampan"), host=Host("hybrid", tmp_path), deadline_s=0)
    assert list(again.list()) == [WEB]
    again.remove(OTHER)
    assert (tmp_path / "sampan" / WEB / OTHER).is_dir()


def test_a_group_that_cannot_be_made_leaves_no_parent(
    driver: CgroupDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, mode: int = 0o777) -> None:
        if path.name == WEB:
            raise OSError(os.EX_OSERR, "no more cgroups")
        os.mkdir(path, mode)

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SystemFailure, match="no more cgroups"):
        driver.create(WEB, Resources(), NIGHT)
    assert directories(tmp_path) == ["sampan"]


@pytest.mark.parametrize("parent", ["sampan.daemon", "a/cgroup.procs", "memory.max/a"])
def test_a_name_that_is_taken_can_be_no_parent(driver: CgroupDriver, parent: str) -> None:
    with pytest.raises(InvalidArgument, match="can't be the name of a cgroup parent"):
        driver.validate(Resources(), Placement(parent))


def test_a_parent_hands_controllers_down(unified: CgroupDriver, tmp_path: Path) -> None:
    (tmp_path / "sampan/batch").mkdir(parents=True)
    (tmp_path / "sampan/batch/cgroup.controllers").write_text("memory debug\n")
    unified.create(WEB, Resources(), Placement("batch"))
    assert (tmp_path / "sampan/batch/cgroup.subtree_control").read_text() == "+memory"


@pytest.mark.parametrize(("file", "content"), [("cgroup.procs", "1\n"), ("cgroup.type", "threaded\n")])
def test_a_parent_whose_groups_could_not_be_limited_is_refused(
    unified: CgroupDriver, tmp_path: Path, file: str, content: str
) -> None:
    (tmp_path / "sampan/batch").mkdir(parents=True)
    (tmp_path / "sampan/batch" / file).write_text(content)
    with pytest.raises(Conflict, match="cgroup parent"):
        unified.create(WEB, Resources(), NIGHT)
    assert directories(tmp_path) == ["sampan", "sampan/batch"]


# Tenants


@pytest.fixture
def tenants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TenantDriver:
    (tmp_path / FILE).write_text("[tenants.a]\n")
    monkeypatch.setattr("sampan_cgroups_v2.driver.find_host", lambda: Host("hybrid", tmp_path))
    return TenantDriver(ResourceSettings(tmp_path, "/sampan"))


def test_a_tenants_parent_lies_within_the_tenants_budget(tenants: TenantDriver, tmp_path: Path) -> None:
    made = tenants.create(WEB, Resources(), Placement("batch", {"tenant": "a"}))
    assert made.path == f"/sampan/tenant-a/batch/{WEB}"
    tenants.remove(WEB)
    assert directories(tmp_path) == ["sampan"]


def test_nobody_gets_into_a_budget_by_naming_its_parent(tenants: TenantDriver) -> None:
    with pytest.raises(InvalidArgument, match="belongs to a tenant"):
        tenants.validate(Resources(), Placement("tenant-a/x"))


def test_a_tenant_without_a_budget_is_refused_before_anything_is_made(tenants: TenantDriver) -> None:
    with pytest.raises(Forbidden, match="tenant 'b' has no budget"):
        tenants.validate(Resources(), Placement(labels={"tenant": "b"}))


# Delegation by systemd


def delegate(unit: Path) -> None:
    """Mark it as systemd does. Some tmpfs lack user xattrs, and only root may set trusted ones."""
    os.setxattr(unit, "trusted.delegate" if os.geteuid() == 0 else "user.delegate", b"1")


def test_the_own_cgroup_is_that_of_version_2(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("12:memory:/x\n1:name=systemd:/y\n0::/system.slice/sampand.service\n")
    assert own_cgroup(tmp_path / "cgroup") == "/system.slice/sampand.service"
    (tmp_path / "cgroup").write_text("12:memory:/x\n")
    with pytest.raises(OSError, match="no line for cgroup v2"):
        own_cgroup(tmp_path / "cgroup")


def test_a_unit_with_a_subgroup_for_the_daemon_is_the_daemons(tmp_path: Path) -> None:
    unit = tmp_path / "system.slice/sampand.service"
    (unit / "sampan.daemon").mkdir(parents=True)
    own = "/system.slice/sampand.service/sampan.daemon"
    assert delegated_cgroup(tmp_path, own) == ""
    delegate(unit)
    assert delegated_cgroup(tmp_path, own) == "/system.slice/sampand.service"
    assert delegated_cgroup(tmp_path, "/system.slice/sampand.service") == ""
    assert delegated_cgroup(tmp_path, "/") == ""


def test_above_what_systemd_delegated_nothing_is_changed(tmp_path: Path) -> None:
    unit = tmp_path / "system.slice/sampand.service"
    unit.mkdir(parents=True)
    delegate(unit)
    paths = (tmp_path, tmp_path / "system.slice", unit)
    for path in paths:
        (path / "cgroup.controllers").write_text("memory pids\n")
        (path / "cgroup.subtree_control").write_text("memory\n")
    settings = ResourceSettings(tmp_path, "/system.slice/sampand.service/sampan-1")
    CgroupDriver(settings, host=Host("unified", tmp_path), deadline_s=0).create(WEB, Resources())
    assert [(path / "cgroup.subtree_control").read_text() for path in paths] == ["memory\n", "memory\n", "+pids"]


def test_a_daemon_in_the_delegated_cgroup_steps_aside(tmp_path: Path) -> None:
    unit = tmp_path / "unit"
    unit.mkdir()
    delegate(unit)
    (unit / "cgroup.type").write_text("domain\n")
    (unit / "cgroup.procs").write_text(f"{os.getpid()}\n")
    (unit / "cgroup.controllers").write_text("memory\n")
    (unit / "sampan.daemon").mkdir()
    (unit / "sampan.daemon/cgroup.procs").write_text("")
    settings = ResourceSettings(tmp_path, "/unit/sampan-1")
    CgroupDriver(settings, host=Host("unified", tmp_path), deadline_s=0).create(WEB, Resources())
    assert (unit / "sampan.daemon/cgroup.procs").read_text() == str(os.getpid())
