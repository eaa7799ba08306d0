"""Container life cycles on networks, the daemon killed in a third of them: nothing is leaked."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.containers import at_rest, call, create, eventually
from tests.support.engines import Sampand

LIVES, MANY_LIVES = 12, 501
"""By default, and with --large. In a third of them the daemon is killed and restarted."""

KILLED_EVERY = 3
WARM_UP = 3
"""Life cycles before the baseline; as at the end, the daemon last restarted in the first of three."""


class Traces:
    """What networks leave in the kernel and in the daemon."""

    def __init__(self, engine: Sampand) -> None:
        self.engine = engine

    def now(self) -> dict[str, int]:
        return {
            "links": self._links(),
            "elements": self._elements(),
            "mounts": Path("/proc/self/mountinfo").read_text().count(str(self.engine.root)),
            **self._files(),
            **self._rows(),
        }

    def grown_since(self, before: dict[str, int]) -> dict[str, str]:
        """The counts that have grown, as `before -> now`."""
        return {
            what: f"{before.get(what, 0)} -> {count}"
            for what, count in self.now().items()
            if count > before.get(what, 0)
        }

    def _links(self) -> int:
        links = json.loads(subprocess.run(["ip", "-j", "link"], check=True, capture_output=True).stdout)
        mine = f"sampan {self.engine.instance} "
        return sum(link.get("ifalias", "").startswith(mine) for link in links)

    def _elements(self) -> int:
        table = ["nft", "-j", "list", "table", "inet", f"sampan_{self.engine.instance}"]
        items = json.loads(subprocess.run(table, check=True, capture_output=True).stdout)["nftables"]
        return sum(len(body.get("elem", [])) for item in items for body in item.values() if isinstance(body, dict))

    def _files(self) -> dict[str, int]:
        """The daemon's open files, by path: sockets of name servers and held ports, sandboxes, everything else."""
        assert self.engine.process is not None
        files = Path(f"/proc/{self.engine.process.pid}/fd").iterdir()
        return Counter(re.sub(r":\[\d+\]$", "", _target(file)) for file in files)

    def _rows(self) -> dict[str, int]:
        uri = f"file:{self.engine.data_root / 'state.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as db:
            tables = ("endpoints", "addresses", "networks")
            return {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


def _target(file: Path) -> str:
    try:
        return str(file.readlink())
    except FileNotFoundError:
        return ""


def live(engine: Sampand, number: int) -> None:
    """Run a container on one network, on two, then on the other alone, and restart it; in every third life cycle
    the daemon is killed at one of these steps."""
    host = {"NetworkMode": "one", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}], "53/udp": [{}]}}
    id = create(engine, f"life{number}", host=host)
    steps: list[tuple[str, str, Any]] = [
        ("POST", f"/containers/{id}/start", None),
        ("POST", "/networks/two/connect", {"Container": id, "EndpointConfig": {"GwPriority": number % 2}}),
        ("POST", "/networks/one/disconnect", {"Container": id}),
        ("POST", f"/containers/{id}/stop?t=0", None),
        ("POST", f"/containers/{id}/start", None),
    ]
    for at, step in enumerate(steps):
        status, answer = call(engine, *step)
        assert status < 300, answer
        if number % KILLED_EVERY == 0 and at == number // KILLED_EVERY % len(steps):
            engine.kill()
            engine.start()
    status, answer = call(engine, "DELETE", f"/containers/{id}?force=1")
    assert status == 204, answer


@pytest.mark.timeout(3600)
def test_lives_on_networks_leave_nothing(
    start_sampand: Callable[..., Sampand], archives: Archives, pytestconfig: pytest.Config
) -> None:
    engine = start_sampand()
    with closing(Client("docker", engine)) as docker:
        docker("load", "--input", str(archives.busybox))
        docker("network", "create", "one")
        docker("network", "create", "--ipv6", "two")
    for number in range(WARM_UP):
        live(engine, number)
    traces = Traces(engine)
    before = at_rest(traces.now)
    lives = MANY_LIVES if pytestconfig.getoption("--large") else LIVES
    for number in range(WARM_UP, WARM_UP + lives):
        live(engine, number)
    assert eventually(lambda: not traces.grown_since(before), 30), traces.grown_since(before)
