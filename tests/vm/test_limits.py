"""The effect of limits on processes, by the kernel's own counters and clock, and that changes take effect in time.

With `--engine dockerd`, Docker is tested instead, on the same kernel.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import LoadedEngine
from tests.support.clients import Client
from tests.support.engines import ENGINES, Dockerd, Engine
from tests.vm.conftest import CGROUPS
from tests.vm.test_unified import IMAGE, cgroup_of, following, state_of

MIB = 1 << 20
WINDOW_S, WINDOWS = 6, 5
"""Other load on the host may spoil one or two windows; a limit that does not hold spoils them all."""
EFFECTIVE_S = 1.0
"""How soon a changed limit must take effect."""
BUSY = ("sh", "-c", "while :; do :; done")


@pytest.fixture(scope="module")
def shared_engine(request: pytest.FixtureRequest, loaded_engine: LoadedEngine) -> Iterator[Engine]:
    with loaded_engine(ENGINES[request.config.getoption("--engine")]) as engine:
        yield engine


class Group:
    """The cgroup of a container."""

    def __init__(self, engine: Engine, container: str) -> None:
        self.path = cgroup_of(state_of(engine, container)["Pid"])

    def table(self, file: str) -> dict[str, int]:
        return {key: int(value) for key, value in map(str.split, (self.path / file).read_text().splitlines())}

    def cpu_us(self) -> int:
        return self.table("cpu.stat")["usage_usec"]

    def io(self, device: str, key: str) -> int:
        lines = (line.split() for line in (self.path / "io.stat").read_text().splitlines())
        words: list[str] = next((words for number, *words in lines if number == device), [])
        return int(dict(word.split("=") for word in words).get(key, 0))

    def stalled_us(self) -> int:
        """How long some process in it has stalled on memory."""
        some = (self.path / "memory.pressure").read_text().splitlines()[0]
        return int(some.rpartition("total=")[2])


def rates(*counts: Callable[[], int]) -> list[float]:
    """How much each count grows per second, all measured over the same `WINDOW_S`."""
    began, before = time.monotonic(), [count() for count in counts]
    time.sleep(WINDOW_S)
    after, took_s = [count() for count in counts], time.monotonic() - began
    return [(now - then) / took_s for then, now in zip(before, after, strict=True)]


def assert_comes_to(wanted: float, measure: Callable[[], float], *, within: float) -> None:
    """Assert that `measure` comes within range in at least one of `WINDOWS` tries."""
    measured = [measure()]
    while abs(measured[-1] - wanted) > within:
        assert len(measured) < WINDOWS, measured
        measured.append(measure())


def update(engine: Engine, container: str, **limits: Any) -> float:
    """Change limits and wait until they must hold; returns the time of the engine's answer."""
    status, body = engine.request("POST", f"/containers/{container}/update", limits)
    answered = time.time()
    assert (status, json.loads(body)) == (200, {"Warnings": None})
    time.sleep(EFFECTIVE_S)
    return answered


@pytest.mark.parametrize("ten", range(5))
def test_fifty_of_fifty_that_allocate_past_their_limit_are_killed_at_it_and_told(engine: Engine, ten: int) -> None:
    hungry = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]
    limits = {"Memory": 16 * MIB, "MemorySwap": 16 * MIB, "NetworkMode": "none"}
    since = time.time()
    ids = []
    for _ in range(10):
        status, body = engine.request(
            "POST", "/containers/create", {"Image": IMAGE, "Cmd": hungry, "HostConfig": limits}
        )
        assert status == 201, body
        ids.append(json.loads(body)["Id"])
        assert engine.request("POST", f"/containers/{ids[-1]}/start")[0] == 204
        waited = engine.request("POST", f"/containers/{ids[-1]}/wait")[1]
        assert json.loads(waited)["StatusCode"] == 137
        state = state_of(engine, ids[-1])
        assert (state["ExitCode"], state["OOMKilled"]) == (137, True)
    told = events(engine, since, "oom", "die")
    assert told == [(id, action) for id in ids for action in ("oom", "die")]


def events(engine: Engine, since: float, *actions: str) -> list[tuple[str, str]]:
    filters = quote(json.dumps({"event": list(actions)}))
    status, body = engine.request("GET", f"/events?since={since:.6f}&until={time.time():.6f}&filters={filters}")
    assert status == 200
    return [(event["Actor"]["ID"], event["Action"]) for event in map(json.loads, body.splitlines())]


def test_more_memory_is_there_at_once_and_less_kills_at_once(engine: Engine, docker: Client) -> None:
    holding = ("sh", "-c", "dd if=/dev/zero bs=24M count=1 | sleep 600")
    docker("run", "-d", "--name", "box", "-m", "16m", "--memory-swap", "16m", IMAGE, "sleep", "600")
    assert docker.run("exec", "box", *holding[:2], "dd if=/dev/zero of=/dev/null bs=24M count=1").returncode == 137
    group = Group(engine, "box")

    def seconds_until_killed() -> float:
        update(engine, "box", Memory=64 * MIB, MemorySwap=64 * MIB)
        docker("exec", "-d", "box", *holding)
        until(lambda: int((group.path / "memory.current").read_text()) > 24 * MIB)
        with following(engine, container="box", event="oom") as told:
            answered = update(engine, "box", Memory=16 * MIB, MemorySwap=16 * MIB)
            killed: int = next(told)["timeNano"]
            return max(0.0, killed / 1e9 - answered)

    assert_comes_to(0, seconds_until_killed, within=EFFECTIVE_S)
    assert state_of(engine, "box")["Running"] is True


def until(is_so: Callable[[], bool]) -> None:
    """Poll until `is_so()`; kernel counters send no notification."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_memory_high_slows_who_is_over_it_and_does_not_kill(engine: Engine, docker: Client) -> None:
    if isinstance(engine, Dockerd):
        pytest.skip("Docker can't set it")
    if not (CGROUPS / "memory.pressure").exists():
        pytest.skip("this kernel has no pressure stall information")
    docker("run", "-d", "--name", "box", "-m", "64m", IMAGE, "sleep", "600")
    over = ("exec", "box", "dd", "if=/dev/zero", "of=/dev/null", "bs=9M", "count=1")
    group = Group(engine, "box")
    stalls = []
    for high in ("max", str(8 * MIB), "max"):
        update(engine, "box", Unified={"memory.high": high})
        before = group.stalled_us()
        docker(*over)
        stalls.append(group.stalled_us() - before)
    assert stalls[1] > 300_000 > 10 * max(stalls[0], stalls[2])
    assert state_of(engine, "box")["OOMKilled"] is False


def test_a_fork_past_the_limit_is_told_to_try_again_until_there_is_room(engine: Engine, docker: Client) -> None:
    docker("run", "-d", "--name", "box", "--pids-limit", "20", IMAGE, "sleep", "600")
    thirty = ("exec", "box", "sh", "-c", "for number in $(seq 30); do sleep 600 & done; kill $(jobs -p)")
    assert "can't fork: Resource temporarily unavailable" in docker.run(*thirty).stderr
    assert Group(engine, "box").table("pids.events")["max"] > 0
    update(engine, "box", PidsLimit=60)
    assert docker.run(*thirty).stderr == ""


def test_a_busy_loop_gets_the_part_of_a_cpu_that_it_was_given(engine: Engine, docker: Client) -> None:
    docker("run", "-d", "--name", "box", "--cpus", "0.5", IMAGE, *BUSY)
    group = Group(engine, "box")
    assert_comes_to(0.5e6, lambda: rates(group.cpu_us)[0], within=0.05e6)
    update(engine, "box", NanoCpus=200_000_000)
    assert_comes_to(0.2e6, lambda: rates(group.cpu_us)[0], within=0.02e6)


def test_shares_of_one_to_three_share_a_cpu_so(engine: Engine, docker: Client) -> None:
    same_cpu = ("--cpuset-cpus", "0") if "cpuset" in (CGROUPS / "cgroup.controllers").read_text().split() else ()
    docker("run", "-d", "--name", "one", "--cpu-shares", "1024", *same_cpu, IMAGE, *BUSY)
    docker("run", "-d", "--name", "three", "--cpu-shares", "3072", *same_cpu, IMAGE, *BUSY)
    one, three = Group(engine, "one"), Group(engine, "three")

    def ratio(more: Group, less: Group) -> float:
        much, little = rates(more.cpu_us, less.cpu_us)
        return much / little

    assert_comes_to(3, lambda: ratio(three, one), within=0.3)
    update(engine, "one", CpuShares=9216)
    assert_comes_to(3, lambda: ratio(one, three), within=0.3)


@pytest.fixture
def loop_device() -> Iterator[Path]:
    if "io" not in (CGROUPS / "cgroup.controllers").read_text().split() or not Path("/dev/loop-control").exists():
        pytest.skip("this kernel has no io controller, or no loop devices")
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(32 * MIB)
        device = subprocess.check_output(["losetup", "--find", "--show", file.name], text=True).strip()
        yield Path(device)
        subprocess.run(["losetup", "--detach", device], check=True)


@dataclass(frozen=True)
class IoCase:
    """A client flag, its API field, the kernel's counter, and a `dd` that performs such operations."""

    flag: str
    field: str
    counted: str
    rate: int
    unit: int
    dd: str

    def for_seconds(self, seconds: float, rate: int) -> list[str]:
        return ["dd", *self.dd.split(), f"count={int(seconds * rate / self.unit)}"]


IO_CASES = [
    IoCase("write-bps", "BlkioDeviceWriteBps", "wbytes", 4 * MIB, 65536, "if=/dev/zero of=/disk oflag=direct bs=64k"),
    IoCase("read-iops", "BlkioDeviceReadIOps", "rios", 100, 1, "if=/disk of=/dev/null iflag=direct bs=4k"),
]


@pytest.mark.parametrize("case", IO_CASES, ids=lambda case: case.flag)
def test_input_and_output_are_as_fast_as_they_may_be(
    engine: Engine, docker: Client, loop_device: Path, case: IoCase
) -> None:
    limits = ("--device", f"{loop_device}:/disk", f"--device-{case.flag}", f"{loop_device}:{case.rate}")
    docker("run", "-d", "--name", "box", *limits, IMAGE, "sleep", "600")
    group = Group(engine, "box")
    number = loop_device.stat().st_rdev

    def counted() -> int:
        return group.io(f"{os.major(number)}:{os.minor(number)}", case.counted)

    def measured(rate: int) -> float:
        before = counted()
        docker("exec", "-d", "box", *case.for_seconds(WINDOW_S + 2, rate))
        until(lambda: counted() > before)
        measured = rates(counted)[0]
        until(lambda: len((group.path / "cgroup.procs").read_text().split()) == 1)
        return measured

    assert_comes_to(case.rate, lambda: measured(case.rate), within=0.15 * case.rate)
    # Update between two programs, not during one: if the device is over its limit at the change, Linux before 6.6
    # deducts the excess from every later request, until there has been none for a tenth of a second.
    update(engine, "box", **{case.field: [{"Path": str(loop_device), "Rate": case.rate // 2}]})
    assert_comes_to(case.rate / 2, lambda: measured(case.rate // 2), within=0.075 * case.rate)
