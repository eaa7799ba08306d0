"""The cgroups_v2 driver on a tree of plain files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.drivers import IoLimit, Pressure, Resources, ResourceSettings
from sampan.errdefs import InvalidArgument, NotFound, Unsupported
from sampan_cgroups_v2.driver import CgroupDriver
from sampan_cgroups_v2.host import Host, find_host

WEB = "ab" * 32
V1_MEMORY = "31 25 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
V1_SYSTEMD = "32 25 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
V2_BESIDE = "33 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
V2_ALONE = "34 25 0:29 / /sys/fs/cgroup rw shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate\n"
OTHER = "24 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"


@pytest.mark.parametrize(
    ("mounts", "host"),
    [
        (OTHER + V2_ALONE, Host("unified", Path("/sys/fs/cgroup"))),
        (OTHER + V1_SYSTEMD + V2_BESIDE, Host("unified", Path("/sys/fs/cgroup/unified"))),
        (OTHER + V1_MEMORY + V1_SYSTEMD + V2_BESIDE, Host("hybrid", Path("/sys/fs/cgroup/unified"))),
        (OTHER + V1_MEMORY, Host("legacy", None)),
        (OTHER, Host("none", None)),
    ],
)
def test_the_kind_of_host_is_read_from_its_mounts(tmp_path: Path, mounts: str, host: Host) -> None:
    (tmp_path / "mountinfo").write_text(mounts)
    assert find_host(tmp_path / "mountinfo") == host


@pytest.mark.parametrize(("kind", "reason"), [("legacy", "cgroup v1 only"), ("none", "no cgroup2 file system")])
def test_a_host_without_v2_says_why_it_cannot_work(tmp_path: Path, kind: str, reason: str) -> None:
    driver = CgroupDriver(ResourceSettings(tmp_path, "/sampan"), host=Host(kind, None))
    assert reason in str(driver.probe())
    assert driver.capabilities().host == kind
    assert list(driver.list()) == []
    with pytest.raises(Unsupported, match=reason):
        driver.create(WEB, Resources())


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """A root cgroup and the slice, both with controllers enabled."""
    for path in (tmp_path, tmp_path / "sampan"):
        path.mkdir(exist_ok=True)
        (path / "cgroup.controllers").write_text("cpu io memory misc pids\n")
        (path / "cgroup.subtree_control").write_text("cpu io memory pids\n")
        (path / "cgroup.procs").write_text("")
    return tmp_path


@pytest.fixture
def driver(mount: Path) -> Iterator[CgroupDriver]:
    driver = CgroupDriver(ResourceSettings(mount, "/sampan"), host=Host("unified", mount), deadline_s=0)
    yield driver
    driver.close()


@pytest.fixture
def web(mount: Path) -> Path:
    """A group with the files of the memory, cpu, pids and io controllers."""
    path = mount / f"sampan/{WEB}"
    path.mkdir()
    files = {
        "cgroup.events": "populated 0\nfrozen 0\n",
        "cgroup.procs": "12\n0\n13\n",
        "cpu.max": "max 100000\n",
        "cpu.max.burst": "0\n",
        "cpu.weight": "100\n",
        "cpu.stat": "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 9\nnr_throttled 2\nthrottled_usec 5\n",
        "cpu.pressure": "some avg10=1.50 avg60=0.20 avg300=0.00 total=77\n",
        "io.max": "8:0 rbps=1000 wbps=max riops=max wiops=max\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2\n254:0 \n",
        "memory.current": "4096\n",
        "memory.events": "low 0\noom 1\noom_kill 3\n",
        "memory.max": "max\n",
        "memory.high": "max\n",
        "memory.peak": "8192\n",
        "memory.stat": "anon 100\nfile 200\n",
        "pids.current": "2\n",
        "pids.max": "10\n",
    }
    for name, content in files.items():
        (path / name).write_text(content)
    return path


def test_the_slice_is_made_and_given_the_controllers_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory debug\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    driver = CgroupDriver(ResourceSettings(tmp_path, "/sampan"), host=Host("unified", tmp_path))
    assert driver.capabilities().controllers == {"memory"}
    assert not (tmp_path / "sampan").exists()
    assert driver.create(WEB, Resources()).path == f"/sampan/{WEB}"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"


def test_controllers_that_only_control_files_ask_for_are_handed_down_too(driver: CgroupDriver, mount: Path) -> None:
    (mount / "sampan/misc.max").write_text("sgx max")
    assert driver.validate(Resources(unified={"misc.max": "sgx 1"})) == ()
    assert "rdma.max" in driver.validate(Resources(unified={"rdma.max": "mlx4_0 hca_handle=2"}))[0]


def test_a_threaded_slice_cannot_hold_containers(driver: CgroupDriver, mount: Path) -> None:
    (mount / "sampan/cgroup.type").write_text("domain threaded\n")
    assert "threaded" in str(driver.probe())


def test_the_daemons_own_leaf_is_no_group(driver: CgroupDriver, mount: Path, web: Path) -> None:
    (mount / "sampan/sampan.daemon").mkdir()
    assert list(driver.list()) == [WEB]


@pytest.mark.parametrize("id", ["", "..", "a/b", "sampan.daemon", "x" * 200])
def test_an_id_that_is_no_directory_name_is_invalid(driver: CgroupDriver, id: str) -> None:
    with pytest.raises(InvalidArgument):
        driver.create(id, Resources())


def test_limits_are_written_in_the_kernels_form(driver: CgroupDriver, web: Path) -> None:
    asked = Resources(
        memory_max_bytes=1 << 20, pids_max=-1, cpu_quota_us=5000, cpu_weight=7, io_max=(IoLimit("8:0", 1, None, 2),)
    )
    assert driver.update(WEB, asked) == ()
    assert (web / "memory.max").read_text() == "1048576\n"
    assert (web / "pids.max").read_text() == "max\n"
    assert (web / "cpu.max").read_text() == "5000 100000\n"
    assert (web / "cpu.weight").read_text() == "7\n"
    assert (web / "io.max").read_text() == "8:0 rbps=1 wbps=max riops=2 wiops=max\n"


def test_a_period_alone_keeps_the_quota(driver: CgroupDriver, web: Path) -> None:
    (web / "cpu.max").write_text("5000 100000\n")
    driver.update(WEB, Resources(cpu_period_us=50_000))
    assert (web / "cpu.max").read_text() == "5000 50000\n"


def test_the_bfq_weight_is_set_where_it_is_the_only_one(driver: CgroupDriver, web: Path) -> None:
    (web / "io.bfq.weight").write_text("default 100\n")
    assert driver.update(WEB, Resources(io_weight=5000)) == ()
    assert (web / "io.bfq.weight").read_text() == "default 1000\n"


def test_a_device_has_a_weight_of_its_own(driver: CgroupDriver, web: Path) -> None:
    (web / "io.bfq.weight").write_text("default 100\n")
    assert driver.update(WEB, Resources(io_weights={"8:0": 5000})) == ()
    assert (web / "io.bfq.weight").read_text() == "8:0 1000\n"


def test_a_refused_value_puts_back_the_old_ones(driver: CgroupDriver, web: Path) -> None:
    asked = Resources(
        memory_high_bytes=5, memory_max_bytes=6, io_max=(IoLimit("8:0", 1),), unified={"cgroup.kill": "1"}
    )
    with pytest.raises(InvalidArgument, match=r"'cgroup\.kill' is not a control file that can be set"):
        driver.update(WEB, asked)
    assert (web / "memory.high").read_text() == (web / "memory.max").read_text() == "max\n"
    assert (web / "io.max").read_text() == "8:0 rbps=1000 wbps=max riops=max wiops=max\n"


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("memory.hihg", "this kernel has none of that name"),
        ("magic.max", "there is no controller magic"),
        ("cgroup.kill", "is not a control file that can be set"),
        ("../memory.max", "is not a control file that can be set"),
    ],
)
def test_a_control_file_that_cannot_be_is_refused_before_anything_is_made(
    driver: CgroupDriver, mount: Path, file: str, words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        driver.validate(Resources(unified={file: "1"}))
    assert list(driver.list()) == []


def test_validate_knows_what_a_kernel_lacks_that_has_the_controller(driver: CgroupDriver, mount: Path) -> None:
    (mount / "sampan/memory.max").write_text("max")
    (mount / "sampan/io.bfq.weight").write_text("default 100")
    asked = Resources(memory_max_bytes=1 << 20, swap_max_bytes=0, io_weight=100)
    assert driver.validate(asked) == (
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
        "Memory limited without swap.",
    )


def test_a_slice_that_has_not_got_its_controllers_yet_is_no_reason_to_warn(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory pids")
    (tmp_path / "sampan").mkdir()
    (tmp_path / "sampan/cgroup.controllers").write_text("")
    driver = CgroupDriver(ResourceSettings(tmp_path, "/sampan"), host=Host("unified", tmp_path))
    assert driver.capabilities().controllers == {"memory", "pids"}
    assert driver.validate(Resources(memory_max_bytes=1 << 20, unified={"memory.high": "1M"})) == ()


def test_validate_warns_of_what_create_would_warn_of(driver: CgroupDriver, mount: Path) -> None:
    for file in ("memory.high", "memory.max"):
        (mount / "sampan" / file).write_text("max")
    assert driver.validate(Resources(unified={"memory.high": "1M"}, memory_max_bytes=1 << 20)) == ()
    assert "cpuset" in driver.validate(Resources(cpuset_cpus="0"))[0]


def test_limits_without_a_file_are_warned_of(driver: CgroupDriver, web: Path) -> None:
    (warning,) = driver.update(WEB, Resources(swap_max_bytes=0, memory_max_bytes=5))
    assert "swap limit" in warning
    assert not (web / "memory.swap.max").exists()


def test_stats_are_the_files_numbers(driver: CgroupDriver, web: Path) -> None:
    stats = driver.stats(WEB)
    assert (stats.cpu_usage_us, stats.cpu_user_us, stats.cpu_system_us) == (7, 4, 3)
    assert (stats.cpu_periods, stats.cpu_throttled_periods, stats.cpu_throttled_us) == (9, 2, 5)
    assert (stats.memory_bytes, stats.memory_peak_bytes, stats.memory_max_bytes) == (4096, 8192, None)
    assert stats.memory == {"anon": 100, "file": 200}
    assert (stats.oom_kills, stats.pids, stats.pids_max) == (3, 2, 10)
    assert stats.io == {"8:0": {"rbytes": 10, "wbytes": 20, "rios": 1, "wios": 2}, "254:0": {}}
    assert stats.pressure == {"cpu": {"some": Pressure(1.5, 0.2, 0.0, 77)}}


def test_a_file_longer_than_one_read_is_read_to_its_end(driver: CgroupDriver, web: Path) -> None:
    devices = [f"8:{number} rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0" for number in range(1000)]
    (web / "io.stat").write_text("\n".join(devices))
    assert len(driver.stats(WEB).io) == 1000


def test_processes_of_another_pid_namespace_are_left_out(driver: CgroupDriver, web: Path) -> None:
    assert sorted(driver.processes(WEB)) == [12, 13]


def test_freezing_without_the_kernels_help_is_unsupported(driver: CgroupDriver, web: Path) -> None:
    with pytest.raises(Unsupported, match=r"cgroup\.freeze"):
        driver.freeze(WEB)


def test_a_group_that_is_not_there_is_not_found(driver: CgroupDriver) -> None:
    with pytest.raises(NotFound):
        driver.stats(WEB)
