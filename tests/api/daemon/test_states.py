"""How each operation answers for a container in each state: status and Docker's wording."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sampan.daemon.lifecycle import restart_policy
from sampan.errdefs import SystemFailure
from sampan.testing.memory_storage import MemoryStorage
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import Answer, InProcess, wait_until

STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
OFF = 409, "container {id} is not running"
IDLE = 409, "cannot kill container: box: container {id} is not running"
AWAKE = 409, "Container {id} is not paused"
RESTARTING = 409, "Container {id} is restarting, wait until the container is running"
PAUSED = 409, "Container {name} is paused, unpause the container before exec"
MARKED = 409, "container is marked for removal and cannot be started"
LOST = 409, f"Cannot restart container box: {MARKED[1]}"
IN_PROGRESS = 409, "removal of container box is already in progress"
NO_LOGS = 409, "can not get logs from container which is dead or marked for removal"
NO_REMOVAL = (
    409,
    'cannot remove container "box": container is {state}: stop the container before removing or force remove',
)
UNPAUSE_FIRST = 409, 'cannot remove container "box": container is paused and must be unpaused first'
SAME = 304, ""
NOT_STARTED = 409, "cannot start a paused container, try unpause instead"
NO_UPDATE = 409, 'Cannot update container {id}: container is marked for removal and cannot be "update"'
ALREADY = 409, "container {id} is already paused"
NEVER = 400, 'invalid condition: "no"'
LOGS = "logs?stdout=1"
EXEC = {"Cmd": ["true"]}


class HeldStorage(MemoryStorage):
    """`remove` blocks until the test releases it, and fails if `broken`."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self.removing, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.broken = False

    def remove(self, name: str) -> None:
        self.removing.set()
        self.go_on.wait(30)
        if self.broken:
            raise SystemFailure("the disk is broken")
        super().remove(name)


@contextmanager
def removing(house: InProcess) -> Iterator[str]:
    """A container that is being removed."""
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
def dead(house: InProcess) -> Iterator[str]:
    """A container whose removal failed."""
    assert isinstance(house.storage, HeldStorage)
    with with_container(house, house.create) as id:
        house.storage.broken = True
        assert house.call("DELETE", "/containers/box").status == 500
        house.storage.broken = False
        yield id


@contextmanager
def paused(house: InProcess) -> Iterator[str]:
    with with_container(house, house.launch) as id:
        assert house.call("POST", "/containers/box/pause").status == 204
        yield id


@contextmanager
def waiting_for_restart(house: InProcess) -> Iterator[str]:
    """A container that failed and awaits its restart, which the test never sees."""
    policy = {"RestartPolicy": {"Name": "always"}}
    with with_container(house, house.create, "sh", "-c", "exit 3", HostConfig=policy) as id:
        with house.opened("POST", "/containers/box/wait?condition=next-exit") as ended:
            assert house.call("POST", "/containers/box/start").status == 204
            ended.read()
        yield id


@contextmanager
def with_container(house: InProcess, make: Callable[..., str], *command: str, **fields: Any) -> Iterator[str]:
    try:
        yield make(*command, name="box", Tty=True, **fields)
    finally:
        answer = house.call("DELETE", "/containers/box?force=1")
        assert answer.status in (204, 404), answer  # some tests remove it


@contextmanager
def container(house: InProcess, state: str) -> Iterator[str]:
    makers: dict[str, Any] = {
        "created": lambda: with_container(house, house.create),
        "running": lambda: with_container(house, house.launch),
        "paused": lambda: paused(house),
        "restarting": lambda: waiting_for_restart(house),
        "removing": lambda: removing(house),
        "exited": lambda: with_container(house, house.finish, "true"),
        "dead": lambda: dead(house),
    }
    with makers[state]() as id:
        assert house.state("box")["Status"] == state
        yield id


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> Iterator[InProcess]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restart_policy, "_FIRST_DELAY_S", 3600.0)
        yield make_shared_house(HeldStorage)


# fmt: off
TABLE: tuple[tuple[str, str, Any, tuple[Any, ...]], ...] = (
    # answers are in the order of STATES
    ("GET", "json", None, (200, 200, 200, 200, 200, 200, 200)),
    ("POST", "start", None, (204, SAME, NOT_STARTED, SAME, MARKED, 204, MARKED)),
    ("POST", "stop?t=0", None, (SAME, 204, 204, 204, SAME, SAME, SAME)),
    ("POST", "restart?t=0", None, (204, 204, 204, 204, LOST, 204, LOST)),
    ("POST", "kill", None, (IDLE, 204, 204, 204, IDLE, IDLE, IDLE)),
    ("POST", "kill?signal=WINCH", None, (IDLE, 204, 204, 204, IDLE, IDLE, IDLE)),
    ("POST", "pause", None, (OFF, 204, ALREADY, RESTARTING, OFF, OFF, OFF)),
    ("POST", "unpause", None, (AWAKE, AWAKE, 204, AWAKE, AWAKE, AWAKE, AWAKE)),
    ("POST", "rename?name=crate", None, (204, 204, 204, 204, None, 204, 204)),
    ("GET", "top", None, (OFF, 200, 200, RESTARTING, OFF, OFF, OFF)),
    ("POST", "update", {"CpuShares": 512}, (200, 200, 200, 200, NO_UPDATE, 200, NO_UPDATE)),
    ("POST", "resize?h=24&w=80", None, (OFF, 200, 200, OFF, OFF, OFF, OFF)),
    ("GET", LOGS, None, (200, 200, 200, 200, NO_LOGS, 200, NO_LOGS)),
    ("POST", "exec", EXEC, (OFF, 201, PAUSED, RESTARTING, OFF, OFF, OFF)),
    ("POST", "wait", None, (200, None, None, None, 200, 200, 200)),
    ("POST", "wait?condition=no", None, (NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER)),
    ("DELETE", "", None, (204, NO_REMOVAL, UNPAUSE_FIRST, NO_REMOVAL, IN_PROGRESS, 204, 204)),
    ("DELETE", "?force=1", None, (204, 204, 204, 204, IN_PROGRESS, 204, 204)),
)
# fmt: on


@pytest.mark.parametrize(
    ("method", "verb", "body", "state", "expected"),
    [
        pytest.param(method, verb, body, state, expected, id=f"{method} {verb} {state}")
        for method, verb, body, answers in TABLE
        for state, expected in zip(STATES, answers, strict=True)
        if expected is not None
    ],
)
def test_an_operation_answers_as_the_state_allows(
    shared: InProcess, method: str, verb: str, body: Any, state: str, expected: Any
) -> None:
    status, words = expected if isinstance(expected, tuple) else (expected, "")
    with container(shared, state) as id:
        answer = shared.call(method, f"/containers/box{'' if verb[:1] in ('', '?') else '/'}{verb}", body)
        if verb.startswith("rename"):
            shared.call("DELETE", "/containers/crate?force=1")
    assert answer.status == status, answer
    assert not words or answer.message == words.format(id=id, name="box", state=state)


@pytest.mark.parametrize(
    ("verb", "state", "message"),
    [
        ("kill?signal=NOPE", "created", "invalid signal: NOPE"),
        ("kill?signal=NOPE", "running", "invalid signal: NOPE"),
        ("stop?signal=NOPE", "created", "invalid signal: NOPE"),
        ("stop?signal=NOPE", "running", "invalid signal: NOPE"),
        ("restart?signal=NOPE", "created", "Cannot restart container box: invalid signal: NOPE"),
        ("attach?stream=1&detachKeys=ctrl-1", "running", "Invalid detach keys (ctrl-1) provided"),
        ("rename?name=", "created", "Neither old nor new names may be empty"),
        ("rename?name=/box", "created", "Renaming a container with the same name as its current name"),
        (
            "rename?name=a/b",
            "created",
            "Error when allocating new name: Invalid container name (/a/b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are "
            "allowed",
        ),
    ],
)
def test_what_makes_no_sense_is_said_in_any_state(shared: InProcess, verb: str, state: str, message: str) -> None:
    with container(shared, state):
        answer = shared.call("POST", f"/containers/box/{verb}")
    assert (answer.status, answer.message) == (400, message)


@pytest.mark.parametrize("state", STATES)
def test_inspect_and_list_tell_the_state(shared: InProcess, state: str) -> None:
    with container(shared, state):
        told = shared.state("box")
        flags = tuple(told[flag] for flag in ("Running", "Paused", "Restarting", "Dead"))
        active = state in ("running", "paused", "restarting")
        assert flags == (active, state == "paused", state == "restarting", state == "dead")
        assert (told["Pid"] > 0) is (state in ("running", "paused"))
        assert shared.ps({"status": [state]}) == ["box"]
        assert shared.ps(all=False) == (["box"] if active else [])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/containers/box/json", None),
        ("GET", "/containers/box/logs?stdout=1", None),
        ("POST", "/containers/box/start", None),
        ("POST", "/containers/box/stop", None),
        ("POST", "/containers/box/kill", None),
        ("POST", "/containers/box/restart", None),
        ("POST", "/containers/box/pause", None),
        ("POST", "/containers/box/unpause", None),
        ("POST", "/containers/box/rename?name=crate", None),
        ("POST", "/containers/box/wait", None),
        ("POST", "/containers/box/update", {"CpuShares": 512}),
        ("GET", "/containers/box/top", None),
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
    context = "cannot kill container: box: " if path.endswith("/kill") else ""
    assert (answer.status, answer.message) == (404, f"{context}No such container: box")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/exec/e/json", None), ("POST", "/exec/e/start", {}), ("POST", "/exec/e/resize?h=1&w=1", None)],
)
def test_every_operation_says_that_there_is_no_such_exec(
    shared: InProcess, method: str, path: str, body: Any
) -> None:
    answer = shared.call(method, path, body)
    assert (answer.status, answer.message) == (404, "No such exec instance: e")


def test_what_takes_its_turn_after_a_removal_finds_no_container(shared: InProcess) -> None:
    answers: list[Answer] = []
    with container(shared, "removing"):
        late = threading.Thread(
            target=lambda: answers.append(shared.call("POST", "/containers/box/rename?name=crate"))
        )
        late.start()
        wait_until(lambda: "container_rename" in [job["Name"] for job in shared.call("GET", "/jobs").body])
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
