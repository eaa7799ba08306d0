"""Cgroups above and below a container's: parents shared by several, and groups that a container creates itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import Client
from tests.support.engines import Sampand
from tests.vm.test_unified import IMAGE, PATIENCE_S, groups_below, slice_of, state_of

_NESTED = """\
set -e
cd /sys/fs/cgroup
test "$(cat /proc/self/cgroup)" = 0::/
mkdir manager worker
echo 0 >manager/cgroup.procs
echo '+memory +pids' >cgroup.subtree_control
echo 16M >worker/memory.max
echo 0 >worker/memory.swap.max
(echo 0 >/sys/fs/cgroup/worker/cgroup.procs; exec dd if=/dev/zero of=/dev/null bs=48M count=1) || echo "worker $?"
grep '^oom_kill ' worker/memory.events
cat worker/memory.max
"""
"""What an engine or init system inside a container does: leave the root cgroup, delegate controllers, set limits."""


@pytest.fixture
def batch(engine: Sampand) -> Iterator[Path]:
    """A parent cgroup that the user created and limited."""
    path = slice_of(engine) / "batch"
    path.mkdir()
    (path / "memory.max").write_text("24M")
    if (path / "memory.swap.max").exists():
        (path / "memory.swap.max").write_text("0")
    yield path
    path.rmdir()


def test_containers_in_the_users_parent_share_its_limit(docker: Client, engine: Sampand, batch: Path) -> None:
    hungry = ("dd", "if=/dev/zero", "of=/dev/null", "bs=48M", "count=1")
    parent = ("run", "-d", "-m", "64m", "--cgroup-parent", "/batch")
    docker(*parent, "--name", "idle", IMAGE, "sleep", "600")
    docker(*parent, "--name", "hungry", IMAGE, *hungry)
    assert docker("wait", "hungry", timeout_s=PATIENCE_S) == "137"
    assert state_of(engine, "hungry")["OOMKilled"] is True
    assert state_of(engine, "idle")["Running"] is True
    docker("rm", "-f", "idle", "hungry")
    assert groups_below(batch) == []
    assert (batch / "memory.max").read_text() == f"{24 << 20}\n"


def test_a_limit_holds_in_a_parent_that_the_engine_makes_and_removes(docker: Client, engine: Sampand) -> None:
    shown = docker("run", "--rm", "-m", "64m", "--cgroup-parent", "a/b", IMAGE, "cat", "/sys/fs/cgroup/memory.max")
    assert shown == str(64 << 20)
    assert groups_below(slice_of(engine)) == []


def test_a_parent_with_processes_of_its_own_is_refused(docker: Client, engine: Sampand, batch: Path) -> None:
    outside = docker("run", "-d", "--name", "sleeper", IMAGE, "sleep", "600")
    pid = str(state_of(engine, "sleeper")["Pid"])
    (batch / "cgroup.procs").write_text(pid)
    done = docker.run("create", "--cgroup-parent", "/batch", IMAGE, "true")
    assert "has processes, so nothing in it can be limited" in done.stderr
    assert groups_below(batch) == []
    (slice_of(engine) / outside / "cgroup.procs").write_text(pid)
    docker("rm", "-f", "sleeper")


def test_a_privileged_container_can_limit_what_it_runs(docker: Client, engine: Sampand) -> None:
    shown = docker("run", "--rm", "--privileged", "-m", "64m", IMAGE, "sh", "-c", _NESTED)
    assert shown.splitlines() == ["Killed", "worker 137", "oom_kill 1", str(16 << 20)] or shown.splitlines() == [
        "worker 137",
        "oom_kill 1",
        str(16 << 20),
    ]
    assert groups_below(slice_of(engine)) == []


def test_an_exec_gets_into_a_container_that_handed_its_controllers_down(docker: Client, engine: Sampand) -> None:
    handing_down = "cd /sys/fs/cgroup; mkdir a; echo 1 >a/cgroup.procs; echo +pids >cgroup.subtree_control; sleep 600"
    docker("run", "-d", "--name", "nest", "--privileged", IMAGE, "sh", "-c", f"{handing_down}")
    docker("exec", "nest", "sh", "-c", "until grep -q pids /sys/fs/cgroup/cgroup.subtree_control; do :; done")
    assert docker("exec", "nest", "echo", "hi") == "hi"
    docker("update", "--pids-limit", "50", "nest")
    assert docker("exec", "nest", "cat", "/sys/fs/cgroup/pids.max") == "50"
    docker("pause", "nest")
    docker("unpause", "nest")
    docker("rm", "-f", "nest")
    assert groups_below(slice_of(engine)) == []
