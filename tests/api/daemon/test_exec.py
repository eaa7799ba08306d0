"""What exec refuses, and what inspecting an exec returns."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import InProcess, wait_until

COMMAND = {"Cmd": ["true"]}


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house()


def make(house: InProcess, container: str, **fields: Any) -> str:
    answer = house.call("POST", f"/containers/{container}/exec", {**COMMAND, **fields})
    assert answer.status == 201, answer
    return str(answer.body["Id"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "No exec command specified"),
        ({"Cmd": []}, "No exec command specified"),
        ({**COMMAND, "DetachKeys": "ctrl-!"}, "Invalid escape keys (ctrl-!) provided"),
        ({**COMMAND, "ConsoleSize": [1]}, "ConsoleSize"),
        ({**COMMAND, "ConsoleSize": [-1, 1]}, "ConsoleSize"),
        ({**COMMAND, "Tty": "yes"}, "Tty"),
    ],
)
def test_what_cannot_be_run_is_refused(shared: InProcess, body: dict[str, Any], words: str) -> None:
    answer = shared.call("POST", f"/containers/{shared.launch()}/exec", body)
    assert (answer.status, words in answer.message) == (400, True), answer


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("nobody-here", "unable to find user nobody-here: no matching entries in passwd file"),
        ("4294967296", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_a_user_who_is_not_there_is_told_of_when_it_starts(shared: InProcess, user: str, words: str) -> None:
    one = make(shared, shared.launch(), User=user)
    with shared.hijacked(f"/exec/{one}/start", {}) as raw:
        assert raw.status == 101
        assert raw.frame() == (1, f"{words}\r\n".encode())
    assert shared.call("GET", f"/exec/{one}/json").body["ExitCode"] == 126
    two = make(shared, shared.launch(), User=user)
    answer = shared.call("POST", f"/exec/{two}/start", {"Detach": True})
    assert (answer.status, answer.message) == (400, words)


def test_a_missing_command_is_told_before_a_missing_container(shared: InProcess) -> None:
    assert shared.call("POST", "/containers/nobody/exec", {}).status == 400
    answer = shared.call("POST", "/containers/nobody/exec", COMMAND)
    assert (answer.status, answer.message) == (404, "No such container: nobody")


def test_a_container_that_does_not_run_or_is_paused_runs_nothing_more(shared: InProcess) -> None:
    id = shared.create()
    answer = shared.call("POST", f"/containers/{id}/exec", COMMAND)
    assert (answer.status, answer.message) == (409, f"container {id} is not running")
    shared.call("POST", f"/containers/{id}/start")
    waiting = make(shared, id)
    assert shared.call("POST", f"/containers/{id}/pause").status == 204
    words = f"Container {id} is paused, unpause the container before exec"
    for path, body in ((f"/containers/{id}/exec", COMMAND), (f"/exec/{waiting}/start", {})):
        answer = shared.call("POST", path, body)
        assert (answer.status, answer.message) == (409, words)
    shared.call("POST", f"/containers/{id}/unpause")
    assert shared.call("POST", f"/exec/{waiting}/start", {"Detach": True}).status == 200


def test_what_was_not_started_when_its_container_ended_never_is(shared: InProcess) -> None:
    id = shared.launch()
    waiting, ran = make(shared, id), make(shared, id)
    shared.call("POST", f"/exec/{ran}/start", {"Detach": True})
    wait_until(lambda: shared.call("GET", f"/exec/{ran}/json").body["ExitCode"] == 0)
    shared.call("POST", f"/containers/{id}/restart?t=0")
    for method, path in (("POST", "start"), ("GET", "json")):
        answer = shared.call(method, f"/exec/{waiting}/{path}", {} if method == "POST" else None)
        assert (answer.status, answer.message) == (404, f"No such exec instance: {waiting}")
    assert shared.call("GET", f"/exec/{ran}/json").body["ExitCode"] == 0


def test_inspect_tells_the_containers_user_where_none_was_asked_for(shared: InProcess) -> None:
    one = make(shared, shared.launch(User="1000:5"))
    assert shared.call("GET", f"/exec/{one}/json").body["ProcessConfig"]["user"] == "1000:5"


def test_inspect_tells_all_of_it(shared: InProcess) -> None:
    id = shared.launch()
    one = make(shared, id, AttachStdin=True, AttachStderr=True, DetachKeys="ctrl-a,b", User="root", Privileged=True)
    told = shared.call("GET", f"/exec/{one}/json").body
    assert (told["ID"], told["ContainerID"], told["Running"], told["ExitCode"], told["Pid"]) == (
        one,
        id,
        False,
        None,
        0,
    )
    assert (told["OpenStdin"], told["OpenStdout"], told["OpenStderr"]) == (True, False, True)
    assert base64.b64decode(told["DetachKeys"]) == b"\x01b"
    assert told["ProcessConfig"] == {
        "tty": False,
        "entrypoint": "true",
        "arguments": [],
        "privileged": True,
        "user": "root",
    }
    shared.call("POST", f"/exec/{one}/start", {"Detach": True})
    wait_until(lambda: shared.call("GET", f"/exec/{one}/json").body["ExitCode"] == 0)
    told = shared.call("GET", f"/exec/{one}/json").body
    assert (told["Running"], told["CanRemove"], told["Pid"] > 0) == (
        False,
        False,
        True,
    )  # the pid stays, as with Docker
    assert shared.call("GET", f"/containers/{id}/json").body["ExecIDs"] is None


def test_output_is_framed_as_whoever_starts_it_says(shared: InProcess) -> None:
    id = shared.launch()
    for tty, kind in ((True, "raw"), (False, "multiplexed")):
        one = make(shared, id, Tty=True, AttachStdout=True)
        with shared.hijacked(f"/exec/{one}/start", {"Tty": tty}) as raw:
            assert raw.headers["content-type"] == f"application/vnd.docker.{kind}-stream"


@pytest.mark.parametrize("path", ["/exec/nosuch/json", "/exec/nosuch/start", "/exec/nosuch/resize?h=1&w=1"])
def test_an_exec_that_is_not_there(shared: InProcess, path: str) -> None:
    answer = shared.call("GET" if path.endswith("json") else "POST", path, None if path.endswith("json") else {})
    assert (answer.status, answer.message) == (404, "No such exec instance: nosuch")
