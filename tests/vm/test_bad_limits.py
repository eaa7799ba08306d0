"""Invalid limits are refused when the container is created, in one sentence, and nothing is left behind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.containers import call
from tests.support.engines import Sampand
from tests.vm.test_unified import IMAGE, groups_below, slice_of

MIB = 1 << 20


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"Memory": MIB}, "Minimum memory limit allowed is 6MB"),
        ({"Memory": 64 * MIB, "MemorySwap": 32 * MIB}, "Minimum memoryswap limit should be larger than memory limit"),
        ({"NanoCpus": 10**12}, "range of CPUs is from 0.01 to"),
        ({"NanoCpus": 10**6}, "range of CPUs is from 0.01 to"),
        ({"CpusetCpus": "999"}, "Requested CPUs are not available - requested 999"),
        ({"CpusetCpus": "a-b"}, "Invalid value a-b for cpuset cpus"),
        ({"PidsLimit": 10**11}, "can't set pids.max to '100000000000': Invalid argument"),
        ({"CpuQuota": 2**60}, "can't set cpu.max to"),
        ({"BlkioDeviceReadBps": [{"Path": "/dev/nosuch", "Rate": 1}]}, "stat /dev/nosuch: no such file or directory"),
        ({"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1}]}, "/dev/null is not a block device"),
        ({"Unified": {"memory.nosuch": "1"}}, "this kernel has none of that name"),
        ({"Unified": {"nosuch.max": "1"}}, "there is no controller nosuch"),
        ({"Unified": {"cgroup.max.nosuch": "1"}}, "this kernel has none of that name"),
        ({"Unified": {"memory.high": "much"}}, "can't set memory.high to 'much': Invalid argument"),
        ({"PsiAlerts": ["memory:some:1s/20s"]}, "the window must be from 500ms to 10s"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_at_creation(engine: Sampand, host: dict[str, Any], words: str) -> None:
    status, answer = call(engine, "POST", "/containers/create", {"Image": IMAGE, "HostConfig": host})
    assert (status, words in answer["message"]) == (400, True), answer
    assert engine.get("/containers/json?all=1") == []
    assert groups_below(slice_of(engine)) == []


@pytest.mark.parametrize("host", [{"PidsLimit": -5}, {"CpuQuota": -5}, {"MemoryReservation": -1}, {"CpuShares": 1}])
def test_what_docker_takes_for_no_limit_starts(engine: Sampand, host: dict[str, Any]) -> None:
    body = {"Image": IMAGE, "HostConfig": host, "Cmd": ["true"]}
    status, answer = call(engine, "POST", "/containers/create", body)
    assert (status, answer["Warnings"]) == (201, [])
    assert call(engine, "POST", f"/containers/{answer['Id']}/start")[0] == 204
    assert call(engine, "POST", f"/containers/{answer['Id']}/wait")[1]["StatusCode"] == 0


def test_an_update_that_cannot_be_leaves_the_limits(engine: Sampand) -> None:
    body = {"Image": IMAGE, "HostConfig": {"PidsLimit": 50}, "Cmd": ["sleep", "600"]}
    id = call(engine, "POST", "/containers/create", body)[1]["Id"]
    assert call(engine, "POST", f"/containers/{id}/start")[0] == 204
    status, answer = call(engine, "POST", f"/containers/{id}/update", {"PidsLimit": 10**11})
    assert (status, answer["message"].startswith(f"Cannot update container {id}: can't set pids.max")) == (400, True)
    assert (slice_of(engine) / id / "pids.max").read_text() == "50\n"
    assert engine.get(f"/containers/{id}/json")["HostConfig"]["PidsLimit"] == 50
