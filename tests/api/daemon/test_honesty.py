"""Limits that the host can't enforce produce warnings; those that the kernel rejects are refused at creation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.drivers import ANYWHERE, Cgroup, Placement, Resources, ResourceSettings
from sampan.errdefs import Conflict, InvalidArgument
from sampan.testing.memory_resource import MemoryResource
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import IMAGE, Answer, InProcess

MEMORY = "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded."
SWAPPINESS = (
    "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. "
    "Memory swappiness discarded."
)
NO_KILLER = "Your kernel does not support OomKillDisable. OomKillDisable discarded."
MIB = 1 << 20


class Choosy(MemoryResource):
    """A kernel that accepts no control file but `memory.high`, set to `max`."""

    def create(self, id: str, resources: Resources, placement: Placement = ANYWHERE) -> Cgroup:
        if resources.unified not in ({}, {"memory.high": "max"}):
            raise InvalidArgument("can't set memory.high")
        return super().create(id, resources, placement)


@pytest.fixture
def poor(house: InProcess, tmp_path: Path) -> InProcess:
    """A host without the memory controller."""
    poor = MemoryResource(ResourceSettings(tmp_path, "/sampan-test"), controllers=frozenset({"cpu", "pids"}))
    house.resources = house.daemon.resources = poor
    return house


def create(house: InProcess, **host: Any) -> Answer:
    return house.call("POST", "/containers/create", {"Image": IMAGE, "HostConfig": host})


def warnings_of(house: InProcess, id: str) -> Any:
    return house.call("GET", f"/containers/{id}/json").body.get("Warnings")


def test_inspect_tells_the_limits_that_do_not_hold(poor: InProcess) -> None:
    answer = create(poor, Memory=64 * MIB, PidsLimit=50)
    assert answer.body["Warnings"] == [MEMORY]
    assert warnings_of(poor, answer.body["Id"]) == [MEMORY]
    assert warnings_of(poor, poor.create(HostConfig={"PidsLimit": 50})) is None


def test_inspect_tells_them_of_the_host_that_it_runs_on(poor: InProcess, tmp_path: Path) -> None:
    id = create(poor, Memory=64 * MIB).body["Id"]
    poor.resources = poor.daemon.resources = MemoryResource(ResourceSettings(tmp_path, "/sampan-test"))
    assert poor.call("POST", f"/containers/{id}/start").status == 204
    assert warnings_of(poor, id) is None


def test_an_update_tells_again(poor: InProcess) -> None:
    id = create(poor, Memory=64 * MIB).body["Id"]
    poor.daemon.resources = MemoryResource(ResourceSettings(poor.root, "/sampan-test"))
    assert poor.call("POST", f"/containers/{id}/update", {"PidsLimit": 9}).status == 200
    assert warnings_of(poor, id) is None


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"Memory": 64 * MIB}, MEMORY),
        ({"MemorySwappiness": 50}, SWAPPINESS),
        ({"OomKillDisable": True}, NO_KILLER),
    ],
)
def test_a_strict_daemon_refuses_what_does_not_hold(
    make_house: MakeHouse, tmp_path: Path, host: dict[str, Any], words: str
) -> None:
    house = make_house(strict_resources=True)
    poor = MemoryResource(ResourceSettings(tmp_path, "/sampan-test"), controllers=frozenset({"pids"}))
    house.resources = house.daemon.resources = poor
    refusal = f"this host can't enforce a limit that was asked for: {words}"
    answer = create(house, **host)
    assert (answer.status, answer.message) == (501, refusal)
    assert house.call("GET", "/containers/json?all=1").body == []
    id = house.create(HostConfig={"PidsLimit": 50})
    answer = house.call("POST", f"/containers/{id}/update", host)
    assert (answer.status, answer.message) == (501, refusal)


def test_what_only_the_kernel_refuses_is_refused_before_anything_is_made(house: InProcess, tmp_path: Path) -> None:
    house.resources = house.daemon.resources = Choosy(ResourceSettings(tmp_path, "/sampan-test"))
    answer = create(house, Unified={"memory.high": "much"}, Binds=["made:/made"])
    assert (answer.status, answer.message) == (400, "can't set memory.high")
    assert house.call("GET", "/containers/json?all=1").body == []
    assert house.call("GET", "/volumes").body["Volumes"] == []
    assert create(house, Unified={"memory.high": "max"}).status == 201
    assert list(house.resources.list()) == []


def test_a_parent_that_can_hold_nothing_is_refused_at_creation(
    house: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Conflict("cgroup parent /batch has processes")

    monkeypatch.setattr(house.resources, "create", refuse)
    answer = create(house, CgroupParent="/batch")
    assert (answer.status, answer.message) == (409, "cgroup parent /batch has processes")
