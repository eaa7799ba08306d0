"""The cgroups_v2 driver on the real kernel: what limits, freezing and killing do to processes."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sampan.drivers import Cgroup, GroupEvent, IoLimit, Resources, ResourceSettings
from sampan.errdefs import Conflict, InvalidArgument
from sampan_cgroups_v2.driver import CgroupDriver
from sampan_cgroups_v2.host import find_host

pytestmark = pytest.mark.root
MIB = 1 << 20
WEB = "ab" * 32
_numbers = itertools.count()


@pytest.fixture
def driver(cgroups: Path, tmp_path: Path) -> Iterator[CgroupDriver]:
    parent = f"/sampan-cgroups-{os.getpid()}-{next(_numbers)}"
    driver = CgroupDriver(ResourceSettings(tmp_path, parent), deadline_s=10)
    yield driver
    for id in list(driver.list()):
        driver.kill(id)
        driver.remove(id)
    if (cgroups / parent.lstrip("/")).is_dir():
        (cgroups / parent.lstrip("/")).rmdir()


@pytest.fixture
def limited(driver: CgroupDriver) -> CgroupDriver:
    """The driver, on a host whose v2 hierarchy has the controllers."""
    if find_host().kind != "unified" or not {"memory", "cpu", "pids"} <= driver.capabilities().controllers:
        pytest.skip("this host has no unified cgroup v2 with the memory, cpu and pids controllers")
    return driver


class Shell:
    """A shell that waits for a line on stdin, so that its whole script runs inside the group."""

    def __init__(self, script: str, directory: Path) -> None:
        self._process = subprocess.Popen(
            ["sh", "-c", f"read -r word; {script}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.pid = self._process.pid
        (directory / "cgroup.procs").write_text(str(self.pid))

    def run(self) -> tuple[int, str]:
        """The exit status and what it printed."""
        printed, _ = self._process.communicate(b"go\n")
        return self._process.returncode, printed.decode()

    def end(self) -> None:
        """Kill it if it is running, and reap it."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def shell(cgroups: Path) -> Iterator[Callable[[Cgroup, str], Shell]]:
    shells: list[Shell] = []

    def start(cgroup: Cgroup, script: str) -> Shell:
        shells.append(Shell(script, cgroups / cgroup.path.lstrip("/")))
        return shells[-1]

    yield start
    for one in shells:
        one.end()


def read(cgroups: Path, cgroup: Cgroup, file: str) -> str:
    return (cgroups / cgroup.path.lstrip("/") / file).read_text().strip()


def test_a_frozen_group_is_frozen_when_freeze_returns(
    driver: CgroupDriver, cgroups: Path, shell: Callable[[Cgroup, str], Shell]
) -> None:
    cgroup = driver.create(WEB, Resources())
    shell(cgroup, "true")
    driver.freeze(WEB)
    assert "frozen 1" in read(cgroups, cgroup, "cgroup.events")
    driver.thaw(WEB)
    assert "frozen 0" in read(cgroups, cgroup, "cgroup.events")


def test_groups_that_a_container_made_below_its_own_are_killed_and_removed_too(
    driver: CgroupDriver, cgroups: Path, shell: Callable[[Cgroup, str], Shell]
) -> None:
    cgroup = driver.create(WEB, Resources())
    inner = Cgroup("inner", f"{cgroup.path}/a/b")
    (cgroups / inner.path.lstrip("/")).mkdir(parents=True)
    inside = shell(inner, "true")
    assert driver.processes(WEB) == [inside.pid]
    driver.kill(WEB)
    driver.remove(WEB)
    assert list(driver.list()) == []


def test_processes_are_killed_one_by_one_where_the_kernel_has_no_cgroup_kill(
    driver: CgroupDriver, shell: Callable[[Cgroup, str], Shell], monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroup = driver.create(WEB, Resources())
    shell(cgroup, "true")
    shell(cgroup, "true")
    monkeypatch.setattr("sampan_cgroups_v2.group.Group.has", lambda group, file: file != "cgroup.kill")
    driver.kill(WEB)
    assert driver.processes(WEB) == []
    driver.remove(WEB)


def test_a_group_whose_process_will_not_die_is_a_conflict_after_the_deadline(
    driver: CgroupDriver, cgroups: Path, tmp_path: Path, shell: Callable[[Cgroup, str], Shell]
) -> None:
    cgroup = driver.create(WEB, Resources())
    shell(cgroup, "true")
    impatient = CgroupDriver(ResourceSettings(tmp_path, cgroup.path.rpartition("/")[0]), deadline_s=0.05)
    with pytest.raises(Conflict, match="has processes"):
        impatient.remove(WEB)
    assert read(cgroups, cgroup, "cgroup.procs")


CHURN = """if True:
    import secrets, sys, threading
    from pathlib import Path
    from sampan.drivers import Placement, Resources, ResourceSettings
    from sampan_cgroups_v2.driver import CgroupDriver
    driver = CgroupDriver(ResourceSettings(Path(sys.argv[1]), sys.argv[2]))

    def churn(parents):
        while True:
            for parent in parents:
                id = secrets.token_hex(32)
                driver.create(id, Resources(), Placement(parent))
                print(flush=True)
                driver.remove(id)

    for parents in (["a/b"], ["a/b", "a"], ["a", "c", ""], ["c/d/e", "a/b"]):
        threading.Thread(target=churn, args=[parents]).start()
"""


def test_a_driver_killed_at_any_moment_leaves_nothing_that_the_next_does_not_find(
    driver: CgroupDriver, cgroups: Path, tmp_path: Path
) -> None:
    slice_ = driver.create(WEB, Resources()).path.rpartition("/")[0]
    driver.remove(WEB)
    for done in (1, 3, 10, 40, 41, 80):
        command = [sys.executable, "-c", CHURN, str(tmp_path), slice_]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.read(done)
            process.kill()
        again = CgroupDriver(ResourceSettings(tmp_path, slice_), deadline_s=10)
        for id in list(again.list()):
            again.remove(id)
        again.close()
        assert not (cgroups / slice_.lstrip("/")).exists()


def test_cpu_time_of_a_group_is_accounted(driver: CgroupDriver, shell: Callable[[Cgroup, str], Shell]) -> None:
    cgroup = driver.create(WEB, Resources())
    assert shell(cgroup, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").run() == (0, "")
    stats = driver.stats(WEB)
    assert stats.cpu_usage_us is not None
    assert stats.cpu_usage_us > 0


def test_nothing_outside_the_slice_changes_on_a_hybrid_host(driver: CgroupDriver, cgroups: Path) -> None:
    if find_host().kind != "hybrid":
        pytest.skip("this host is not hybrid")
    before = (cgroups / "cgroup.subtree_control").read_text()
    warnings = driver.create(WEB, Resources(memory_max_bytes=64 * MIB)).warnings
    assert (cgroups / "cgroup.subtree_control").read_text() == before
    assert warnings == (
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
    )


@pytest.mark.vm
def test_a_process_over_its_memory_limit_is_killed_and_counted(
    limited: CgroupDriver, shell: Callable[[Cgroup, str], Shell]
) -> None:
    cgroup = limited.create(WEB, Resources(memory_max_bytes=16 * MIB, swap_max_bytes=0))
    assert cgroup.warnings in ((), _no_swap())
    heard: list[GroupEvent] = []
    told = threading.Event()

    def listen() -> None:
        for event in limited.events():
            heard.append(event)
            if event.action == "oom_kill":
                told.set()

    listener = threading.Thread(target=listen)
    listener.start()
    status, _ = shell(cgroup, "exec tail /dev/zero").run()
    assert status == -9
    assert limited.oom_kills(WEB) == 1
    stats = limited.stats(WEB)
    assert (stats.oom_kills, stats.memory_max_bytes) == (1, 16 * MIB)
    assert told.wait(60)
    limited.close()
    listener.join(60)
    limited.remove(WEB)
    assert [event for event in heard if event.action == "oom_kill"] == [GroupEvent(WEB, "oom_kill", 1)]


@pytest.mark.vm
def test_a_busy_process_is_throttled_to_its_quota(
    limited: CgroupDriver, shell: Callable[[Cgroup, str], Shell]
) -> None:
    cgroup = limited.create(WEB, Resources(cpu_quota_us=10_000, cpu_period_us=100_000, cpu_weight=50))
    assert cgroup.warnings == ()
    shell(cgroup, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").run()
    stats = limited.stats(WEB)
    assert stats.cpu_throttled_periods
    assert stats.cpu_throttled_us


@pytest.mark.vm
def test_a_group_holds_no_more_processes_than_its_limit(
    limited: CgroupDriver, cgroups: Path, shell: Callable[[Cgroup, str], Shell]
) -> None:
    cgroup = limited.create(WEB, Resources(pids_max=3))
    status, printed = shell(cgroup, "sleep 9 & sleep 9 & sleep 9 & sleep 9 &").run()
    assert status != 0
    assert "fork" in printed
    assert "max 1" in read(cgroups, cgroup, "pids.events")
    assert limited.stats(WEB).pids_max == 3


@pytest.mark.vm
def test_io_limits_are_set_device_by_device(limited: CgroupDriver, cgroups: Path) -> None:
    if "io" not in limited.capabilities().controllers:
        pytest.skip("this host has no io controller")
    number = next(Path("/sys/block").glob("*/dev")).read_text().strip()
    cgroup = limited.create(WEB, Resources(io_max=(IoLimit(number, write_bytes_per_s=MIB),)))
    assert cgroup.warnings == ()
    assert read(cgroups, cgroup, "io.max") == f"{number} rbps=max wbps={MIB} riops=max wiops=max"
    with pytest.raises(InvalidArgument, match="No such device"):
        limited.update(WEB, Resources(io_max=(IoLimit(number, read_ops_per_s=7), IoLimit("250:250", 1))))
    assert read(cgroups, cgroup, "io.max") == f"{number} rbps=max wbps={MIB} riops=max wiops=max"


@pytest.mark.vm
def test_an_update_with_one_value_that_the_kernel_refuses_changes_nothing(
    limited: CgroupDriver, cgroups: Path
) -> None:
    cgroup = limited.create(WEB, Resources(memory_max_bytes=64 * MIB, cpu_weight=50, cpu_quota_us=20_000))
    before = {file: read(cgroups, cgroup, file) for file in ("memory.max", "memory.high", "cpu.weight", "cpu.max")}
    with pytest.raises(InvalidArgument, match=r"cpu\.max"):
        limited.update(
            WEB, Resources(memory_max_bytes=32 * MIB, memory_high_bytes=16 * MIB, cpu_weight=70, cpu_quota_us=1)
        )
    assert {file: read(cgroups, cgroup, file) for file in before} == before


@pytest.mark.vm
def test_a_group_that_can_not_get_its_limits_is_not_made(limited: CgroupDriver) -> None:
    with pytest.raises(InvalidArgument, match=r"cpu\.weight"):
        limited.create(WEB, Resources(cpu_weight=20_000))
    assert list(limited.list()) == []


@pytest.mark.vm
def test_limits_can_be_changed_and_lifted_while_the_group_lives(limited: CgroupDriver, cgroups: Path) -> None:
    cgroup = limited.create(WEB, Resources(memory_max_bytes=64 * MIB, pids_max=10, cpu_quota_us=20_000))
    limited.update(WEB, Resources(memory_max_bytes=-1, pids_max=-1, cpu_quota_us=-1, cpu_period_us=50_000))
    assert [read(cgroups, cgroup, file) for file in ("memory.max", "pids.max", "cpu.max")] == [
        "max",
        "max",
        "max 50000",
    ]


@pytest.mark.vm
def test_a_burst_may_rise_with_its_quota_and_fall_with_it(limited: CgroupDriver, cgroups: Path) -> None:
    cgroup = limited.create(WEB, Resources(cpu_quota_us=20_000, cpu_burst_us=20_000))
    for number in (50_000, 10_000):
        limited.update(WEB, Resources(cpu_quota_us=number, cpu_burst_us=number))
        assert read(cgroups, cgroup, "cpu.max.burst") == str(number)


@pytest.mark.vm
def test_any_key_of_the_kernel_can_be_set_but_those_that_control_the_group(
    limited: CgroupDriver, cgroups: Path
) -> None:
    cgroup = limited.create(WEB, Resources(unified={"memory.oom.group": "1", "misc.nothing": "1"}))
    assert read(cgroups, cgroup, "memory.oom.group") == "1"
    assert len(cgroup.warnings) == 1
    assert "misc.nothing" in cgroup.warnings[0]
    for key in ("cgroup.procs", "cgroup.kill", "../memory.max", "memory"):
        with pytest.raises(InvalidArgument):
            limited.update(WEB, Resources(unified={key: "1"}))


@pytest.mark.vm
def test_a_daemon_inside_its_slice_steps_aside_into_a_leaf(
    limited: CgroupDriver, cgroups: Path, tmp_path: Path
) -> None:
    parent = f"/sampan-delegated-{os.getpid()}"
    (cgroups / parent.lstrip("/")).mkdir()
    script = f"""if True:
        from pathlib import Path
        from sampan.drivers import Resources, ResourceSettings
        from sampan_cgroups_v2.driver import CgroupDriver
        Path("{cgroups}{parent}/cgroup.procs").write_text("0")
        driver = CgroupDriver(ResourceSettings(Path("{tmp_path}"), "{parent}"))
        print(driver.create("{WEB}", Resources(memory_max_bytes=64 << 20)).warnings, list(driver.list()))
        driver.remove("{WEB}")
    """
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout == f"() ['{WEB}']\n"
    finally:
        for directory in (f"{parent}/sampan.daemon", parent):
            if (cgroups / directory.lstrip("/")).is_dir():
                (cgroups / directory.lstrip("/")).rmdir()


ASIDE = """if True:
    import subprocess, sys
    from pathlib import Path
    from sampan.syscalls.cgroup import own_cgroup, step_aside
    path = Path(sys.argv[1])
    path.joinpath("cgroup.procs").write_text("0")
    neighbours = [subprocess.Popen(["sleep", "600"]) for _ in range(3)]
    command = "from pathlib import Path; from sampan.syscalls.cgroup import step_aside; step_aside(Path({}))"
    subprocess.run([*sys.argv[2:], sys.executable, "-c", command.format(repr(str(path)))], check=True)
    print(own_cgroup().rpartition("/")[2], path.joinpath("cgroup.procs").read_text().split() == [])
    for neighbour in neighbours:
        neighbour.kill()
        neighbour.wait()
"""


@pytest.mark.parametrize(
    ("around", "printed"),
    [((), "own False"), (("unshare", "--cgroup"), "sampan.daemon True")],
    ids=["elsewhere", "in a namespace"],
)
def test_who_steps_aside_takes_all_with_it_from_the_root_of_a_namespace_only(
    cgroups: Path, around: tuple[str, ...], printed: str
) -> None:
    own = cgroups / f"sampan-aside-{os.getpid()}/own"
    own.mkdir(parents=True)
    try:
        done = subprocess.run([sys.executable, "-c", ASIDE, own, *around], capture_output=True, text=True, check=True)
        assert done.stdout == f"{printed}\n"
    finally:
        for directory in (own / "sampan.daemon", own, own.parent):
            directory.rmdir()


def _no_swap() -> tuple[str, ...]:
    return (
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
        "Memory limited without swap.",
    )
