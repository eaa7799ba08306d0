"""update, top, prune, and list filters."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from sampan.drivers import PressureAlert
from sampan.drivers.limits import UNLIMITED
from sampan.errdefs import InvalidArgument, SystemFailure
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import Answer, InProcess

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house()


@pytest.fixture
def box(shared: InProcess) -> Iterator[str]:
    yield shared.launch(name="box", HostConfig={"Memory": 64 * MIB})
    shared.call("DELETE", "/containers/box?force=1")


def update(house: InProcess, version: str = "", **fields: Any) -> Answer:
    return house.call("POST", f"{version}/containers/box/update", fields)


def host_config(house: InProcess) -> dict[str, Any]:
    return dict(house.call("GET", "/containers/box/json").body["HostConfig"])


# --- update


def test_limits_change_while_the_container_runs(shared: InProcess, box: str) -> None:
    answer = update(shared, Memory=32 * MIB, MemorySwap=48 * MIB, CpuShares=512, CpusetCpus="0", PidsLimit=9)
    assert (answer.status, answer.body) == (200, {"Warnings": None})
    limits = shared.resources.resources(box)
    assert (limits.memory_max_bytes, limits.swap_max_bytes, limits.pids_max) == (32 * MIB, 16 * MIB, 9)
    assert limits.cpuset_cpus == "0"
    told = host_config(shared)
    assert (told["Memory"], told["MemorySwap"], told["CpuShares"], told["PidsLimit"]) == (
        32 * MIB,
        48 * MIB,
        512,
        9,
    )


def test_control_files_and_alerts_change_while_the_container_runs(shared: InProcess, box: str) -> None:
    assert update(shared, Unified={"memory.high": "32M"}).status == 200
    assert update(shared, Unified={"cpu.idle": "1"}, PsiAlerts=["io:some:10ms/1s"]).status == 200
    limits = shared.resources.resources(box)
    assert limits.unified == host_config(shared)["Unified"] == {"memory.high": "32M", "cpu.idle": "1"}
    assert limits.pressure_alerts == (PressureAlert("io", "some", 10_000, 1_000_000),)
    assert update(shared, PsiAlerts=["io:10ms"]).status == 400


def test_what_is_not_asked_stays(shared: InProcess, box: str) -> None:
    update(shared, CpuShares=512)
    update(shared, PidsLimit=5)
    told = host_config(shared)
    assert (told["Memory"], told["CpuShares"], told["PidsLimit"]) == (64 * MIB, 512, 5)


@pytest.mark.parametrize("lifted", [0, -1, -7])
def test_a_limit_of_processes_can_be_lifted(shared: InProcess, box: str, lifted: int) -> None:
    update(shared, PidsLimit=5)
    assert update(shared, PidsLimit=lifted).status == 200
    assert host_config(shared)["PidsLimit"] == 0
    assert shared.resources.resources(box).pids_max == UNLIMITED


def test_limits_of_a_container_at_rest_hold_from_its_start_on(shared: InProcess) -> None:
    id = shared.create(name="box")
    update(shared, Memory=32 * MIB, MemorySwap=-1)
    shared.call("POST", "/containers/box/start")
    assert shared.resources.resources(id).memory_max_bytes == 32 * MIB
    shared.call("DELETE", "/containers/box?force=1")


def test_old_clients_know_no_limit_of_processes(shared: InProcess, box: str) -> None:
    assert update(shared, "/v1.39", PidsLimit=5).status == 200
    assert host_config(shared)["PidsLimit"] is None


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"Memory": MIB}, 400, "Minimum memory limit allowed is 6MB"),
        ({"Memory": 32 * MIB, "MemorySwap": 16 * MIB}, 400, "Minimum memoryswap limit should be larger than memory"),
        (
            {"Memory": 1024 * MIB},
            409,
            "Cannot update container {id}: Memory limit should be smaller than already set memoryswap limit, update "
            "the memoryswap at the same time",
        ),
        ({"NanoCpus": 10**9, "CpuPeriod": 1000}, 400, "Conflicting options: Nano CPUs and CPU Period cannot both be"),
        ({"BlkioWeight": 5}, 400, "Range of blkio weight is from 10 to 1000"),
        ({"RestartPolicy": {"Name": "sometimes"}}, 400, "invalid restart policy: unknown policy 'sometimes'"),
    ],
)
def test_updates_that_cannot_be(
    shared: InProcess, box: str, fields: dict[str, Any], status: int, message: str
) -> None:
    before = host_config(shared)
    answer = update(shared, **fields)
    assert answer.status == status
    assert answer.message.startswith(message.format(id=box))
    assert host_config(shared) == before


@pytest.mark.parametrize(
    ("has", "asked", "words"),
    [
        ({"CpuPeriod": 50_000}, {"NanoCpus": 10**9}, "Nano CPUs cannot be updated as CPU Period has"),
        ({"CpuQuota": 50_000}, {"NanoCpus": 10**9}, "Nano CPUs cannot be updated as CPU Quota has"),
        ({"NanoCpus": 10**9}, {"CpuPeriod": 50_000}, "CPU Period cannot be updated as NanoCPUs has"),
        ({"NanoCpus": 10**9}, {"CpuQuota": 50_000}, "CPU Quota cannot be updated as NanoCPUs has"),
    ],
)
def test_two_ways_to_limit_the_cpu_exclude_each_other(
    shared: InProcess, has: dict[str, Any], asked: dict[str, Any], words: str
) -> None:
    id = shared.create(name="box", HostConfig=has)
    answer = update(shared, **asked)
    assert (answer.status, answer.message) == (
        409,
        f"Cannot update container {id}: Conflicting options: {words} already been set",
    )
    shared.call("DELETE", "/containers/box")


@pytest.mark.parametrize("error", [InvalidArgument, SystemFailure])
def test_what_the_kernel_refuses_changes_nothing(
    shared: InProcess, box: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(id: str, resources: Any) -> None:
        raise error("can't set memory.max")

    monkeypatch.setattr(shared.resources, "update", refuse)
    answer = update(shared, CpuShares=512, RestartPolicy={"Name": "always"})
    assert answer.status == (400 if error is InvalidArgument else 500)
    assert answer.message == f"Cannot update container {box}: can't set memory.max"
    told = host_config(shared)
    assert (told["CpuShares"], told["RestartPolicy"]["Name"]) == (0, "")


def test_what_the_host_cannot_enforce_is_warned_of_and_discarded(make_house: MakeHouse) -> None:
    house = make_house()
    house.resources._controllers = frozenset({"cpu"})
    house.launch(name="box")
    answer = update(house, Memory=1024 * MIB, CpuShares=512)
    assert answer.status == 200
    assert answer.body["Warnings"] == [
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
    ]
    told = host_config(house)
    assert (told["Memory"], told["CpuShares"]) == (0, 512)


def test_another_restart_policy_holds_from_the_next_end_on(shared: InProcess) -> None:
    shared.launch(name="box", HostConfig={"RestartPolicy": {"Name": "always"}})
    assert update(shared, RestartPolicy={"Name": "no"}).status == 200
    assert host_config(shared)["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    shared.run(shared.runtime.kill(shared.daemon.containers.get("box").id, 15))
    assert shared.call("POST", "/containers/box/wait").body == {"StatusCode": 143}
    assert shared.state("box")["Status"] == "exited"
    shared.call("DELETE", "/containers/box")


def test_a_container_that_removes_itself_gets_no_restart_policy(shared: InProcess) -> None:
    id = shared.create(name="box", HostConfig={"AutoRemove": True})
    answer = update(shared, RestartPolicy={"Name": "always"})
    assert (answer.status, answer.message) == (
        409,
        f"Cannot update container {id}: Restart policy cannot be updated because AutoRemove is enabled for the "
        "container",
    )
    shared.call("DELETE", "/containers/box")


# --- top


def test_top_shows_what_ps_shows(shared: InProcess, box: str) -> None:
    answer = shared.call("GET", "/containers/box/top")
    assert answer.status == 200
    assert answer.body["Titles"][:3] == ["UID", "PID", "PPID"]
    [process] = answer.body["Processes"]  # this process: the in-memory runtime uses it as containers' init
    assert process[1] == str(os.getpid())
    assert len(process) == len(answer.body["Titles"])


def test_top_asks_for_other_columns(shared: InProcess, box: str) -> None:
    answer = shared.call("GET", "/containers/box/top?ps_args=-o%20pid,comm")
    assert answer.body["Titles"] == ["PID", "COMMAND"]
    assert [row[0] for row in answer.body["Processes"]] == [str(os.getpid())]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-o comm", "Couldn't find PID field in ps output"),
        ("-o uid=PID", 'specifying "uid=PID" is not allowed'),
        ("--nosuch", "ps: error: unknown gnu long option"),
        ("-e\0f", "ps arguments can't contain a NUL character"),
        ("-e\ud800", "ps: the arguments are not valid text"),
    ],
)
def test_arguments_that_ps_can_do_nothing_with(shared: InProcess, box: str, arguments: str, message: str) -> None:
    answer = shared.call("GET", f"/containers/box/top?ps_args={quote(arguments, errors='surrogatepass')}")
    assert answer.status == 400
    assert answer.message.startswith((message, "ps: "))


# --- prune


@pytest.fixture
def fleet(house: InProcess) -> InProcess:
    """Containers `runs`, `ended` and `made`."""
    house.launch(name="runs", Labels={"role": "a"})
    house.finish("true", name="ended", Labels={"role": "a"})
    house.create(name="made", Labels={"role": "b"})
    return house


def prune(house: InProcess, **filters: list[str]) -> Answer:
    return house.call("POST", f"/containers/prune?filters={quote(json.dumps(filters))}")


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({}, {"runs"}),
        ({"label": ["role=a"]}, {"runs", "made"}),
        ({"label!": ["role=a"]}, {"runs", "ended"}),
        ({"label": ["role"], "label!": ["role=b"]}, {"runs", "made"}),
        ({"until": ["1h"]}, {"runs", "ended", "made"}),
        ({"until": ["0s"]}, {"runs"}),
    ],
)
def test_prune_removes_what_does_not_run(fleet: InProcess, filters: dict[str, list[str]], left: set[str]) -> None:
    before = {one["Names"][0]: one["Id"] for one in fleet.call("GET", "/containers/json?all=1").body}
    answer = prune(fleet, **filters)
    assert answer.status == 200
    assert set(fleet.ps()) == left
    gone = {id for name, id in before.items() if name.removeprefix("/") not in left}
    assert set(answer.body["ContainersDeleted"] or ()) == gone
    assert (answer.body["SpaceReclaimed"] > 0) is bool(gone)


def test_prune_tells_of_itself(fleet: InProcess) -> None:
    since = f"{time.time():.6f}"
    reclaimed = prune(fleet).body["SpaceReclaimed"]
    filters = quote(json.dumps({"event": ["prune"]}))
    with fleet.opened("GET", f"/events?since={since}&until={time.time() + 0.001:.6f}&filters={filters}") as events:
        event = json.loads(events.readline())
    assert event["Actor"]["Attributes"] == {"reclaimed": str(reclaimed)}


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"until": ["1h", "2h"]}, "more than one until filter specified"),
        ({"until": ["soon"]}, "invalid filter 'until=soon'"),
        ({"name": ["box"]}, "invalid filter 'name'"),
    ],
)
def test_filters_that_prune_does_not_have(fleet: InProcess, filters: dict[str, list[str]], message: str) -> None:
    answer = prune(fleet, **filters)
    assert (answer.status, answer.message) == (400, message)
    assert len(fleet.ps()) == 3


# --- list filters


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (
            {"status": ["sunk"]},
            "invalid filter 'status=sunk': invalid value for state (sunk): must be one of created, running, paused, "
            "restarting, removing, exited, dead",
        ),
        (
            {"health": ["well"]},
            "invalid filter 'health=well': invalid value for health (well): must be one of none, starting, healthy, "
            "unhealthy",
        ),
        ({"exited": ["3", "x"]}, "invalid filter 'exited=[3 x]'"),
        ({"publish": ["1:2"]}, "filter for 'publish' should not contain ':': 1:2"),
        ({"expose": ["80-70"]}, "error while looking up for expose 80-70: invalid port range: 80-70"),
    ],
)
def test_filters_that_make_no_sense(shared: InProcess, filters: dict[str, list[str]], message: str) -> None:
    answer = shared.call("GET", f"/containers/json?filters={quote(json.dumps(filters))}")
    assert (answer.status, answer.message) == (400, message)


def test_lists_are_filtered_by_port_and_network(shared: InProcess) -> None:
    binding = {"80/tcp": [{"HostIp": "127.0.0.1"}]}
    shared.launch(name="box", ExposedPorts={"80/tcp": {}, "53/udp": {}}, HostConfig={"PortBindings": binding})
    [line] = shared.call("GET", "/containers/json").body
    [public] = [port["PublicPort"] for port in line["Ports"] if "PublicPort" in port]
    network = shared.call("GET", "/networks/bridge").body["Id"]
    for filters, found in (
        ({"expose": ["80"]}, True),
        ({"expose": ["50-60/udp"]}, True),
        ({"expose": ["81"]}, False),
        ({"publish": [str(public)]}, True),
        ({"publish": ["80"]}, False),
        ({"expose": ["81"], "publish": [str(public)]}, True),
        ({"network": ["bridge"]}, True),
        ({"network": [network[:10]]}, True),
        ({"network": ["host"]}, False),
        ({"isolation": ["default"]}, True),
        ({"is-task": ["1"]}, False),
        ({"name": ["("]}, False),
    ):
        assert shared.ps(filters) == (["box"] if found else []), filters
    shared.call("DELETE", "/containers/box?force=1")


def test_exit_codes_are_asked_of_what_has_ended(house: InProcess) -> None:
    house.create(name="made")
    house.launch(name="runs")
    house.finish("true", name="ended")
    assert house.ps({"exited": ["0"]}) == ["ended"]
    assert house.ps({"exited": ["0"]}, all=False) == []


def test_an_image_whose_name_moved_on_is_shown_by_its_id(house: InProcess) -> None:
    house.create(Image="labelled:1")
    [line] = house.call("GET", "/containers/json?all=1").body
    assert line["Image"] == "labelled:1"
    house.call("POST", "/images/keeper:1/tag?repo=labelled&tag=1")
    [line] = house.call("GET", "/containers/json?all=1").body
    assert line["Image"] == line["ImageID"]
