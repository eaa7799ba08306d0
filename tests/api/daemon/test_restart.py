"""Restart policies, and containers that are waiting to be restarted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any

import pytest

from sampan.daemon.lifecycle import restart_policy
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import InProcess

FAIL = ("sh", "-c", "exit 3")


def policy(name: str, retries: int = 0) -> dict[str, Any]:
    return {"HostConfig": {"RestartPolicy": {"Name": name, "MaximumRetryCount": retries}}}


@contextmanager
def waiting_container(house: InProcess) -> Iterator[str]:
    """A container that failed and awaits its restart, which a test with `long_delay` never sees."""
    with events_of(house, "die") as died:
        id = house.launch(*FAIL, name="loop", **policy("always"))
        next_action(died)
    assert house.state(id)["Status"] == "restarting"
    try:
        yield id
    finally:
        house.call("DELETE", f"/containers/{id}?force=1")


@contextmanager
def events_of(house: InProcess, *actions: str) -> Iterator[HTTPResponse]:
    filters = json.dumps({"event": list(actions)})
    with house.opened("GET", f"/events?filters={filters}".replace(" ", "")) as events:
        yield events


def next_action(events: HTTPResponse) -> str:
    return str(json.loads(events.readline())["Action"])


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house()


@pytest.fixture
def long_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart_policy, "_FIRST_DELAY_S", 3600.0)


def test_on_failure_tries_as_often_as_it_says(house: InProcess) -> None:
    with events_of(house, "start", "die") as events:
        house.launch(*FAIL, name="tried", **policy("on-failure", 2))
        assert [next_action(events) for _ in range(6)] == ["start", "die"] * 3
    assert house.call("POST", "/containers/tried/wait").body["StatusCode"] == 3
    told = house.call("GET", "/containers/tried/json").body
    assert (told["RestartCount"], told["State"]["Status"], told["State"]["ExitCode"]) == (2, "exited", 3)


def test_on_failure_leaves_success_alone(shared: InProcess) -> None:
    id = shared.finish("true", **policy("on-failure"))
    assert shared.state(id)["Status"] == "exited"


def test_always_starts_what_succeeded(house: InProcess) -> None:
    with events_of(house, "start") as events:
        house.launch("true", **policy("always"))
        assert [next_action(events) for _ in range(2)] == ["start", "start"]


@pytest.mark.parametrize("verb", ["stop", "kill"])
@pytest.mark.parametrize("name", ["always", "unless-stopped", "on-failure"])
def test_what_the_user_ends_stays_ended(shared: InProcess, name: str, verb: str) -> None:
    id = shared.launch(**policy(name))
    assert shared.call("POST", f"/containers/{id}/{verb}").status == 204
    assert shared.state(id)["Status"] == "exited"


@pytest.mark.usefixtures("long_delay")
def test_a_container_that_waits_for_its_restart_counts_as_running(house: InProcess) -> None:
    with waiting_container(house) as id:
        state = house.state(id)
        assert (state["Running"], state["Restarting"], state["Pid"], state["ExitCode"]) == (True, True, 0, 3)
        assert house.call("GET", f"/containers/{id}/json").body["RestartCount"] == 1  # counted from the exit on
        assert house.ps(all=False) == ["loop"]
        [shown] = house.call("GET", "/containers/json").body
        assert shown["State"] == "restarting"
        assert shown["Status"].startswith("Restarting (3) ")
        assert house.ps({"status": ["restarting"]}) == ["loop"]


@pytest.mark.usefixtures("long_delay")
@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/containers/loop/start", 304, None),
        (
            "DELETE",
            "/containers/loop",
            409,
            'cannot remove container "loop": container is restarting: stop the container before removing or force '
            "remove",
        ),
        ("POST", "/containers/loop/attach?stream=1&stdout=1", 409, "container loop is restarting, wait until"),
        ("POST", "/containers/loop/resize?h=1&w=1", 409, "is not running"),
    ],
)
def test_what_a_container_that_waits_for_its_restart_refuses(
    shared: InProcess, method: str, path: str, status: int, message: str | None
) -> None:
    with waiting_container(shared):
        answer = shared.call(method, path)
        assert answer.status == status
        assert message is None or message in answer.message


@pytest.mark.usefixtures("long_delay")
@pytest.mark.parametrize("verb", ["stop", "kill", "kill?signal=TERM"])
def test_a_restart_that_is_waited_for_can_be_called_off(shared: InProcess, verb: str) -> None:
    with waiting_container(shared) as id, shared.opened("POST", f"/containers/{id}/wait") as ended:
        assert shared.call("POST", f"/containers/{id}/{verb}").status == 204
        assert json.loads(ended.read())["StatusCode"] == 3
        assert shared.state(id)["Status"] == "exited"
        assert shared.call("POST", f"/containers/{id}/start").status == 204


@pytest.mark.usefixtures("long_delay")
def test_a_container_that_waits_for_its_restart_can_be_removed_by_force(shared: InProcess) -> None:
    with waiting_container(shared) as id:
        assert shared.call("DELETE", f"/containers/{id}?force=1").status == 204
        assert "loop" not in shared.ps()


@pytest.mark.usefixtures("long_delay")
def test_a_new_daemon_starts_what_waited_for_its_restart(house: InProcess) -> None:
    with waiting_container(house) as id:
        house.stop()
        house.start()
        with house.opened("POST", f"/containers/{id}/wait?condition=next-exit") as ended:
            assert json.loads(ended.read())["StatusCode"] == 3
        assert house.call("GET", f"/containers/{id}/json").body["RestartCount"] >= 1


@pytest.mark.usefixtures("long_delay")
def test_what_waited_for_its_restart_ends_if_its_policy_was_taken_away(house: InProcess) -> None:
    with waiting_container(house) as id:
        answer = house.call("POST", f"/containers/{id}/update", {"RestartPolicy": {"Name": "no"}})
        assert (answer.status, house.state(id)["Status"]) == (200, "restarting")
        house.stop()
        house.start()
        assert house.state(id)["Status"] == "exited"


def test_auto_remove_and_a_restart_policy_exclude_each_other(shared: InProcess) -> None:
    body = {"Image": "busybox:test", "HostConfig": {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}}
    answer = shared.call("POST", "/containers/create", body)
    assert (answer.status, answer.message) == (400, "can't create 'AutoRemove' container with restart policy")
