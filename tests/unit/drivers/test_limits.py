"""Warnings about limits that a host can't enforce."""

from __future__ import annotations

import pytest

from sampan.drivers import IoLimit, Resources
from sampan.drivers.limits import UNLIMITED, discarded


def nothing(file: str) -> bool:
    return False


def test_no_limit_is_no_warning() -> None:
    assert discarded(Resources(), nothing) == ()


def test_a_limit_that_is_lifted_is_no_warning() -> None:
    assert discarded(Resources(memory_max_bytes=UNLIMITED, pids_max=UNLIMITED, cpuset_cpus=""), nothing) == ()


def test_a_limit_that_is_enforced_is_no_warning() -> None:
    assert discarded(Resources(memory_max_bytes=1, cpu_weight=5), {"memory.max", "cpu.weight"}.__contains__) == ()


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            Resources(memory_max_bytes=1),
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. "
            "Limitation discarded.",
        ),
        (
            Resources(memory_max_bytes=1, swap_max_bytes=0),
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. "
            "Limitation discarded.",
        ),
        (
            Resources(swap_max_bytes=0),
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
            "Memory limited without swap.",
        ),
        (
            Resources(memory_low_bytes=1, memory_high_bytes=1),
            "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. "
            "Limitation discarded.",
        ),
        (
            Resources(cpu_quota_us=1, cpu_period_us=1, cpu_burst_us=1),
            "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
        ),
        (
            Resources(pids_max=1),
            "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. "
            "PIDs limit discarded.",
        ),
        (
            Resources(cpuset_cpus="0", cpuset_mems="0"),
            "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.",
        ),
        (
            Resources(io_max=(IoLimit("8:0", write_ops_per_s=1), IoLimit("8:16", write_ops_per_s=1))),
            "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. "
            "Block I/O IOPS write limit discarded.",
        ),
    ],
)
def test_a_limit_that_is_not_enforced_is_one_sentence_in_dockers_words(asked: Resources, sentence: str) -> None:
    assert discarded(asked, nothing) == (sentence,)


def test_keys_and_page_sizes_are_named() -> None:
    asked = Resources(hugetlb_max_bytes={"2MB": 1}, unified={"memory.oom.group": "1"})
    first, second = discarded(asked, nothing)
    assert "2MB" in first
    assert "memory.oom.group" in second
