"""--cgroup-parent: containers grouped in a cgroup, which the user may have created."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.engines import Engine, Sampand

IMAGE = "busybox:test"
MOUNTS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")


@pytest.fixture
def engine(start_sampand: Callable[..., Sampand], archives: Archives) -> Sampand:
    engine = start_sampand()
    Client("docker", engine)("load", "--input", str(archives.busybox))
    return engine


@pytest.fixture
def docker(engine: Sampand) -> Client:
    return Client("docker", engine)


@pytest.fixture
def slice_(engine: Sampand) -> Path:
    mount = next((Path(one) for one in MOUNTS if os.path.exists(f"{one}/cgroup.controllers")), None)
    if mount is None:
        pytest.skip("this host has no cgroup v2")
    return mount / f"sampan-{engine.instance}"


def cgroup_of(engine: Engine, name: str) -> str:
    pid = engine.get(f"/containers/{name}/json")["State"]["Pid"]
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line for line in lines if line.startswith("0::")).removeprefix("0::")


def test_a_container_lies_in_its_parent_over_the_daemons_death_and_the_parent_goes_with_the_last(
    docker: Client, engine: Sampand, slice_: Path
) -> None:
    batch = ("run", "-d", "--cgroup-parent", "/batch/night")
    ids = {name: docker(*batch, "--name", name, IMAGE, "sleep", "600") for name in ("one", "two")}
    for name, id in ids.items():
        assert cgroup_of(engine, name) == f"/{slice_.name}/batch/night/{id}"
    assert docker("inspect", "-f", "{{.HostConfig.CgroupParent}}", "one") == "/batch/night"
    engine.kill()
    engine.start()
    docker("pause", "one")
    assert (slice_ / "batch/night" / ids["one"] / "cgroup.freeze").read_text() == "1\n"
    docker("unpause", "one")
    docker("update", "--pids-limit", "50", "two")
    assert docker("stats", "--no-stream", "--format", "{{.Name}}", "two") == "two"
    docker("rm", "-f", "one")
    assert [path.name for path in (slice_ / "batch/night").iterdir() if path.is_dir()] == [ids["two"]]
    docker("rm", "-f", "two")
    assert not (slice_ / "batch").exists()


def test_a_container_that_ends_while_no_daemon_runs_leaves_no_parent(
    docker: Client, engine: Sampand, slice_: Path
) -> None:
    docker("run", "-d", "--name", "web", "--cgroup-parent", "batch", IMAGE, "sleep", "600")
    pid = engine.get("/containers/web/json")["State"]["Pid"]
    engine.kill()
    init = os.pidfd_open(pid)
    signal.pidfd_send_signal(init, signal.SIGKILL)
    select.select([init], [], [])
    os.close(init)
    engine.start()
    assert docker("wait", "web") == "137"
    docker("rm", "web")
    assert not (slice_ / "batch").exists()


def test_the_users_own_parent_stays(docker: Client, slice_: Path) -> None:
    mine = slice_ / "mine"
    mine.mkdir()
    try:
        docker("run", "--rm", "--cgroup-parent", "/mine", IMAGE, "true")
        assert mine.is_dir()
    finally:
        mine.rmdir()


@pytest.mark.parametrize(
    ("parent", "words"),
    [
        ("/../../etc", 'invalid cgroup-parent: "/../../etc"'),
        ("machine.slice", "systemd slice received as cgroup parent when using cgroupfs"),
        ("/a/memory.max", "'memory.max' can't be the name of a cgroup parent"),
    ],
)
def test_what_can_be_no_parent_is_refused(docker: Client, parent: str, words: str) -> None:
    done = docker.run("create", "--cgroup-parent", parent, IMAGE)
    assert (done.returncode, done.stderr.strip()) == (1, f"Error response from daemon: {words}")
