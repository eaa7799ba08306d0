"""restart, pause, unpause, rename, and several of them at once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from sampan.errdefs import Unsupported
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import InProcess, wait_until

LONG_STOP = "stop?signal=WINCH&t=-1"  # the memory runtime's processes ignore it


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house()


@pytest.fixture
def box(shared: InProcess) -> Iterator[str]:
    """A running container."""
    yield shared.launch(name="box")
    for name in ("box", "crate"):
        shared.call("DELETE", f"/containers/{name}?force=1")


@contextmanager
def events(house: InProcess, name: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """A function that returns the container's events since entry."""
    id, since = house.daemon.containers.get(name).id, now()

    def told() -> list[dict[str, Any]]:
        filters = json.dumps({"container": [id], "type": ["container"]}, separators=(",", ":"))
        with house.opened("GET", f"/events?since={since}&until={now()}&filters={quote(filters)}") as answer:
            return [json.loads(line) for line in answer]

    yield told


def now() -> str:
    return f"{time.time_ns() / 1e9:.9f}"


@contextmanager
def actions(house: InProcess, name: str) -> Iterator[Callable[[], list[str]]]:
    """Like `events`, but only their actions."""
    with events(house, name) as told:
        yield lambda: [one["Action"] for one in told()]


def test_a_paused_container_is_frozen_until_it_is_unpaused(shared: InProcess, box: str) -> None:
    with actions(shared, box) as told:
        assert shared.call("POST", "/containers/box/pause").status == 204
        assert shared.resources.is_frozen(box)
        [shown] = shared.call("GET", "/containers/json").body
        assert (shown["State"], shown["Status"]) == ("paused", "Up Less than a second (Paused)")
        assert shared.call("POST", "/containers/box/unpause").status == 204
        assert not shared.resources.is_frozen(box)
        assert shared.state("box")["Status"] == "running"
        assert told() == ["pause", "unpause"]


def test_a_host_that_cannot_freeze_says_so(shared: InProcess, box: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def freeze(id: str) -> None:
        raise Unsupported("this kernel has no cgroup.freeze")

    monkeypatch.setattr(shared.resources, "freeze", freeze)
    answer = shared.call("POST", "/containers/box/pause")
    assert (answer.status, answer.message) == (501, f"cannot pause container {box}: this kernel has no cgroup.freeze")
    assert shared.state("box")["Status"] == "running"


@pytest.mark.parametrize("thawed", [False, True])
def test_a_new_daemon_asks_the_kernel_whether_a_container_is_paused(house: InProcess, thawed: bool) -> None:
    id = house.launch(name="box")
    house.call("POST", "/containers/box/pause")
    house.stop()
    if thawed:
        house.resources.thaw(id)
    house.start()
    assert house.state("box")["Paused"] is not thawed


def test_a_container_that_was_frozen_when_the_daemon_died_is_paused(house: InProcess) -> None:
    id = house.launch(name="box")
    house.stop()
    house.resources.freeze(id)
    house.start()
    assert house.state("box")["Status"] == "paused"
    assert house.call("POST", "/containers/box/unpause").status == 204


def test_stopping_a_paused_container_lets_it_hear_the_signal(shared: InProcess, box: str) -> None:
    shared.call("POST", "/containers/box/pause")
    with actions(shared, box) as told:
        assert shared.call("POST", "/containers/box/stop").status == 204
        assert [action for action in told() if action in ("kill", "unpause", "die", "stop")][0::3] == ["kill", "stop"]
    assert shared.state("box")["ExitCode"] == 143


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/containers/box/stop"), ("POST", "/containers/box/kill"), ("DELETE", "/containers/box?force=1")],
)
def test_a_paused_container_may_end_before_it_is_thawed(
    house: InProcess, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    id = house.launch(name="box")
    assert house.call("POST", "/containers/box/pause").status == 204
    thaw = house.resources.thaw

    def thaw_late(id: str) -> None:
        wait_until(lambda: house.state("box")["Status"] == "exited")
        thaw(id)

    monkeypatch.setattr(house.resources, "thaw", thaw_late)
    assert house.call(method, path).status == 204
    wait_until(lambda: id not in house.resources.list())


def test_a_signal_that_is_not_the_stop_signal_leaves_a_container_paused(shared: InProcess) -> None:
    shared.launch(name="box", StopSignal="USR1")
    shared.call("POST", "/containers/box/pause")
    assert shared.call("POST", "/containers/box/kill?signal=WINCH").status == 204
    assert shared.state("box")["Paused"]
    assert shared.call("DELETE", "/containers/box?force=1").status == 204


def test_restart_stops_and_starts(shared: InProcess, box: str) -> None:
    before = shared.state("box")["StartedAt"]
    with actions(shared, box) as told:
        assert shared.call("POST", "/containers/box/restart").status == 204
        assert told() == ["kill", "die", "stop", "start", "restart"]
    document = shared.call("GET", "/containers/box/json").body
    assert document["State"]["Running"]
    assert document["State"]["StartedAt"] > before
    assert document["RestartCount"] == 0


def test_restart_starts_what_is_at_rest(shared: InProcess) -> None:
    shared.create(name="box")
    assert shared.call("POST", "/containers/box/restart").status == 204
    assert shared.state("box")["Running"]
    shared.call("DELETE", "/containers/box?force=1")


def test_restart_of_a_container_that_removes_itself_keeps_it(shared: InProcess) -> None:
    id = shared.launch(name="box", HostConfig={"AutoRemove": True})
    assert shared.call("POST", "/containers/box/restart?t=0").status == 204
    assert shared.state(id)["Running"]
    with shared.opened("POST", f"/containers/{id}/wait?condition=removed") as removed:
        assert shared.call("POST", "/containers/box/stop?t=0").status == 204
        assert json.loads(removed.read())["StatusCode"] == 143


def test_a_restart_that_cannot_start_says_why(shared: InProcess) -> None:
    shared.create("nosuch", name="box")
    answer = shared.call("POST", "/containers/box/restart")
    assert answer.status == 400
    assert answer.message.startswith("Cannot restart container box: failed to create task for container: ")
    assert shared.call("DELETE", "/containers/box").status == 204


def test_a_renamed_container_has_its_new_name_everywhere(shared: InProcess, box: str) -> None:
    with events(shared, box) as told:
        assert shared.call("POST", "/containers/box/rename?name=crate").status == 204
        [event] = told()
    attributes = event["Actor"]["Attributes"]
    assert (event["Action"], attributes["oldName"], attributes["name"]) == ("rename", "/box", "crate")
    assert shared.call("GET", "/containers/crate/json").body["Name"] == "/crate"
    assert shared.call("GET", "/containers/box/json").status == 404
    assert shared.ps() == ["crate"]
    [endpoint] = shared.call("GET", "/networks/bridge").body["Containers"].values()
    assert endpoint["Name"] == "crate"
    shared.call("DELETE", f"/containers/{shared.create(name='box')}")


def test_a_new_name_outlives_the_daemon(house: InProcess) -> None:
    house.launch(name="box")
    house.call("POST", "/containers/box/rename?name=crate")
    house.stop()
    house.start()
    assert house.ps() == ["crate"]
    [endpoint] = house.call("GET", "/networks/bridge").body["Containers"].values()
    assert endpoint["Name"] == "crate"


def test_a_name_that_is_taken_is_not_given_twice(shared: InProcess, box: str) -> None:
    other = shared.create(name="crate")
    answer = shared.call("POST", "/containers/box/rename?name=crate")
    assert (answer.status, answer.message) == (
        409,
        f'Error when allocating new name: Conflict. The container name "/crate" is already in use by container '
        f'"{other}". You have to remove (or rename) that container to be able to reuse that name.',
    )
    assert shared.call("GET", "/containers/box/json").body["Id"] == box


def test_a_link_is_listed_under_the_name_its_container_has_now(house: InProcess) -> None:
    house.launch(name="db")
    house.launch(name="web", HostConfig={"Links": ["db:database"]})

    def names() -> list[str]:
        [db] = [one for one in house.call("GET", "/containers/json").body if "/db" in one["Names"]]
        return sorted(db["Names"])

    assert names() == ["/db", "/web/database"]
    house.call("POST", "/containers/web/rename?name=shop")
    assert names() == ["/db", "/shop/database"]


def test_an_end_is_noted_whatever_drivers_raise(house: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers may be third-party code."""

    def broken(*_: Any) -> None:
        raise ValueError("the driver's own trouble")

    id = house.launch(name="box", HostConfig={"PortBindings": {"80/tcp": [{}]}})
    for driver, name in ((house.network, "unpublish"), (house.resources, "remove"), (house.resources, "oom_kills")):
        monkeypatch.setattr(driver, name, broken)
    assert house.call("POST", "/containers/box/kill").status == 204
    assert house.call("POST", "/containers/box/wait").body["StatusCode"] == 137
    assert house.state("box")["Status"] == "exited"
    monkeypatch.undo()
    assert house.call("DELETE", f"/containers/{id}").status == 204


def test_a_stop_that_takes_its_time_keeps_nobody_from_the_container(shared: InProcess, box: str) -> None:
    answers: list[Any] = []
    stopper = threading.Thread(target=lambda: answers.append(shared.call("POST", f"/containers/box/{LONG_STOP}")))
    with actions(shared, box) as told:
        stopper.start()
        wait_until(lambda: "kill" in told())
        assert shared.call("POST", "/containers/box/start").status == 304
        assert shared.call("POST", "/containers/box/pause").status == 204
        assert shared.call("POST", "/containers/box/unpause").status == 204
        assert shared.call("POST", "/containers/box/rename?name=crate").status == 204
        assert shared.call("DELETE", "/containers/crate?force=1").status == 204
    stopper.join()
    assert answers[0].status == 204
