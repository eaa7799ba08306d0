"""Many containers created and removed concurrently under a daemon that is killed repeatedly: none left, none lost.

`tests/integration/test_cgroups_churn.py` does the same with a thousand bare cgroups.
"""

from __future__ import annotations

import http.client
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import LoadedSampand
from tests.support.containers import call, eventually, run
from tests.support.engines import Sampand
from tests.support.holdings import difference, holdings
from tests.vm.test_unified import PATIENCE_S, groups_below, slice_of

AT_ONCE = 16
LIVES, MANY_LIVES = 48, 250
"""By default, and with --large. In a guest kernel a life takes three seconds, and starting a daemon ten."""
BATCH = 3
"""How many containers each client task handles."""
ANSWERS, ANSWERS_OF_A_LIFE = 48, 3
"""A daemon is killed at one of its first 48 answers; a container's life has three."""
LIMITS = {"Memory": 64 << 20, "PidsLimit": 50, "NetworkMode": "none"}


@pytest.fixture
def engine(loaded_sampand: LoadedSampand) -> Iterator[Sampand]:
    with loaded_sampand() as engine:
        yield engine


class Ledger:
    """The last known state of each container, according to the daemons' answers."""

    def __init__(self, engine: Sampand, names: list[str]) -> None:
        self._engine = engine
        self.last = dict.fromkeys(names, "none")

    def left(self) -> list[str]:
        return [name for name, word in self.last.items() if word != "removed"]

    def check(self) -> None:
        """What was created exists and runs within its limits; what was half created or half removed may not exist."""
        listed = {one["Names"][0][1:]: one for one in self._engine.get("/containers/json?all=1")}
        for name, word in self.last.items():
            if word in ("created", "starting", "running"):
                assert name in listed, f"{name} is lost: {word}"
            elif word in ("none", "removed"):
                assert name not in listed, f"{name} is left: {word}"
            if word == "running":
                self._assert_runs(listed[name]["Id"])
            if word in ("creating", "removing"):
                self.last[name] = "created" if name in listed else {"creating": "none", "removing": "removed"}[word]
        running = sorted(one["Id"] for one in listed.values() if one["State"] == "running")
        assert eventually(lambda: groups_below(slice_of(self._engine)) == running, PATIENCE_S)

    def _assert_runs(self, id: str) -> None:
        assert self._engine.get(f"/containers/{id}/json")["State"]["Running"]
        group = slice_of(self._engine) / id
        assert (group / "cgroup.procs").read_text().split()
        assert [(group / file).read_text() for file in ("memory.max", "pids.max")] == [f"{64 << 20}\n", "50\n"]


class Clients:
    """Sixteen clients that advance the containers until the daemon is killed at answer number `fatal`."""

    def __init__(self, engine: Sampand, ledger: Ledger, fatal: int) -> None:
        self._engine, self._ledger, self._left = engine, ledger, fatal
        self._lock = threading.Lock()
        self.killed = threading.Event()

    def run(self) -> None:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            left = self._ledger.left()
            batches = [left[begin : begin + BATCH] for begin in range(0, len(left), BATCH)]
            for done in [threads.submit(self._live, batch) for batch in batches]:
                done.result()

    def _live(self, names: list[str]) -> None:
        try:
            for name in names:
                self._begin(name)
            for name in names:
                self._step(name, "removing", "removed", "DELETE", f"/containers/{name}?force=1")
        except (OSError, http.client.HTTPException):  # the daemon died before answering
            assert self.killed.wait(PATIENCE_S)

    def _begin(self, name: str) -> None:
        if self._ledger.last[name] == "none":
            self._step(name, "creating", "created", "POST", f"/containers/create?name={name}")
        if self._ledger.last[name] != "running":
            self._step(name, "starting", "running", "POST", f"/containers/{name}/start")

    def _step(self, name: str, doing: str, done: str, method: str, path: str) -> None:
        if self.killed.is_set():
            raise ConnectionError
        self._ledger.last[name] = doing
        body = (
            {"Image": "busybox:test", "Cmd": ["sleep", "1000"], "HostConfig": LIMITS} if doing == "creating" else None
        )
        status, answer = call(self._engine, method, path, body)
        assert status in (201, 204, 304), (path, answer)
        with self._lock:
            self._ledger.last[name] = done
            self._left -= 1
            if self._left == 0:
                self.killed.set()
                self._engine.kill()


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_lives_under_a_daemon_that_dies_again_and_again(engine: Sampand, pytestconfig: pytest.Config) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice, deaths = random.Random(seed), 0
    run(engine, "first", host=LIMITS)
    call(engine, "DELETE", "/containers/first?force=1")
    before = holdings(engine)
    lives = MANY_LIVES if pytestconfig.getoption("--large") else LIVES
    ledger = Ledger(engine, [f"life{number}" for number in range(lives)])
    while ledger.left():
        clients = Clients(engine, ledger, fatal=1 + dice.randrange(ANSWERS))
        clients.run()
        if clients.killed.is_set():
            deaths += 1
            engine.start()
        ledger.check()
    assert deaths >= lives * ANSWERS_OF_A_LIFE // ANSWERS
    assert eventually(lambda: not difference(before, holdings(engine)), PATIENCE_S), difference(
        before, holdings(engine)
    )
