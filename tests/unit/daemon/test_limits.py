"""Docker's resource fields in the kernel's terms."""

from __future__ import annotations

import os
import stat
from typing import Any

import pytest

from sampan.daemon.settings.limits import resources_of
from sampan.drivers import IoLimit
from sampan.errdefs import InvalidArgument
from sampan.models import HostConfig

MIB = 1024 * 1024


def test_nothing_asked_for_is_no_limit() -> None:
    resources = resources_of(HostConfig())
    assert (
        resources.memory_max_bytes is resources.cpu_quota_us is resources.pids_max is resources.swap_max_bytes is None
    )


@pytest.mark.parametrize(("swap", "kernel"), [(0, 64 * MIB), (-1, -1), (64 * MIB, 0), (96 * MIB, 32 * MIB)])
def test_docker_counts_memory_and_swap_together(swap: int, kernel: int) -> None:
    resources = resources_of(HostConfig(memory=64 * MIB, memory_swap=swap))
    assert (resources.memory_max_bytes, resources.swap_max_bytes) == (64 * MIB, kernel)


def test_cpus_become_a_quota_of_a_period() -> None:
    resources = resources_of(HostConfig(nano_cpus=500_000_000))
    assert (resources.cpu_quota_us, resources.cpu_period_us) == (50_000, 100_000)


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262144, 10000)])
def test_shares_become_a_weight_as_runc_does_it(shares: int, weight: int) -> None:
    assert resources_of(HostConfig(cpu_shares=shares)).cpu_weight == weight


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"memory": MIB}, "Minimum memory limit allowed is 6MB"),
        ({"memory_swap": 64 * MIB}, "You should always set the Memory limit"),
        ({"memory": 64 * MIB, "memory_swap": 32 * MIB}, "memoryswap limit should be larger"),
        ({"memory": 64 * MIB, "memory_reservation": 128 * MIB}, "less than memory reservation"),
        ({"nano_cpus": 1, "cpu_period": 1000}, "Nano CPUs and CPU Period cannot both be set"),
        ({"nano_cpus": 10**15}, "range of CPUs is from 0.01"),
        ({"cpu_period": 10}, "CPU cfs period can not be less"),
        ({"cpu_quota": 10}, "CPU cfs quota can not be less"),
        ({"blkio_weight": 5}, "Range of blkio weight"),
    ],
)
def test_what_contradicts_itself_is_refused_in_dockers_words(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        resources_of(HostConfig(**asked))


@pytest.fixture
def null_is_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes /dev/null off as a block device, which not every machine has."""
    monkeypatch.setattr("sampan.daemon.settings.limits.stat.S_ISBLK", stat.S_ISCHR)


@pytest.mark.usefixtures("null_is_a_disk")
def test_weights_of_devices_are_by_number_and_in_the_kernels_range() -> None:
    host = HostConfig.model_validate({"BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 1000}]})
    assert resources_of(host).io_weights == {"1:3": 10000}


@pytest.mark.usefixtures("null_is_a_disk")
def test_a_rate_of_zero_is_no_limit() -> None:
    host = HostConfig.model_validate({"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 0}]})
    assert resources_of(host).io_max == (IoLimit("1:3", read_bytes_per_s=-1),)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/dev/null", "/dev/null is not a block device"),
        ("/dev/nosuch", "stat /dev/nosuch: no such file or directory"),
        ("/dev\0", "invalid device path"),
    ],
)
def test_what_is_no_disk_has_no_limits(path: str, words: str) -> None:
    host = HostConfig.model_validate({"BlkioDeviceWriteIOps": [{"Path": path, "Rate": 1}]})
    with pytest.raises(InvalidArgument, match=words):
        resources_of(host)


@pytest.mark.parametrize("nano", [-1, 1, 9_999_999, 10**15])
def test_cpus_that_the_kernel_or_the_host_has_not_got_are_refused(nano: int) -> None:
    with pytest.raises(InvalidArgument, match=r"range of CPUs is from 0\.01 to"):
        resources_of(HostConfig(nano_cpus=nano))


def test_cpus_are_those_that_the_daemon_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    with pytest.raises(InvalidArgument, match=r"from 0\.01 to 1\.00, as there are only 1 CPUs available"):
        resources_of(HostConfig(nano_cpus=2 * 10**9))


def test_below_zero_a_quota_and_a_reservation_are_none() -> None:
    limits = resources_of(HostConfig(cpu_quota=-5, memory_reservation=-1))
    assert (limits.cpu_quota_us, limits.memory_low_bytes) == (-1, 0)
