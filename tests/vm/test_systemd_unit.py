"""A daemon that systemd starts in a subgroup of a delegated cgroup (`Delegate=yes`, `DelegateSubgroup=`).

Here the test imitates systemd 254, for machines with an older version or none; see `test_units.py`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.engines import Sampand, running
from tests.vm.conftest import CGROUPS
from tests.vm.test_unified import IMAGE, cgroup_of, groups_below, state_of

LEAF = "sampan.daemon"


class UnitSampand(Sampand):
    """Started as by systemd: each start puts the process into the unit's subgroup."""

    def __init__(self, root: Path, unit: Path) -> None:
        super().__init__(root)
        self.unit = unit

    def command(self) -> list[str]:
        there = self.unit / LEAF
        return [
            "sh",
            "-c",
            f'mkdir -p {there} && echo 0 >{there}/cgroup.procs && exec "$@"',
            "sh",
            *super().command(),
        ]


@pytest.fixture
def unit() -> Iterator[Path]:
    """The cgroup that systemd creates for a service, with the delegation xattr."""
    path = CGROUPS / f"sampan-test-{os.getpid()}.slice/sampand.service"
    path.mkdir(parents=True)
    controllers = [f"+{word}" for word in (CGROUPS / "cgroup.controllers").read_text().split()]
    for above in (CGROUPS, path.parent):
        (above / "cgroup.subtree_control").write_text(" ".join(controllers))
    os.setxattr(path, "trusted.delegate", b"1")
    yield path
    (path / LEAF).rmdir()
    path.rmdir()
    path.parent.rmdir()


@pytest.fixture
def engine(unit: Path, session_dir: Path, leak_marks: list[str], archives: Archives) -> Iterator[UnitSampand]:
    engine = UnitSampand(Path(tempfile.mkdtemp(prefix="v", dir=session_dir)), unit)
    leak_marks.extend(engine.marks)
    with running(engine):
        Client("docker", engine)("load", "--input", str(archives.busybox))
        yield engine


def test_containers_lie_in_the_unit_and_the_daemon_beside_them(engine: UnitSampand) -> None:
    docker, above = Client("docker", engine), (engine.unit.parent / "cgroup.subtree_control").read_text()
    id = docker("run", "-d", "--name", "web", "-m", "64m", "--cgroup-parent", "a", IMAGE, "sleep", "600")
    slice_ = engine.unit / f"sampan-{engine.instance}"
    pid = state_of(engine, "web")["Pid"]
    assert cgroup_of(pid) == slice_ / "a" / id
    assert (cgroup_of(pid) / "memory.max").read_text() == f"{64 << 20}\n"
    assert engine.process is not None
    assert cgroup_of(engine.process.pid) == engine.unit / LEAF
    assert (engine.unit / "cgroup.procs").read_text() == ""
    assert (engine.unit.parent / "cgroup.subtree_control").read_text() == above
    engine.kill()
    engine.start()
    assert docker("exec", "web", "cat", "/proc/self/cgroup") == "0::/"
    docker("update", "--pids-limit", "50", "web")
    assert (slice_ / "a" / id / "pids.max").read_text() == "50\n"
    docker("rm", "-f", "web")
    engine.stop()
    assert groups_below(engine.unit) == [LEAF]
    engine.start()
