"""kill -9 of the daemon between recording an update and writing its control file."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sampan.syscalls.mount import MS_BIND, mount, umount2
from tests.conftest import LoadedSampand
from tests.support.containers import call, eventually, run
from tests.support.engines import Sampand
from tests.support.holdings import groups, rows

pytestmark = pytest.mark.root
FILE = "cgroup.max.descendants"
"""A limit that exists on every cgroup v2 host, with or without controllers."""


@pytest.fixture
def engine(loaded_sampand: LoadedSampand) -> Iterator[Sampand]:
    with loaded_sampand() as engine:
        yield engine
        engine.remove_containers()


@contextmanager
def blocked(file: Path, fifo: Path) -> Iterator[None]:
    """Opening `file` blocks: it is covered by a pipe that nobody reads."""
    os.mkfifo(fifo)
    mount(str(fifo), file, None, MS_BIND)
    try:
        yield
    finally:
        umount2(file)


def test_an_update_that_is_recorded_is_done_by_the_next_daemon(engine: Sampand, tmp_path: Path) -> None:
    id = run(engine, "web", host={"Unified": {FILE: "7"}})
    if not groups(engine):
        pytest.skip("this host has no cgroup v2")
    file = groups(engine)[0] / id / FILE
    assert file.read_text() == "7\n"

    def update() -> None:
        with suppress(OSError):  # the daemon is killed before it answers
            call(engine, "POST", "/containers/web/update", {"Unified": {FILE: "3"}})

    client = threading.Thread(target=update)
    with blocked(file, tmp_path / "fifo"):
        client.start()
        assert eventually(lambda: f'"{FILE}":"3"' in rows(engine, "containers")[0].replace(" ", ""))
        engine.kill()
        client.join()
    assert file.read_text() == "7\n"
    engine.start()
    assert engine.get("/containers/web/json")["HostConfig"]["Unified"] == {FILE: "3"}
    assert file.read_text() == "3\n"
