"""Tests for hosts with only cgroup v2 and with its controllers: most machines, and a guest kernel."""

import shutil
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from threading import Timer

import pytest

from tests.conftest import SESSION_MARK, LoadedSampand
from tests.support import standstill
from tests.support.clients import Client
from tests.support.engines import Sampand

CGROUPS = Path("/sys/fs/cgroup")
NEEDED = {"cpu", "memory", "pids"}
TELL_BEFORE_S = 20.0
BEGAN = time.monotonic()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    reason = _why_not()
    for item in items:
        if here in item.path.parents:
            item.add_marker("root")
            item.add_marker("vm")
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Shortly before a test times out, print a report of what hangs; it is shown with the failure."""
    timer = Timer(float(item.config.getini("timeout")) - TELL_BEFORE_S, _tell)
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    within_s: float = item.config.getoption("--within")
    if time.monotonic() - BEGAN > within_s:
        pytest.skip(f"the {within_s:g} s that this run may take are over: this machine's guest is too slow for all")


def _tell() -> None:
    print(standstill.report(SESSION_MARK), file=sys.stderr)


def _why_not() -> str | None:
    file = CGROUPS / "cgroup.controllers"
    if not file.exists():
        return f"cgroup v2 is not what is mounted on {CGROUPS}: the host has v1, or both"
    if missing := NEEDED - set(file.read_text().split()):
        return f"cgroup v2 has no controllers {', '.join(sorted(missing))} here"
    return None


@pytest.fixture(scope="module", params=["crun", "runc"])
def shared_engine(request: pytest.FixtureRequest, loaded_sampand: LoadedSampand) -> Iterator[Sampand]:
    """One engine for each installed OCI runtime."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    with loaded_sampand("--default-runtime", request.param) as engine:
        yield engine


@pytest.fixture
def engine(shared_engine: Sampand) -> Iterator[Sampand]:
    """The module's engine; containers that a test leaves are removed after it."""
    yield shared_engine
    shared_engine.remove_containers()


@pytest.fixture
def docker(engine: Sampand) -> Client:
    return Client("docker", engine)
