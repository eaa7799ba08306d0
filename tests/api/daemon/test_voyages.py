"""2,000 random operations by several concurrent clients: every answer is allowed, and nothing is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.api.daemon.in_process import IMAGE, InProcess, wait_until
from tests.support.voyages import SHARED, Voyage

CLIENTS, STEPS = 8, 250
SHAPES: list[dict[str, Any]] = [
    {"Image": IMAGE, "Cmd": ["sleep", "infinity"]},
    {"Image": IMAGE, "Cmd": ["sh", "-c", "exit 3"], "HostConfig": {"RestartPolicy": {"Name": "always"}}},
    {"Image": IMAGE, "Cmd": ["sleep", "0.05"], "HostConfig": {"AutoRemove": True}},
    {"Image": IMAGE, "Cmd": ["nosuch"]},
    {"Image": IMAGE, "Cmd": ["true"], "Volumes": {"/data": {}}},
    {
        "Image": IMAGE,
        "Cmd": ["sleep", "infinity"],
        "Healthcheck": {"Test": ["CMD", "false"], "Interval": 10_000_000, "Retries": 1},
        "HostConfig": {"RestartPolicy": {"Name": "on-unhealthy"}},
    },
]
_REFUSED = 400  # starting a container whose command does not exist


@pytest.mark.parametrize("seed", [20261126])
def test_whatever_clients_do_answers_are_those_of_the_model(house: InProcess, seed: int) -> None:
    voyages = [Voyage(asking(house), f"client{number}", seed, SHAPES) for number in range(CLIENTS)]
    with waiters(house), ThreadPoolExecutor(CLIENTS) as threads:
        for done in [threads.submit(voyage.run, STEPS) for voyage in voyages]:
            done.result(240)
        mistakes = [mistake for voyage in voyages for mistake in voyage.mistakes]
        assert not mistakes, mistakes[:10]
        remove_all(house)
    assert_nothing_left(house)


def asking(house: InProcess) -> Any:
    def ask(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = house.call(method, path, body)
        if answer.status == _REFUSED and "nosuch" in answer.message:
            return 409, answer.body
        return answer.status, answer.body

    return ask


@contextmanager
def waiters(house: InProcess) -> Iterator[None]:
    """Keep waiting for each shared container, again and again; every wait must end."""
    ended = threading.Event()

    def wait(name: str, condition: str) -> None:
        while not ended.wait(0.01):
            assert house.call("POST", f"/containers/{name}/wait?condition={condition}").status in (200, 404)

    with ThreadPoolExecutor(len(SHARED) * 2) as threads:
        waits: list[Future[None]] = [
            threads.submit(wait, name, condition) for name in SHARED for condition in ("next-exit", "removed")
        ]
        try:
            yield
        finally:
            ended.set()
        for one in waits:
            one.result(60)


def remove_all(house: InProcess) -> None:
    """Remove all containers; one with auto-remove may be gone first."""
    for one in house.call("GET", "/containers/json?all=1").body:
        assert house.call("DELETE", f"/containers/{one['Id']}?force=1&v=1").status in (204, 404, 409)
    wait_until(lambda: house.call("GET", "/containers/json?all=1").body == [])


def assert_nothing_left(house: InProcess) -> None:
    daemon = house.daemon
    wait_until(lambda: len(house.engine.serial) == 0 and not [one for one in house.engine.jobs() if not one.ended])
    wait_until(lambda: house.runtime.list() == [] and list(house.resources.list()) == [])
    assert daemon.networks.owners() == set()
    assert daemon.containers._id_of == {}
    assert [snapshot for snapshot in house.storage.list() if snapshot.labels] == []
    for directory in ("data/containers", "exec/bundles"):
        assert list((house.root / directory).iterdir()) == []
    wait_until(lambda: {task.get_name().split()[0] for task in daemon._tasks} <= {"events"})
