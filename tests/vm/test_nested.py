"""Engines inside a privileged container, with their own limits, as used to run the containers of a CI job."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.compat.test_lifecycle import await_log
from tests.conftest import Archives, LoadedSampand
from tests.support.clients import Client
from tests.support.containers import eventually
from tests.support.engines import Engine, Sampand, running
from tests.vm.test_unified import IMAGE, PATIENCE_S, following, groups_below, slice_of, state_of

pytestmark = pytest.mark.timeout(1200)
MIB = 1 << 20
CHECKOUT = Path(__file__).parents[2]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/bin"
NAME = "nest"
ASIDE = """\
cd /sys/fs/cgroup
mkdir aside
while read -r pid; do echo $pid >aside/cgroup.procs; done <cgroup.procs
for controller in $(cat cgroup.controllers); do echo +$controller >cgroup.subtree_control; done
exec "$@"
"""
"""What Docker's `dind` image does first: a cgroup with processes can't delegate controllers."""


def programs() -> list[Path]:
    """The directories of this machine that hold an engine's programs, without those below another one."""
    wanted = {Path("/usr"), Path("/lib"), Path("/lib64"), Path("/etc/alternatives"), CHECKOUT}
    wanted |= {Path(sys.prefix), Path(sys.base_prefix)}
    there = {path for path in wanted if path.is_dir()}
    return sorted(path for path in there if not there.intersection(path.parents))


def inside(outer: Engine, root: Path, words: Sequence[str]) -> list[str]:
    """The command that runs `words` in a privileged container of `outer`, with `root` bound at the same path."""
    binds = [f"{root}:{root}", *(f"{path}:{path}:ro" for path in programs())]
    flags = [
        *("--rm", "--name", NAME, "--privileged", "--cgroupns", "private", "--memory", "1g", "--tmpfs", "/run"),
        *("-e", "NOTIFY_SOCKET", "-e", f"PATH={PATH}"),
        *(word for bind in binds for word in ("-v", bind)),
    ]
    return Client("docker", outer).command("run", *flags, IMAGE, *words)


class NestedSampand(Sampand):
    """PID 1 of its container: sampand moves itself out of the root cgroup."""

    def __init__(self, root: Path, outer: Engine) -> None:
        super().__init__(root)
        self.exec_root = Path("/run/sampan")
        self.outer = outer

    def command(self) -> list[str]:
        return inside(self.outer, self.root, super().command())


class NestedDockerd(Engine):
    name = "dockerd"

    def __init__(self, root: Path, outer: Engine) -> None:
        super().__init__(root)
        self.exec_root = Path("/run/docker")
        self.pid_file = Path("/run/docker.pid")  # if it outlived the container, its pid would be PID 1's again
        self.outer = outer

    def command(self) -> list[str]:
        return inside(self.outer, self.root, ["sh", "-c", ASIDE, "sh", "dockerd", *self.common_flags()])


@pytest.fixture(scope="module")
def outer(loaded_sampand: LoadedSampand) -> Iterator[Sampand]:
    with loaded_sampand() as engine:
        yield engine


@pytest.fixture(
    scope="module",
    params=[NestedSampand, pytest.param(NestedDockerd, marks=pytest.mark.slow)],
    ids=lambda kind: kind.name,
)
def shared_engine(
    request: pytest.FixtureRequest, outer: Sampand, session_dir: Path, leak_marks: list[str], archives: Archives
) -> Iterator[Engine]:
    """The inner engine."""
    if shutil.which(request.param.name) is None and request.param is NestedDockerd:
        pytest.skip("dockerd is not installed")
    engine: Engine = request.param(Path(tempfile.mkdtemp(prefix="n", dir=session_dir)), outer)
    leak_marks.extend(engine.marks)
    with running(engine):
        Client("docker", engine)("load", "--input", str(archives.busybox))
        yield engine
    assert outer.get("/containers/json?all=1") == []
    assert groups_below(slice_of(outer)) == []


def nest_of(outer: Sampand) -> Path:
    """The cgroup of the inner engine and everything it runs."""
    return slice_of(outer) / str(outer.get(f"/containers/{NAME}/json")["Id"])


def test_limits_inside_are_enforced_within_the_container_around(
    outer: Sampand, engine: Engine, docker: Client
) -> None:
    info = engine.get("/info")
    assert all(info[name] for name in ("MemoryLimit", "SwapLimit", "CpuCfsQuota", "CPUShares", "PidsLimit"))
    limits = ("-m", "16m", "--memory-swap", "16m", "--cpus", "0.5", "--pids-limit", "50")
    seen = "cd /sys/fs/cgroup; cat /proc/self/cgroup memory.max cpu.max pids.max; sleep 600"
    docker("run", "-d", "--name", "box", *limits, IMAGE, "sh", "-c", seen)
    await_log(docker, "box", "50")
    assert docker("logs", "box").split() == ["0::/", str(16 * MIB), "50000", "100000", "50"]
    found = [path.parent for path in nest_of(outer).rglob("pids.max") if path.read_text() == "50\n"]
    id = engine.get("/containers/box/json")["Id"]
    assert [(group.name, (group / "memory.max").read_text()) for group in found] == [(id, f"{16 * MIB}\n")]
    docker("update", "--pids-limit", "60", "box")
    assert (found[0] / "pids.max").read_text() == "60\n"


def test_an_oom_kill_inside_is_told_by_both(outer: Sampand, engine: Engine, docker: Client) -> None:
    hungry = ("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
    with following(outer, container=NAME, event="oom") as told:
        docker("run", "-d", "--name", "hungry", "-m", "16m", "--memory-swap", "16m", IMAGE, *hungry)
        assert docker("wait", "hungry", timeout_s=PATIENCE_S) == "137"
        assert next(told)["Action"] == "oom"
    if isinstance(engine, Sampand):  # Docker 20.10 may be notified too late
        assert state_of(engine, "hungry")["OOMKilled"] is True
    assert state_of(outer, NAME)["Running"] is True


def test_ports_execs_and_pauses_work_inside(outer: Sampand, docker: Client) -> None:
    docker("run", "-d", "--name", "web", "-p", "8080:80", IMAGE, "httpd", "-f", "-p", "80", "-h", "/www")
    docker("pause", "web")
    docker("unpause", "web")
    fetch = ("/bin/wget", "-q", "-O", "-")
    assert docker("exec", "web", *fetch, "http://127.0.0.1") == "three planks"
    assert Client("docker", outer)("exec", NAME, *fetch, "http://127.0.0.1:8080") == "three planks"


def test_a_forced_removal_takes_the_inner_engine_and_its_containers_along(
    outer: Sampand, engine: Engine, docker: Client
) -> None:
    docker("run", "-d", "--name", "box", "--restart", "always", IMAGE, "sleep", "600")
    assert Client("docker", outer)("rm", "-f", NAME) == NAME
    assert groups_below(slice_of(outer)) == []
    engine.stop()
    engine.start()
    assert eventually(lambda: state_of(engine, "box")["Running"] is True, PATIENCE_S)
