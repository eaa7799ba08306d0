"""Containers' resource usage in Docker's JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sampan.daemon.reports import sampler
from sampan.models import ContainerStats
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import InProcess

NEVER = "0001-01-01T00:00:00Z"
FIELDS = {
    "id", "name", "os_type", "read", "cpu_stats", "memory_stats", "pids_stats", "blkio_stats", "num_procs",
    "storage_stats", "preread", "precpu_stats",
}  # fmt: skip
NO_CPU = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house()


def stats(house: InProcess, id: str, query: str) -> dict[str, Any]:
    answer = house.call("GET", f"/containers/{id}/stats?{query}")
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.body
    return found


def test_a_reading_has_what_it_is_compared_with(shared: InProcess) -> None:
    id = shared.launch("sleep", "infinity", name="rower", HostConfig={"NetworkMode": "host"})
    reading = stats(shared, id, "stream=0")
    assert set(reading) == FIELDS
    assert (reading["id"], reading["name"], reading["os_type"]) == (id, "/rower", "linux")
    assert NEVER < reading["preread"] < reading["read"]
    assert reading["cpu_stats"]["system_cpu_usage"] >= reading["precpu_stats"]["system_cpu_usage"] > 0
    assert reading["cpu_stats"]["online_cpus"] > 0
    assert reading["storage_stats"] == {}
    assert reading["memory_stats"]["limit"] > 0


def test_one_shot_compares_with_nothing(shared: InProcess) -> None:
    id = shared.launch("sleep", "infinity")
    reading = stats(shared, id, "stream=0&one-shot=1")
    assert (reading["preread"], reading["precpu_stats"]) == (NEVER, NO_CPU)
    assert reading["read"] > NEVER


def test_the_memory_limit_is_the_containers_own(shared: InProcess) -> None:
    id = shared.launch("sleep", "infinity", HostConfig={"Memory": 64 << 20, "PidsLimit": 7})
    reading = stats(shared, id, "stream=0&one-shot=1")
    assert reading["memory_stats"]["limit"] == 64 << 20
    assert reading["pids_stats"] == {"limit": 7}


@pytest.mark.parametrize("query", ["stream=0", "stream=0&one-shot=1"])
def test_one_that_does_not_run_uses_nothing(shared: InProcess, query: str) -> None:
    id = shared.create("true")
    reading = stats(shared, id, query)
    assert reading == {
        "id": id,
        "name": reading["name"],
        "os_type": "linux",
        "read": NEVER,
        "cpu_stats": NO_CPU,
        "memory_stats": {},
        "pids_stats": {},
        "blkio_stats": dict.fromkeys(reading["blkio_stats"]),
        "num_procs": 0,
        "storage_stats": {},
        "preread": NEVER,
        "precpu_stats": NO_CPU,
    }


def test_a_stream_goes_on_over_a_restart_and_ends_with_the_removal(make_house: MakeHouse) -> None:
    house = make_house()
    id = house.launch("sleep", "infinity")
    with house.opened("GET", f"/containers/{id}/stats") as opened:
        first, second = json.loads(opened.readline()), json.loads(opened.readline())
        assert first["preread"] == NEVER
        assert second["preread"] == first["read"]
        assert house.call("POST", f"/containers/{id}/kill").status == 204
        while json.loads(opened.readline())["read"] != NEVER:
            pass
        assert house.call("POST", f"/containers/{id}/start").status == 204
        while json.loads(opened.readline())["read"] == NEVER:
            pass
        assert house.call("DELETE", f"/containers/{id}?force=1").status == 204
        opened.read()


def test_a_stream_ends_with_the_removal_not_with_the_next_reading(
    make_house: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "_INTERVAL_S", 3600)
    house = make_house()
    id = house.create("true")
    with house.opened("GET", f"/containers/{id}/stats") as opened:
        opened.readline()
        assert house.call("DELETE", f"/containers/{id}").status == 204
        assert opened.read() == b""


def test_what_is_told_is_what_the_document_describes(shared: InProcess) -> None:
    reading = stats(shared, shared.launch("sleep", "infinity"), "stream=0")
    assert json.loads(ContainerStats.model_validate(reading).model_dump_json(by_alias=True)) == reading


def test_an_unknown_container_is_not_found(shared: InProcess) -> None:
    assert shared.call("GET", "/containers/nosuch/stats?stream=0").status == 404
