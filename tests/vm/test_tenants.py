"""The resource driver `tenants`: the usage of a tenant's containers counts together."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.engines import Sampand, running
from tests.vm.test_unified import IMAGE, PATIENCE_S, groups_below, slice_of, state_of


@pytest.fixture(scope="module")
def engine(session_dir: Path, leak_marks: list[str], archives: Archives) -> Iterator[Sampand]:
    engine = Sampand(Path(tempfile.mkdtemp(prefix="v", dir=session_dir)), ["--resource-driver", "tenants"])
    leak_marks.extend(engine.marks)
    directory = engine.data_root / "drivers/tenants"
    directory.mkdir(parents=True)
    (directory / "tenants.toml").write_text('[tenants.a]\n"memory.max" = "24M"\n"memory.swap.max" = "0"\n')
    with running(engine):
        Client("docker", engine)("load", "--input", str(archives.busybox))
        yield engine


@pytest.fixture
def docker(engine: Sampand) -> Client:
    return Client("docker", engine)


def test_two_containers_within_their_own_limits_share_a_budget(docker: Client, engine: Sampand) -> None:
    hungry = ("dd", "if=/dev/zero", "of=/dev/null", "bs=48M", "count=1")
    docker("run", "-d", "--name", "idle", "--label", "tenant=a", IMAGE, "sleep", "600")
    docker("run", "-d", "--name", "hungry", "--label", "tenant=a", "-m", "64m", IMAGE, *hungry)
    assert docker("wait", "hungry", timeout_s=PATIENCE_S) == "137"
    assert state_of(engine, "hungry")["OOMKilled"] is True
    assert docker("run", "--rm", "-m", "64m", IMAGE, *hungry) == ""
    assert groups_below(slice_of(engine)) == ["tenant-a"]
    docker("rm", "-f", "idle", "hungry")
    assert groups_below(slice_of(engine)) == []


def test_a_tenant_without_a_budget_is_refused_and_leaves_nothing(docker: Client, engine: Sampand) -> None:
    done = docker.run("run", "--rm", "--label", "tenant=b", IMAGE, "true")
    assert "tenant 'b' has no budget in tenants.toml" in done.stderr
    assert engine.get("/containers/json?all=1") == []
