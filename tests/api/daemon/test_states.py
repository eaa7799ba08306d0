"""What each operation says of a container in each state of its life: status and Docker's words."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sampan.testing.memory_storage import MemoryStorage
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import Answer, InProcess, wait_until

OFF = 409, "container {id} is not running"
NOT_KILLED = 409, "cannot kill container: box: container {id} is not running"
IN_PROGRESS = 409, "removal of container box is already in progress"
NO_LOGS = 409, "can not get logs from container which is dead or marked for removal"
STOP_FIRST = (
    409,
    'cannot remove container "box": container is running: stop the container before removing or force remove',
)
NO_KEYS = 400, "Invalid detach keys (ctrl-1) provided"
LOGS = "logs?stdout=1"
EXEC = {"Cmd": ["true"]}


class HeldStorage(MemoryStorage):
    """`remove` waits until the test lets it go on."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self.removing, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def remove(self, name: str) -> None:
        self.removing.set()
        self.go_on.wait(30)
        super().remove(name)


@contextmanager
def removing(house: InProcess) -> Iterator[str]:
    """A container in the middle of its removal."""
    storage = house.storage
    assert isinstance(storage, HeldStorage)
    storage.removing.clear()
    storage.go_on.clear()
    id = house.create(name="box", Tty=True)
    remover = threading.Thread(target=house.call, args=("DELETE", f"/containers/{id}"))
    remover.start()
    try:
        assert storage.removing.wait(30)
        yield id
    finally:
        storage.go_on.set()
        remover.join()


@contextmanager
def with_container(house: InProcess, make: Callable[..., str], *command: str) -> Iterator[str]:
    try:
        yield make(*command, name="box", Tty=True)
    finally:
        house.call("DELETE", "/containers/box?force=1")


@contextmanager
def container(house: InProcess, state: str) -> Iterator[str]:
    makers: dict[str, Any] = {
        "created": lambda: with_container(house, house.create),
        "running": lambda: with_container(house, house.launch),
        "exited": lambda: with_container(house, house.finish, "true"),
        "removing": lambda: removing(house),
    }
    with makers[state]() as id:
        yield id


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house(HeldStorage)


@pytest.mark.parametrize(
    ("method", "verb", "body", "answers"),
    [
        ("GET", "json", None, {"created": 200, "running": 200, "exited": 200, "removing": 200}),
        ("POST", "start", None, {"created": 204, "running": 304, "exited": 204}),
        ("POST", "stop", None, {"created": 304, "running": 204, "exited": 304}),
        ("POST", "kill", None, {"created": NOT_KILLED, "running": 204, "exited": NOT_KILLED, "removing": NOT_KILLED}),
        ("POST", "kill?signal=WINCH", None, {"created": NOT_KILLED, "running": 204, "exited": NOT_KILLED}),
        ("POST", "kill?signal=NOPE", None, {"created": (400, "invalid signal: NOPE"), "running": (400, "NOPE")}),
        ("POST", "stop?signal=NOPE", None, {"created": (400, "invalid signal: NOPE"), "running": (400, "NOPE")}),
        ("DELETE", "", None, {"created": 204, "running": STOP_FIRST, "exited": 204, "removing": IN_PROGRESS}),
        ("DELETE", "?force=1", None, {"created": 204, "running": 204, "exited": 204, "removing": IN_PROGRESS}),
        ("POST", "resize?h=24&w=80", None,
         {"created": OFF, "running": 200, "exited": OFF, "removing": OFF}),
        ("GET", LOGS, None, {"created": 200, "running": 200, "exited": 200, "removing": NO_LOGS}),
        ("POST", "exec", EXEC,
         {"created": OFF, "running": 201, "exited": OFF, "removing": OFF}),
        ("POST", "exec", {"Cmd": []}, {"running": (400, "No exec command specified")}),
        ("POST", "wait", None, {"created": 200, "exited": 200}),
        ("POST", "wait?condition=never", None, {"created": (400, 'invalid condition: "never"')}),
        ("POST", "attach?stream=1&detachKeys=ctrl-1", None, {"running": NO_KEYS}),
    ],
)  # fmt: skip
def test_an_operation_answers_as_the_state_allows(
    shared: InProcess, method: str, verb: str, body: Any, answers: dict[str, Any]
) -> None:
    for state, expected in answers.items():
        status, words = expected if isinstance(expected, tuple) else (expected, None)
        with container(shared, state) as id:
            path = f"/containers/box{'' if verb[:1] in ('', '?') else '/'}{verb}"
            answer = shared.call(method, path, body)
            assert answer.status == status, (state, answer)
            assert words is None or words.format(id=id) in answer.message, state


@pytest.mark.parametrize("state", ["created", "running", "exited", "removing"])
def test_inspect_and_list_tell_the_state(shared: InProcess, state: str) -> None:
    with container(shared, state):
        told = shared.state("box")
        assert (told["Status"], told["Running"]) == (state, state == "running")
        assert (told["Pid"] > 0) is (state == "running")
        assert shared.ps({"status": [state]}) == ["box"]
        assert shared.ps(all=False) == (["box"] if state == "running" else [])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/containers/box/json", None),
        ("GET", "/containers/box/logs?stdout=1", None),
        ("POST", "/containers/box/start", None),
        ("POST", "/containers/box/stop", None),
        ("POST", "/containers/box/kill", None),
        ("POST", "/containers/box/wait", None),
        ("POST", "/containers/box/attach", None),
        ("POST", "/containers/box/resize?h=1&w=1", None),
        ("POST", "/containers/box/exec", EXEC),
        ("DELETE", "/containers/box", None),
        ("DELETE", "/containers/box?force=1", None),
    ],
)
def test_every_operation_says_that_there_is_no_such_container(
    shared: InProcess, method: str, path: str, body: Any
) -> None:
    answer = shared.call(method, path, body)
    assert (answer.status, answer.message) == (404, "No such container: box")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/exec/e/json", None), ("POST", "/exec/e/start", {}), ("POST", "/exec/e/resize?h=1&w=1", None)],
)
def test_every_operation_says_that_there_is_no_such_exec(
    shared: InProcess, method: str, path: str, body: Any
) -> None:
    answer = shared.call(method, path, body)
    assert (answer.status, answer.message) == (404, "No such exec instance: e")


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_what_takes_its_turn_after_a_removal_finds_no_container(shared: InProcess, verb: str) -> None:
    answers: list[Answer] = []
    with container(shared, "removing"):
        late = threading.Thread(target=lambda: answers.append(shared.call("POST", f"/containers/box/{verb}")))
        late.start()
        queued = (f"container_{verb}", "queued")
        wait_until(lambda: queued in [(job["Name"], job["State"]) for job in shared.call("GET", "/jobs").body])
    late.join()
    assert (answers[0].status, answers[0].message) == (404, "No such container: box")


def test_a_wait_for_a_removal_ends_with_it(shared: InProcess) -> None:
    with shared.opened("POST", f"/containers/{shared.create(name='box')}/wait?condition=removed") as waiting:
        assert shared.call("DELETE", "/containers/box").status == 204
        assert json.loads(waiting.read()) == {"StatusCode": 0}


@pytest.mark.parametrize("condition", ["not-running", "next-exit"])
def test_a_wait_ends_when_the_container_does(shared: InProcess, condition: str) -> None:
    path = f"/containers/box/wait?condition={condition}"
    with container(shared, "running"), shared.opened("POST", path) as waiting:
        assert shared.call("POST", "/containers/box/kill").status == 204
        assert json.loads(waiting.read()) == {"StatusCode": 137}


def test_a_wait_for_the_next_exit_sees_the_start_and_the_end(shared: InProcess) -> None:
    with container(shared, "exited"), shared.opened("POST", "/containers/box/wait?condition=next-exit") as waiting:
        assert shared.call("POST", "/containers/box/start").status == 204
        assert json.loads(waiting.read()) == {"StatusCode": 0}


def test_a_wait_for_the_next_exit_ends_with_a_removal_too(shared: InProcess) -> None:
    shared.create(name="box")
    with shared.opened("POST", "/containers/box/wait?condition=next-exit") as waiting:
        assert shared.call("DELETE", "/containers/box").status == 204
        assert json.loads(waiting.read()) == {"StatusCode": 0}


@pytest.mark.parametrize(
    ("command", "status", "code", "words"),
    [
        ("nosuch", 400, 127, 'exec: "nosuch": executable file not found in $PATH'),
        ("/bin/nosuch", 400, 127, "stat /bin/nosuch: no such file or directory"),
    ],
)
def test_a_command_that_cannot_start_leaves_a_created_container(
    shared: InProcess, command: str, status: int, code: int, words: str
) -> None:
    with with_container(shared, shared.create, command):
        answer = shared.call("POST", "/containers/box/start")
        assert answer.status == status
        assert words in answer.message
        state = shared.state("box")
        assert (state["Status"], state["ExitCode"], state["Error"]) == ("created", code, answer.message)
        ended = shared.call("POST", "/containers/box/wait").body
        assert (ended["StatusCode"], ended["Error"]["Message"]) == (code, answer.message)


def test_an_abbreviated_id_names_a_container_and_a_doubtful_one_is_refused(shared: InProcess) -> None:
    with container(shared, "created") as id:
        assert shared.call("GET", f"/containers/{id[:12]}/json").body["Id"] == id
        others = [shared.create() for _ in range(20)]
        doubtful = next(one[0] for one in others if sum(other[0] == one[0] for other in others) > 1)
        answer = shared.call("GET", f"/containers/{doubtful}/json")
        assert answer.status == 400
        assert answer.message == f"multiple IDs found with provided prefix: {doubtful}"
        for one in others:
            shared.call("DELETE", f"/containers/{one}")
