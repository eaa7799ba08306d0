"""Health checks: probe results, how they are reported, and their consequences."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sampan.daemon.lifecycle import restart_policy
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import InProcess, wait_until

MS = 1_000_000
HOUR = 3_600_000 * MS
NextEvent = Callable[[], str]


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The file with the exit status of the probe `status FILE`."""
    path = tmp_path / "code"
    path.write_text("0")
    return path


@contextmanager
def checked(house: InProcess, *probe: str, host: Any = None, **fields: int) -> Iterator[tuple[str, NextEvent]]:
    """A running container with a health check, and a function that waits for its next event."""
    check = {"Test": list(probe), "Interval": 10 * MS, **fields}
    id = house.create(name="box", Healthcheck=check, HostConfig=host or {})
    filters = json.dumps({"container": [id], "type": ["container"]}).replace(" ", "")
    with house.opened("GET", f"/events?filters={filters}") as events:
        assert house.call("POST", "/containers/box/start").status == 204
        try:
            yield id, lambda: str(json.loads(events.readline())["Action"])
        finally:
            house.call("DELETE", "/containers/box?force=1")


def health_events(next_event: NextEvent) -> Iterator[str]:
    while True:
        event = next_event()
        if event.startswith("health_status: "):
            yield event.removeprefix("health_status: ")


def until(next_event: NextEvent, action: str, times: int = 1) -> None:
    for _ in range(times):
        while not next_event().startswith(action):
            continue


def health(house: InProcess) -> dict[str, Any]:
    return dict(house.state("box")["Health"])


def test_a_container_becomes_healthy(shared: InProcess) -> None:
    with checked(shared, "CMD-SHELL", "echo fine") as (_, next_event):
        events = [next_event() for _ in range(5)]
        assert events == [
            "start",
            "exec_create: /bin/sh -c echo fine",
            "exec_start: /bin/sh -c echo fine",
            "exec_die",
            "health_status: healthy",
        ]
        told = health(shared)
        assert (told["Status"], told["FailingStreak"]) == ("healthy", 0)
        assert (told["Log"][0]["ExitCode"], told["Log"][0]["Output"]) == (0, "fine\n")
        assert told["Log"][0]["Start"] <= told["Log"][0]["End"]
        [line] = shared.call("GET", "/containers/json").body
        assert line["Status"].endswith(" (healthy)")
        assert line["Health"] == {"Status": "healthy", "FailingStreak": 0}
        assert shared.ps({"health": ["healthy"]}) == ["box"]
        assert shared.ps({"health": ["starting", "unhealthy", "none"]}) == []
        [older] = shared.call("GET", "/v1.51/containers/json").body
        assert "Health" not in older


def test_until_its_first_result_a_container_is_starting(shared: InProcess) -> None:
    with checked(shared, "CMD", "true", Interval=HOUR):
        assert health(shared) == {"Status": "starting", "FailingStreak": 0, "Log": []}
        [line] = shared.call("GET", "/containers/json").body
        assert line["Status"].endswith(" (health: starting)")


def test_a_container_without_a_check_has_no_health(shared: InProcess) -> None:
    with checked(shared, "NONE"):
        assert "Health" not in shared.state("box")
        [line] = shared.call("GET", "/containers/json").body
        assert line["Health"] == {"Status": "none", "FailingStreak": 0}
        assert shared.ps({"health": ["none"]}) == ["box"]


def test_so_many_failures_in_a_row_make_it_unhealthy_and_one_success_healthy(shared: InProcess, code: Path) -> None:
    code.write_text("3")
    with checked(shared, "CMD", "status", str(code), Retries=7) as (_, next_event):
        events = health_events(next_event)
        assert next(events) == "unhealthy"
        told = health(shared)
        assert told["Status"] == "unhealthy"
        assert told["FailingStreak"] >= 7
        assert len(told["Log"]) == 5
        assert {one["ExitCode"] for one in told["Log"]} == {3}
        code.write_text("0")
        assert next(events) == "healthy"
        assert health(shared)["FailingStreak"] == 0


def test_failures_within_the_start_period_do_not_count(shared: InProcess) -> None:
    times = {"StartPeriod": HOUR, "StartInterval": 5 * MS, "Interval": HOUR, "Retries": 1}
    with checked(shared, "CMD", "false", **times) as (_, next_event):
        until(next_event, "exec_die", times=3)
        told = health(shared)
        assert (told["Status"], told["FailingStreak"]) == ("starting", 0)
        assert told["Log"]


def test_a_probe_that_takes_too_long_is_ended(shared: InProcess) -> None:
    probe = ("CMD-SHELL", "echo slow; sleep infinity")
    with checked(shared, *probe, Timeout=300 * MS, Retries=1) as (id, next_event):
        assert next(health_events(next_event)) == "unhealthy"
        [first, *_] = health(shared)["Log"]
        assert first["ExitCode"] == -1
        assert first["Output"] == "Health check exceeded timeout (300ms): slow\n"
        shared.call("POST", "/containers/box/pause")
        until(next_event, "pause")
        assert shared.call("GET", f"/containers/{id}/json").body["ExecIDs"] is None
        execs = shared.runtime._containers[id].execs.values()
        assert execs
        assert all(process.exit.done() for process in execs)


def test_a_probe_that_cannot_start_is_a_result_too(shared: InProcess) -> None:
    with checked(shared, "CMD", "nosuch", Retries=1) as (_, next_event):
        assert next(health_events(next_event)) == "unhealthy"
        [first, *_] = health(shared)["Log"]
        assert first["ExitCode"] == -1
        assert 'exec: "nosuch": executable file not found in $PATH' in first["Output"]


def test_of_a_probes_output_the_beginning_is_kept(shared: InProcess) -> None:
    with checked(shared, "CMD", "echo", "x" * 5000) as (_, next_event):
        assert next(health_events(next_event)) == "healthy"
        assert health(shared)["Log"][0]["Output"] == "x" * 4096 + "..."


def test_the_images_check_holds_where_the_user_says_nothing(shared: InProcess) -> None:
    id = shared.create(Image="labelled:1", Healthcheck={"Retries": 2})
    assert shared.call("GET", f"/containers/{id}/json").body["Config"]["Healthcheck"] == {
        "Test": ["CMD", "true"],
        "Interval": 10 * MS,
        "Retries": 2,
    }
    shared.call("DELETE", f"/containers/{id}")
    id = shared.create(Image="labelled:1", Healthcheck={"Test": ["NONE"]})
    shared.call("POST", f"/containers/{id}/start")
    assert "Health" not in shared.state(id)
    shared.call("DELETE", f"/containers/{id}?force=1")


def test_a_paused_container_is_not_probed(shared: InProcess) -> None:
    with checked(shared, "CMD", "true") as (_, next_event):
        until(next_event, "health_status: healthy")
        shared.call("POST", "/containers/box/pause")
        until(next_event, "pause")
        assert health(shared)["Status"] == "unhealthy"
        shared.call("POST", "/containers/box/unpause")
        while (event := next_event()) != "unpause":
            assert event.startswith(("exec_start", "exec_die"))  # of the probe in progress
        until(next_event, "health_status: healthy")


def test_an_ended_container_is_not_probed_and_begins_anew(shared: InProcess) -> None:
    with checked(shared, "CMD", "true") as (_, next_event):
        until(next_event, "health_status: healthy")
        shared.call("POST", "/containers/box/kill")
        assert health(shared)["Status"] == "unhealthy"
        shared.call("POST", "/containers/box/start")
        until(next_event, "start")
        until(next_event, "health_status: healthy")


def test_health_goes_on_in_the_next_daemon(house: InProcess) -> None:
    with checked(house, "CMD", "true") as (id, next_event):
        until(next_event, "health_status: healthy")
        house.stop()
        house.start()
        assert health(house)["Status"] == "healthy"
        assert health(house)["Log"]
        filters = json.dumps({"container": [id], "event": ["exec_die"]}).replace(" ", "")
        with house.opened("GET", f"/events?filters={filters}") as events:
            assert json.loads(events.readline())["Actor"]["Attributes"]["exitCode"] == "0"


def unhealthy_policy(retries: int = 0) -> dict[str, Any]:
    return {"RestartPolicy": {"Name": "on-unhealthy", "MaximumRetryCount": retries}}


def test_on_unhealthy_starts_again_what_its_check_has_given_up(shared: InProcess, code: Path) -> None:
    code.write_text("1")
    with checked(shared, "CMD", "status", str(code), host=unhealthy_policy(), Retries=1) as (_, next_event):
        until(next_event, "health_status: unhealthy")
        code.write_text("0")
        actions = [next_event()]
        while actions[-1] != "health_status: healthy":
            actions.append(next_event())
        assert [one for one in actions if one in ("kill", "die", "start")][:3] == ["kill", "die", "start"]
        document = shared.call("GET", "/containers/box/json").body
        # it may have been restarted and found unhealthy again before the file was written
        assert (document["RestartCount"], document["State"]["Running"]) == (actions.count("start"), True)


def test_on_unhealthy_tries_as_often_as_it_says_and_then_leaves_it_running(shared: InProcess) -> None:
    with checked(shared, "CMD", "false", host=unhealthy_policy(2), Retries=1) as (_, next_event):
        for _ in range(2):
            until(next_event, "health_status: unhealthy")
            until(next_event, "die")
            until(next_event, "start")
        until(next_event, "health_status: unhealthy")
        until(next_event, "exec_die", times=3)
        document = shared.call("GET", "/containers/box/json").body
        assert (document["RestartCount"], document["State"]["Running"]) == (2, True)


def test_on_unhealthy_starts_again_what_failed_and_leaves_success_alone(
    shared: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restart_policy, "_FIRST_DELAY_S", 3600.0)
    for command, status in (("false", "restarting"), ("true", "exited")):
        id = shared.create(command, HostConfig=unhealthy_policy())
        with shared.opened("POST", f"/containers/{id}/wait?condition=next-exit") as ended:
            shared.call("POST", f"/containers/{id}/start")
            ended.read()
        assert shared.state(id)["Status"] == status
        shared.call("DELETE", f"/containers/{id}?force=1")


def test_one_that_ends_by_itself_when_it_is_given_up_is_started_again(shared: InProcess) -> None:
    id = shared.launch(name="box", HostConfig=unhealthy_policy())
    container = shared.daemon.containers.get(id)

    async def end_first() -> None:
        exited = container.next_exit
        async with shared.daemon.alone(id):
            shared.daemon.give_up(container)
            await shared.runtime.kill(id, 9)
            await exited.wait()

    shared.run(end_first())
    wait_until(lambda: shared.state("box")["Status"] == "running")
    assert shared.call("GET", "/containers/box/json").body["RestartCount"] == 1
    shared.call("DELETE", "/containers/box?force=1")


def test_what_its_user_stops_stays_so_however_ill_it_was(shared: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart_policy, "_FIRST_DELAY_S", 3600.0)
    with checked(shared, "CMD", "false", host=unhealthy_policy(), Retries=1) as (_, next_event):
        until(next_event, "health_status: unhealthy")
        until(next_event, "die")
        assert shared.call("POST", "/containers/box/stop").status == 204
        assert shared.state("box")["Status"] == "exited"


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"Interval": 1}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Timeout": MS - 1}, "Timeout in Healthcheck cannot be less than 1ms"),
        ({"StartPeriod": -1}, "StartPeriod in Healthcheck cannot be less than 1ms"),
        ({"StartInterval": 5}, "StartInterval in Healthcheck cannot be less than 1ms"),
        ({"Retries": -1}, "Retries in Healthcheck cannot be negative"),
    ],
)
def test_checks_that_cannot_be(shared: InProcess, check: dict[str, int], message: str) -> None:
    answer = shared.call("POST", "/containers/create", {"Image": "busybox:test", "Healthcheck": check})
    assert (answer.status, answer.message) == (400, message)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (("sometimes", 0), "unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', "),
        (("always", 1), "maximum retry count can only be used with 'on-failure'"),
        (("unless-stopped", -1), "maximum retry count can only be used with 'on-failure' and cannot be negative"),
        (("on-failure", -1), "maximum retry count cannot be negative"),
        (("on-unhealthy", -1), "maximum retry count cannot be negative"),
    ],
)
def test_policies_that_cannot_be(shared: InProcess, policy: tuple[str, int], message: str) -> None:
    asked = {"Name": policy[0], "MaximumRetryCount": policy[1]}
    body = {"Image": "busybox:test", "HostConfig": {"RestartPolicy": asked}}
    answer = shared.call("POST", "/containers/create", body)
    assert answer.status == 400
    assert answer.message.startswith(f"invalid restart policy: {message}")
