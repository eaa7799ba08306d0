"""Docker and sampan on the same kernel: what their clients see of limits is the same.

A difference is either in `differences.toml`, with a reason, or a defect. `test_limits.py` tests the effect of limits
on processes, for each engine.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import Archives
from tests.support.differential import Pair, assert_all_known, assert_none_stale, read_known, started_pair
from tests.support.steps import Observation, Scenario, Step, Subject, api, cli, create, ran, running, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
KNOWN = read_known(Path(__file__).with_name("differences.toml"))
MIB = 1 << 20
LIMITS = {
    "Memory": 64 * MIB,
    "MemorySwap": 96 * MIB,
    "MemoryReservation": 32 * MIB,
    "CpuQuota": 50_000,
    "CpuPeriod": 100_000,
    "CpuShares": 512,
    "PidsLimit": 50,
}
FILES = "memory.max memory.swap.max memory.low cpu.max cpu.weight pids.max"
HUNGRY = ("sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 3; exit 5")
"""It survives the kill of its child: Docker 20.10 mostly misses an OOM kill that ends the container."""
FORKS = "for number in $(seq 30); do sleep 600 & done"
TOLD = ("limit", "num_procs", "online_cpus")
"""The numbers in stats that are compared, since they don't measure usage."""
ABOUT_LIMITS = re.compile(
    r"status|body\.(State\.(?!(Pid|StartedAt|FinishedAt)$).*|HostConfig\.(Blkio|Cgroup|Cpu|Memory|Nano|Oom|Pids|Ulimits).*"
    r"|Cgroup.*|Cpu.*|CPU.*|Memory.*|SwapLimit|PidsLimit|OomKillDisable|NCPU|MemTotal|Warnings.*|message)"
)
"""All other fields are compared by `tests/compat/test_differential.py`."""


def look(path: str, name: str) -> Step:
    """The fields of an answer that concern limits."""
    request = api("GET", path)

    def take(subject: Subject) -> Observation:
        return {field: leaf for field, leaf in request.take(subject).items() if ABOUT_LIMITS.fullmatch(field)}

    return Step(name, take)


def stats(name: str, query: str) -> Step:
    """The answer without its figures; only which ones exist is compared."""

    def take(subject: Subject) -> Observation:
        document = subject.engine.get(f"/v1.41/containers/{name}/stats?{query}")
        return {path: _told(path, leaf) for path, leaf in subject.words.flat(document, "body").items()}

    return Step(f"{name} {query}", take)


def _told(path: str, leaf: Any) -> Any:
    is_figure = isinstance(leaf, int | float) and path.rpartition(".")[2] not in TOLD
    return "<figure>" if is_figure else leaf


def inside(name: str, title: str) -> Step:
    """The container's limits as seen from inside."""
    return cli("exec", name, "sh", "-c", f"cd /sys/fs/cgroup && head -n 1 {FILES}", name=title)


def answered(step: Step) -> Step:
    """`step` without the headers of the answer."""

    def take(subject: Subject) -> Observation:
        return {field: leaf for field, leaf in step.take(subject).items() if not field.startswith("header.")}

    return Step(step.name, take)


def update(title: str, body: Any) -> Step:
    return answered(api("POST", "/containers/web/update", body, name=title))


def refused(title: str, host: Any) -> Step:
    """A create request that may succeed; without a name, it can't conflict with later ones."""
    return answered(api("POST", "/containers/create", {"Image": "busybox:test", "HostConfig": host}, name=title))


def actions(container: str) -> Step:
    """The `oom`, `die` and `start` events of a container."""

    def take(subject: Subject) -> Observation:
        filters = quote(json.dumps({"container": [container], "event": ["oom", "die", "start"]}))
        status, content = subject.engine.request(
            "GET", f"/v1.41/events?since=1&until={time.time():f}&filters={filters}"
        )
        return {"status": status, "actions": [json.loads(line)["Action"] for line in content.splitlines()]}

    return Step(f"events of {container}", take)


SCENARIOS = (
    Scenario(
        "info",
        [
            look("/info", "info"),
            cli(
                "info",
                "--format",
                "{{.CgroupDriver}} {{.CgroupVersion}} {{.MemoryLimit}} {{.SwapLimit}} {{.PidsLimit}}",
            ),
        ],
    ),
    Scenario(
        "limits",
        [
            create("web", host=LIMITS),
            look("/containers/web/json", "inspected"),
            start("web"),
            inside("web", "seen inside"),
            look("/containers/web/json", "inspected, running"),
            cli("exec", "web", "cat", "/proc/self/cgroup", name="the cgroup inside"),
            cli("exec", "web", "sh", "-c", "echo 1 >/sys/fs/cgroup/pids.max", name="written to inside"),
        ],
    ),
    Scenario(
        "no limits",
        [
            *running("web"),
            inside("web", "seen inside"),
        ],
    ),
    Scenario(
        "stats",
        [
            create("fresh", host=LIMITS),
            *running("web", host=LIMITS),
            *running("free"),
            stats("web", "stream=0"),
            stats("web", "stream=0&one-shot=1"),
            stats("free", "stream=0"),
            stats("fresh", "stream=0&one-shot=1"),
            cli("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "web", name="docker stats"),
            cli("top", "web", "-o", "comm"),
        ],
    ),
    Scenario(
        "update",
        [
            *running("web", host=LIMITS),
            update("memory", {"Memory": 80 * MIB, "MemorySwap": 160 * MIB}),
            update("reservation", {"MemoryReservation": 16 * MIB}),
            update("cpu", {"CpuQuota": 20_000, "CpuShares": 1024}),
            update("pids", {"PidsLimit": 20}),
            inside("web", "all of them seen inside"),
            look("/containers/web/json", "inspected"),
            update("memory over swap", {"Memory": 800 * MIB}),
            update("too little memory", {"Memory": MIB}),
            update("no pids limit", {"PidsLimit": -1}),
            update("nothing", {}),
            inside("web", "seen inside at the end"),
        ],
    ),
    Scenario(
        "out of memory",
        [
            *ran("hungry", *HUNGRY, host={"Memory": 16 * MIB, "MemorySwap": 16 * MIB}),
            look("/containers/hungry/json", "inspected"),
            actions("hungry"),
            cli("ps", "-a", "--format", "{{.Names}} {{.Status}}"),
        ],
    ),
    Scenario(
        "too many processes",
        [
            *running("web", host={"PidsLimit": 10}),
            cli("exec", "web", "sh", "-c", FORKS, name="forks"),
        ],
    ),
    Scenario(
        "refused",
        [
            refused("little memory", {"Memory": MIB}),
            refused("less swap than memory", {"Memory": 64 * MIB, "MemorySwap": 32 * MIB}),
            refused("swap without memory", {"MemorySwap": 64 * MIB}),
            refused("reservation over the limit", {"Memory": 64 * MIB, "MemoryReservation": 128 * MIB}),
            refused("little reservation", {"MemoryReservation": MIB}),
            refused("many CPUs", {"NanoCpus": 10**12}),
            refused("CPUs and a quota", {"NanoCpus": 10**9, "CpuQuota": 1000}),
            refused("short period", {"CpuPeriod": 1}),
            refused("short quota", {"CpuQuota": 1}),
            refused("no such CPU", {"CpusetCpus": "999"}),
            refused("no CPUs", {"CpusetCpus": "a-b"}),
            refused("weight", {"BlkioWeight": 5}),
            refused("no such device", {"BlkioDeviceReadBps": [{"Path": "/dev/nosuch", "Rate": 1}]}),
            refused("real time", {"CpuRealtimePeriod": 1000}),
            refused("swappiness", {"MemorySwappiness": 50}),
            refused("no OOM killer", {"OomKillDisable": True}),
            refused("kernel memory", {"KernelMemory": 64 * MIB}),
        ],
    ),
)


@pytest.fixture(scope="module")
def pair(session_dir: Path, leak_marks: list[str], archives: Archives) -> Iterator[Pair]:
    if shutil.which("dockerd") is None:
        pytest.skip("dockerd is not installed")
    with started_pair(session_dir, [archives.busybox], leak_marks) as pair:
        yield pair


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_sampan_answers_as_docker_does(scenario: Scenario, pair: Pair) -> None:
    assert_all_known(pair, scenario, KNOWN)


def test_every_known_difference_is_still_one(pair: Pair) -> None:
    assert_none_stale(pair, SCENARIOS, KNOWN)
