"""The leak check finds what a test leaves behind, and only that."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.testing.host import HostState, LeakCheck, Leaked, snapshot_host


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with `tmp_path` on its command line."""
    process = subprocess.Popen(["sh", "-c", 'read -r word; : "$0"', str(tmp_path)], stdin=subprocess.PIPE)
    yield process
    process.communicate()


def test_an_open_file_is_found_until_it_is_closed(tmp_path: Path) -> None:
    check = LeakCheck([str(tmp_path)])
    with (tmp_path / "file").open("w"):
        assert [leak.partition(" left over: ")[0] for leak in check.leaks()] == ["open file"]
        with pytest.raises(Leaked, match=r"open file left over: .*/file"):
            check.assert_clean(deadline_s=0)
    check.assert_clean()


def test_a_process_is_found_by_its_command(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    before = HostState({})
    found = snapshot_host().difference(before, [str(tmp_path)])
    assert any(f"process left over: {sleeper.pid} sh -c" in leak for leak in found)


def test_what_carries_no_mark_is_somebody_elses(sleeper: subprocess.Popen[bytes]) -> None:
    found = snapshot_host().difference(
        HostState({"open file": snapshot_host().things["open file"]}), ["no such mark"]
    )
    assert found == ()


def test_what_was_there_before_is_no_leak(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    assert LeakCheck([str(tmp_path)]).leaks() == ()


@pytest.mark.root
def test_a_network_namespace_is_found_as_long_as_something_holds_it(tmp_path: Path) -> None:
    check = LeakCheck([str(tmp_path)])
    holder = subprocess.Popen(
        ["unshare", "-n", "sh", "-c", 'echo ready; read -r word; : "$0"', str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    assert {leak.partition(" left over: ")[0] for leak in check.leaks()} >= {"network namespace", "process"}
    holder.communicate()
    check.assert_clean()


@pytest.mark.root
def test_a_cgroup_is_found(tmp_path: Path) -> None:
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    v2 = [Path(words[4]) for words in mounts if words[words.index("-") + 1] == "cgroup2"]
    if not v2:
        pytest.skip("no cgroup2 file system is mounted")
    group = v2[0] / f"leak-check-{os.getpid()}"
    check = LeakCheck([group.name])
    group.mkdir()
    try:
        assert check.leaks() == (f"cgroup left over: {group}",)
    finally:
        group.rmdir()
    check.assert_clean()
