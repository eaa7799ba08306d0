"""The processors and memory nodes a container may use, where the kernel has cpusets (User Mode Linux has none)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conftest import LoadedSampand
from tests.support.clients import Client
from tests.support.engines import Sampand
from tests.vm.conftest import CGROUPS
from tests.vm.test_unified import IMAGE, cgroup_of, state_of

HERE = (CGROUPS / "cpuset.cpus.effective").read_text().strip() if (CGROUPS / "cpuset.cpus.effective").exists() else ""
pytestmark = pytest.mark.skipif(not HERE, reason="this kernel has no cpuset controller")


@pytest.fixture(scope="module")
def shared_engine(loaded_sampand: LoadedSampand) -> Iterator[Sampand]:
    with loaded_sampand() as engine:
        yield engine


def cpuset_of(engine: Sampand, name: str) -> tuple[str, str]:
    group = cgroup_of(state_of(engine, name)["Pid"])
    cpus, mems = ((group / f"cpuset.{kind}.effective").read_text().strip() for kind in ("cpus", "mems"))
    return cpus, mems


def test_a_container_has_the_processors_and_nodes_it_was_given(engine: Sampand, docker: Client) -> None:
    docker("run", "-d", "--name", "box", "--cpuset-cpus", "0", "--cpuset-mems", "0", IMAGE, "sleep", "600")
    assert cpuset_of(engine, "box") == ("0", "0")
    assert docker("exec", "box", "nproc") == "1"


def test_an_update_changes_them_at_once(engine: Sampand, docker: Client) -> None:
    docker("run", "-d", "--name", "box", "--cpuset-cpus", "0", IMAGE, "sleep", "600")
    docker("update", "--cpuset-cpus", HERE, "box")
    assert cpuset_of(engine, "box")[0] == HERE
    assert docker("exec", "box", "nproc") == str(os.cpu_count())


def test_info_and_inspect_tell_of_them(engine: Sampand, docker: Client) -> None:
    assert engine.get("/info")["CPUSet"]
    docker("create", "--name", "box", "--cpuset-cpus", "0", IMAGE, "true")
    assert docker("inspect", "--format", "{{.HostConfig.CpusetCpus}}", "box") == "0"


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        (("--cpuset-cpus", "999"), f"Requested CPUs are not available - requested 999, available: {HERE}"),
        (("--cpuset-mems", "999"), "Requested memory nodes are not available - requested 999, available: 0"),
    ],
)
def test_what_is_not_there_is_refused_in_dockers_words(docker: Client, flag: tuple[str, str], told: str) -> None:
    refused = docker.run("create", *flag, IMAGE, "true")
    assert refused.returncode == 1
    assert told in refused.stderr
