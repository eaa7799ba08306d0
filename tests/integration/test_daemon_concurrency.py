"""Many concurrent requests, and conflicting ones on one container."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.conftest import LoadedSampand
from tests.support.clients import Client
from tests.support.containers import (
    at_once,
    await_event,
    call,
    create,
    events,
    eventually,
    held_by,
    hijacked,
    run,
    state_of,
)
from tests.support.engines import Engine
from tests.support.voyages import Voyage

pytestmark = pytest.mark.root
DEAF = ("sh", "-c", "trap '' TERM; mkfifo /f; echo deaf; read x </f")
STREAMS = (("logs", "-f", "talker"), ("attach", "talker"), ("exec", "-i", "talker", "cat"), ("events",))


@pytest.fixture(scope="module")
def engine(loaded_sampand: LoadedSampand) -> Iterator[Engine]:
    with loaded_sampand() as engine:
        yield engine


@pytest.fixture(autouse=True)
def no_containers_left(engine: Engine) -> Iterator[None]:
    yield
    engine.remove_containers()


def pid_of(engine: Engine) -> int:
    assert engine.process is not None
    return engine.process.pid


def running_jobs(engine: Engine) -> list[str]:
    return [job["Name"] for job in engine.get("/jobs") if job["State"] == "running"]


@pytest.mark.parametrize("end", [("POST", "kill"), ("DELETE", "?force=1")])
def test_a_stop_that_waits_keeps_nobody_from_killing(engine: Engine, end: tuple[str, str]) -> None:
    method, how = end
    with events(engine) as told, ThreadPoolExecutor(1) as thread:
        id = run(engine, "deaf", *DEAF)
        stopping = thread.submit(call, engine, "POST", "/containers/deaf/stop?t=600")
        await_event(told, "kill", id)
        path = f"/containers/deaf{how}" if how.startswith("?") else f"/containers/deaf/{how}"
        assert call(engine, method, path)[0] == 204
        assert stopping.result(30)[0] == 204


def test_of_two_starts_at_once_one_finds_it_started(engine: Engine) -> None:
    create(engine, "twice")
    start = ("POST", "/containers/twice/start")
    assert sorted(status for status, _ in at_once(engine, start, start)) == [204, 304]


def test_a_forced_removal_during_a_start_removes(engine: Engine) -> None:
    for number in range(4):
        create(engine, f"new{number}")
        started, removed = at_once(
            engine, ("POST", f"/containers/new{number}/start"), ("DELETE", f"/containers/new{number}?force=1")
        )
        assert removed[0] == 204, removed
        assert started[0] in (204, 404, 409)
    assert engine.get("/containers/json?all=1") == []


def test_all_ends_at_once_end_it_once(engine: Engine) -> None:
    for number in range(4):
        path = f"/containers/end{number}"
        run(engine, f"end{number}")
        killed, stopped, removed = at_once(
            engine, ("POST", f"{path}/kill"), ("POST", f"{path}/stop?t=1"), ("DELETE", f"{path}?force=1")
        )
        assert removed[0] == 204, removed
        assert killed[0] in (204, 404, 409), killed
        assert stopped[0] in (204, 304, 404), stopped
    assert engine.get("/containers/json?all=1") == []


def test_attaching_to_what_never_starts_ends_with_the_client(engine: Engine) -> None:
    id = create(engine, "never", AttachStdin=True, OpenStdin=True)
    before = held_by(pid_of(engine))
    with events(engine) as told:
        for _ in range(5):
            with hijacked(engine, "/containers/never/attach?stream=1&stdin=1&stdout=1") as connection:
                assert connection.recv(4096).startswith(b"HTTP/1.1 101")
                await_event(told, "attach", id)
    assert eventually(lambda: len(held_by(pid_of(engine))) <= len(before))
    assert call(engine, "POST", "/containers/never/start")[0] == 204


def test_waits_of_every_condition_are_answered(engine: Engine) -> None:
    create(engine, "waited", "sh", "-c", "exit 3")
    assert call(engine, "POST", "/containers/waited/wait?condition=not-running") == (200, {"StatusCode": 0})
    with ThreadPoolExecutor(2) as threads:
        exited, removed = (
            threads.submit(call, engine, "POST", f"/containers/waited/wait?condition={condition}")
            for condition in ("next-exit", "removed")
        )
        assert eventually(lambda: running_jobs(engine).count("container_wait") == 2)
        call(engine, "POST", "/containers/waited/start")
        assert exited.result(30) == (200, {"StatusCode": 3})
        call(engine, "DELETE", "/containers/waited")
        assert removed.result(30) == (200, {"StatusCode": 3})


def test_an_exec_whose_caller_goes_runs_on_and_holds_nothing(engine: Engine) -> None:
    id = run(engine, "host")
    before = held_by(pid_of(engine))
    with events(engine) as told:
        for _ in range(6):
            _, made = call(engine, "POST", "/containers/host/exec", {"Cmd": ["true"], "AttachStdout": True})
            with hijacked(engine, f"/exec/{made['Id']}/start"):
                pass
            await_event(told, "exec_die", id)
    assert eventually(lambda: len(held_by(pid_of(engine))) <= len(before)), held_by(pid_of(engine))


def test_a_detached_exec_may_say_much(engine: Engine) -> None:
    id = run(engine, "loud")
    before = held_by(pid_of(engine))
    with events(engine) as told:
        command = ["head", "-c", "1000000", "/dev/zero"]
        _, made = call(engine, "POST", "/containers/loud/exec", {"Cmd": command, "AttachStdout": True})
        call(engine, "POST", f"/exec/{made['Id']}/start", {"Detach": True})
        assert await_event(told, "exec_die", id)["Actor"]["Attributes"]["exitCode"] == "0"
    assert eventually(lambda: len(held_by(pid_of(engine))) <= len(before)), held_by(pid_of(engine))


def test_the_end_of_the_daemon_ends_streams_at_once(engine: Engine) -> None:
    run(engine, "talker", "sh", "-c", "while echo tick; do sleep 0.05; done", OpenStdin=True)
    docker = Client("docker", engine)
    clients = [docker.spawn(*words) for words in STREAMS]
    names = {"container_logs", "container_attach", "exec_start", "system_events"}
    assert eventually(lambda: names <= set(running_jobs(engine)))
    said = len(engine.log.read_text())
    began = time.monotonic()
    engine.stop()
    assert time.monotonic() - began < 3
    for client in clients:
        client.communicate(timeout=10)
    assert "Traceback" not in engine.log.read_text()[said:]
    engine.start()
    assert state_of(engine, "talker")["Running"] is True


def test_two_hundred_execs_at_once(engine: Engine) -> None:
    """None fails, each has its own output and exit code, and none leaves anything behind."""
    run(engine, "busy")
    before = held_by(pid_of(engine))
    with ThreadPoolExecutor(200) as threads:
        answers = list(threads.map(lambda n: exec_in(engine, "busy", f"echo {n}; exit {n % 100}"), range(200)))
    assert answers == [(str(n), n % 100) for n in range(200)]
    assert exec_in(engine, "busy", "ps -o comm") == ("COMMAND\nsleep\nps", 0)
    assert engine.get("/containers/busy/json")["ExecIDs"] is None
    assert eventually(lambda: not kinds(held_by(pid_of(engine))) - kinds(before))
    assert not list((engine.exec_root / "runtime/containers").glob("*/exec/*"))


def kinds(ways: list[str]) -> Counter[str]:
    """The number of each kind, with socket and pipe numbers dropped."""
    return Counter(way.partition(":[")[0] for way in ways)


def exec_in(engine: Engine, name: str, script: str) -> tuple[str, int]:
    """Output and exit code of a shell command; the stream is raw as with a TTY, though it has none."""
    status, made = call(
        engine, "POST", f"/containers/{name}/exec", {"Cmd": ["sh", "-c", script], "AttachStdout": True}
    )
    assert status == 201, made
    status, said = engine.request("POST", f"/exec/{made['Id']}/start", {"Tty": True})
    assert status == 200, said
    return said.decode().strip(), engine.get(f"/exec/{made['Id']}/json")["ExitCode"]


def test_random_lives_by_several_clients_answer_as_the_model_does(engine: Engine) -> None:
    shapes: list[dict[str, Any]] = [
        {"Image": "busybox:test", "Cmd": ["sleep", "1000"]},
        {"Image": "busybox:test", "Cmd": ["false"], "HostConfig": {"RestartPolicy": {"Name": "always"}}},
        {"Image": "busybox:test", "Cmd": ["sleep", "0.1"], "HostConfig": {"AutoRemove": True}},
    ]
    voyages = [Voyage(partial(call, engine), f"client{number}", 20261126, shapes) for number in range(4)]
    with ThreadPoolExecutor(len(voyages)) as threads:
        for done in [threads.submit(voyage.run, 40) for voyage in voyages]:
            done.result(200)
    assert [mistake for voyage in voyages for mistake in voyage.mistakes] == []
    engine.remove_containers()
    assert eventually(lambda: engine.get("/containers/json?all=1") == [])
    assert eventually(lambda: list((engine.exec_root / "bundles").iterdir()) == [])
