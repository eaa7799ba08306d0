"""The engine under load: slots, queue, cancellation, and blocking handlers that delay no one else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sampan.drivers import Mount
from sampan.engine import Limits
from sampan.testing.memory_storage import MemoryStorage
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import IMAGE, InProcess, wait_until


class StuckStorage(MemoryStorage):
    """`prepare` of a container's snapshot blocks until the test releases it."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self.go_on = threading.Event()

    def prepare(
        self, key: str, parent: str | None, *, labels: dict[str, str] | None = None, size_bytes: int | None = None
    ) -> list[Mount]:
        if labels:
            self.go_on.wait(30)
        return super().prepare(key, parent, labels=labels, size_bytes=size_bytes)


def jobs(house: InProcess, state: str) -> list[dict[str, Any]]:
    return [job for job in house.call("GET", "/jobs").body if job["State"] == state]


def wait_for_running(house: InProcess, count: int) -> None:
    wait_until(lambda: len(jobs(house, "running")) == count)


@contextmanager
def full(house: InProcess) -> Iterator[str]:
    """One job holds the only slot, another the only place in the queue; yields the id of the second."""
    assert isinstance(house.storage, StuckStorage)
    house.storage.go_on.set()
    house.launch(name="deaf")
    house.storage.go_on.clear()
    with ThreadPoolExecutor(2) as clients:
        clients.submit(house.create, name="stuck")
        wait_until(lambda: [job["Name"] for job in jobs(house, "running")] == ["container_create"])
        clients.submit(house.call, "POST", "/volumes/create", {"Name": "late"})
        wait_until(lambda: len(jobs(house, "queued")) == 1)
        try:
            yield str(jobs(house, "queued")[0]["Id"])
        finally:
            house.storage.go_on.set()


@pytest.fixture
def narrow(make_house: MakeHouse) -> InProcess:
    """A daemon with one slot and one place in the queue."""
    return make_house(StuckStorage, limits=Limits(running=1, queued=1))


def test_a_full_queue_answers_at_once_and_says_when_to_come_again(narrow: InProcess) -> None:
    with full(narrow):
        answer = narrow.call("POST", "/volumes/create", {"Name": "refused"})
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.message == "the engine is busy: 2 jobs are running or queued"
    wait_until(lambda: not jobs(narrow, "queued"))
    assert narrow.call("GET", "/volumes/late").status == 200


def test_a_full_queue_keeps_nobody_from_looking_waiting_and_killing(narrow: InProcess) -> None:
    with full(narrow), narrow.opened("POST", "/containers/deaf/wait") as waiting:
        assert narrow.call("GET", "/containers/json").status == 200
        assert narrow.call("GET", "/info").status == 200
        assert narrow.call("POST", "/containers/deaf/kill").status == 204
        assert waiting.read()


def test_slow_stops_keep_nobody_from_working(narrow: InProcess) -> None:
    assert isinstance(narrow.storage, StuckStorage)
    narrow.storage.go_on.set()
    deaf = [narrow.launch(name=f"deaf{number}") for number in range(4)]
    with ThreadPoolExecutor(5) as clients:
        for count, id in enumerate((*deaf, deaf[0]), start=1):  # all at once would overflow the queue
            clients.submit(narrow.call, "POST", f"/containers/{id}/stop?signal=WINCH&t=-1")
            wait_for_running(narrow, count)
        assert narrow.call("POST", "/volumes/create", {"Name": "prompt"}).status == 201
        narrow.launch(name="another")
        for id in deaf:
            narrow.call("POST", f"/containers/{id}/kill")


def test_a_queued_job_can_be_cancelled_and_a_running_change_cannot(narrow: InProcess) -> None:
    with full(narrow) as queued:
        [running] = jobs(narrow, "running")
        answer = narrow.call("DELETE", f"/jobs/{running['Id']}")
        assert answer.status == 409
        assert "is changing something and can't be cancelled" in answer.message
        assert narrow.call("DELETE", f"/jobs/{queued}").status == 204
        wait_until(lambda: narrow.call("GET", f"/jobs/{queued}").body["State"] == "cancelled")
    assert narrow.call("GET", "/volumes/late").status == 404


def test_a_stream_can_be_cancelled(house: InProcess) -> None:
    with house.opened("GET", "/events") as following:
        job = following.headers["Sampan-Job"]
        assert house.call("DELETE", f"/jobs/{job}").status == 204
        following.read()
    assert house.call("GET", f"/jobs/{job}").body["State"] == "cancelled"
    assert house.call("DELETE", f"/jobs/{job}").status == 404


def test_a_job_tells_who_asked_and_how_it_went(house: InProcess) -> None:
    answer = house.call("POST", "/containers/nosuch/start")
    job = house.call("GET", f"/jobs/{answer.headers['sampan-job']}").body
    assert (job["Name"], job["State"], job["Error"]) == ("container_start", "failed", "No such container: nosuch")
    assert job["Caller"]["Role"] == "full"
    assert job["Caller"]["Pid"] > 0


def test_a_handler_that_blocks_is_in_nobodys_way(make_house: MakeHouse) -> None:
    house = make_house(StuckStorage)
    assert isinstance(house.storage, StuckStorage)
    with ThreadPoolExecutor(16) as clients:
        creating = [clients.submit(house.create, "true") for _ in range(16)]  # more than there are worker threads
        wait_until(lambda: len(jobs(house, "running")) == 16)
        for path in ("/_ping", "/containers/json", "/images/json", "/version"):
            assert house.call("GET", path).status == 200
        house.storage.go_on.set()
        assert len({made.result() for made in creating}) == 16


def test_a_volume_is_not_removed_from_under_a_container_that_is_being_made(make_house: MakeHouse) -> None:
    house = make_house(StuckStorage)
    assert isinstance(house.storage, StuckStorage)
    house.call("POST", "/volumes/create", {"Name": "cargo"})
    with ThreadPoolExecutor(1) as clients:
        creating = clients.submit(house.create, HostConfig={"Binds": ["cargo:/cargo"]})
        wait_until(lambda: [job["Name"] for job in jobs(house, "running")] == ["container_create"])
        assert house.call("DELETE", "/volumes/cargo").status == 409
        house.storage.go_on.set()
        assert house.call("POST", f"/containers/{creating.result()}/start").status == 204


@pytest.mark.parametrize("force", [False, True])
def test_an_image_is_not_removed_from_under_a_container_that_is_being_made(
    make_house: MakeHouse, force: bool
) -> None:
    house = make_house(StuckStorage)
    assert isinstance(house.storage, StuckStorage)
    with ThreadPoolExecutor(1) as clients:
        creating = clients.submit(house.create)
        wait_until(lambda: any(image["Containers"] for image in house.call("GET", "/images/json").body))
        removed = house.call("DELETE", f"/images/{IMAGE}?force={int(force)}")
        assert removed.status == (200 if force else 409)
        assert force or "is using its referenced image" in removed.message
        house.storage.go_on.set()
        assert house.call("POST", f"/containers/{creating.result()}/start").status == 204
        assert house.call("DELETE", f"/containers/{creating.result()}?force=1").status == 204
    assert house.call("DELETE", f"/images/{IMAGE}").status == (404 if force else 200)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/build"),
        ("GET", "/swarm"),
        ("POST", "/session"),
    ],
)
def test_what_is_not_served_says_so(narrow: InProcess, method: str, path: str) -> None:
    answer = narrow.call(method, path)
    assert answer.status == 501
    assert answer.message.startswith(f"sampan does not serve {method} ")
