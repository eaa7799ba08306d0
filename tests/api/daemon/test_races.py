"""Two concurrent requests for the same container: each is answered, and nothing is left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.daemon.in_process import InProcess, wait_until
from tests.api.daemon.networks import free_port
from tests.api.daemon.test_cancellation import assert_nothing_held

ROUNDS = 6
PORTS = {"PortBindings": {"80/tcp": [{"HostPort": str(free_port())}]}}
ANSWERED = frozenset({200, 201, 204, 304, 404, 409})  # never a 500
START, STOP, KILL = "POST start", "POST stop?t=1", "POST kill"
REMOVE, FORCE = "DELETE ?v=1", "DELETE ?force=1&v=1"
RESTART, PAUSE, RENAME = "POST restart?t=1", "POST pause", "POST rename?name=other"
EXEC, ATTACH, LOGS = "POST exec", "POST attach?logs=1&stdout=1", "GET logs?stdout=1&follow=1"


def ask(house: InProcess, id: str, request: str) -> int:
    method, _, verb = request.partition(" ")
    path = f"/containers/{id}{'' if verb.startswith('?') else '/'}{verb}"
    body = {"Cmd": ["true"], "AttachStdout": True} if request == EXEC else None
    answer = house.call(method, path, body)
    if request == EXEC and answer.status == 201:
        return house.call("POST", f"/exec/{answer.body['Id']}/start", {"Detach": True}).status
    return answer.status


@pytest.mark.parametrize(
    ("running", "first", "second"),
    [
        (False, START, START),
        (False, START, STOP),
        (False, START, REMOVE),
        (False, START, FORCE),
        (False, START, KILL),
        (False, START, RESTART),
        (False, START, RENAME),
        (False, START, ATTACH),
        (False, REMOVE, REMOVE),
        (True, STOP, EXEC),
        (True, STOP, START),
        (True, STOP, FORCE),
        (True, STOP, LOGS),
        (True, KILL, ATTACH),
        (True, KILL, PAUSE),
        (True, RESTART, FORCE),
        (True, RESTART, RESTART),
        (True, RESTART, EXEC),
        (True, PAUSE, FORCE),
        (True, PAUSE, STOP),
        (True, FORCE, EXEC),
        (True, FORCE, FORCE),
        (True, RENAME, FORCE),
    ],
)
@pytest.mark.parametrize("auto_remove", [False, True])
def test_both_are_answered_and_nothing_is_left(
    house: InProcess, running: bool, first: str, second: str, auto_remove: bool
) -> None:
    fields: dict[str, Any] = {"Image": "keeper:1", "HostConfig": {**PORTS, "AutoRemove": auto_remove}}
    with ThreadPoolExecutor(2) as threads:
        for _ in range(ROUNDS):
            id = (house.launch if running else house.create)(name="box", **fields)
            both = [threads.submit(ask, house, id, request) for request in (first, second)]
            assert {one.result(30) for one in both} <= ANSWERED
            assert ask(house, id, FORCE) in (204, 404, 409)
            assert_nothing_held(house)


def test_a_network_may_go_as_soon_as_its_last_container_has_left(house: InProcess) -> None:
    with ThreadPoolExecutor(1) as threads:
        for _ in range(ROUNDS):
            assert house.call("POST", "/networks/create", {"Name": "brief"}).status == 201
            id = house.launch(name="box", HostConfig={"NetworkMode": "brief"})
            killing = threads.submit(ask, house, id, KILL)
            wait_until(lambda: house.call("DELETE", "/networks/brief").status == 204)
            assert killing.result(30) == 204
            assert house.state("box")["Status"] == "exited"
            assert ask(house, id, REMOVE) == 204
