"""Attach, exec and logs: bytes both ways, half-close, detach keys, and clients that disconnect."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import InProcess, frames, wait_until

ATTACH = "attach?stream=1&stdin=1&stdout=1&stderr=1"
INPUT: dict[str, Any] = {"OpenStdin": True, "StdinOnce": True}
TALK = ("sh", "-c", "echo out; echo err >&2; exit 3")


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house()


def exec_id(house: InProcess, container: str, *command: str, **fields: Any) -> str:
    body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **fields}
    answer = house.call("POST", f"/containers/{container}/exec", body)
    assert answer.status == 201, answer
    return str(answer.body["Id"])


def test_who_attaches_before_the_start_misses_nothing(shared: InProcess) -> None:
    id = shared.create(*TALK)
    with shared.hijacked(f"/containers/{id}/{ATTACH}") as raw:
        assert (raw.status, raw.headers["content-type"]) == (101, "application/vnd.docker.multiplexed-stream")
        shared.call("POST", f"/containers/{id}/start")
        assert [raw.frame(), raw.frame(), raw.frame()] == [(1, b"out\n"), (2, b"err\n"), None]


def test_input_ends_with_the_clients_half_close_and_output_comes_after_it(shared: InProcess) -> None:
    id = shared.launch("cat", **INPUT)
    with shared.hijacked(f"/containers/{id}/{ATTACH}") as raw:
        raw.send(b"over and ")
        assert raw.frame() == (1, b"over and ")
        raw.send(b"out")
        raw.half_close()
        assert [raw.frame(), raw.frame()] == [(1, b"out"), None]
    assert shared.call("POST", f"/containers/{id}/wait").body == {"StatusCode": 0}


def test_only_the_streams_that_were_asked_for_come(shared: InProcess) -> None:
    id = shared.create(*TALK)
    with shared.hijacked(f"/containers/{id}/attach?stream=1&stderr=1") as raw:
        shared.call("POST", f"/containers/{id}/start")
        assert [raw.frame(), raw.frame()] == [(2, b"err\n"), None]


def test_a_terminal_is_a_raw_stream_and_its_detach_keys_leave_it_running(shared: InProcess) -> None:
    id = shared.launch("cat", Tty=True, OpenStdin=True)
    with shared.hijacked(f"/containers/{id}/{ATTACH}&detachKeys=ctrl-a,b") as raw:
        assert raw.headers["content-type"] == "application/vnd.docker.raw-stream"
        raw.send(b"hi\n")
        assert raw.read(4) == b"hi\r\n"
        raw.send(b"\x01")
        raw.send(b"b")
        assert raw.read().replace(b"hi\r\n", b"") == b""
    assert shared.state(id)["Running"]


def test_attach_replays_the_log_if_asked_to(shared: InProcess) -> None:
    id = shared.finish(*TALK)
    with shared.hijacked(f"/containers/{id}/attach?logs=1&stdout=1&stderr=1") as raw:
        assert sorted([raw.frame() or (0, b""), raw.frame() or (0, b"")]) == [(1, b"out\n"), (2, b"err\n")]
        assert raw.frame() is None


def test_an_attach_that_waits_for_a_start_ends_with_the_container(shared: InProcess) -> None:
    id = shared.create("true")
    with shared.hijacked(f"/containers/{id}/{ATTACH}") as raw:
        shared.call("DELETE", f"/containers/{id}")
        assert raw.frame() is None


def test_an_attach_to_a_start_that_fails_ends(shared: InProcess) -> None:
    id = shared.create("nosuch")
    with shared.hijacked(f"/containers/{id}/{ATTACH}") as raw:
        assert shared.call("POST", f"/containers/{id}/start").status == 400
        assert raw.frame() is None


def test_a_client_that_goes_away_leaves_the_container_and_its_job_ends(shared: InProcess) -> None:
    id = shared.launch()
    with shared.hijacked(f"/containers/{id}/{ATTACH}") as raw:
        job = raw.headers["sampan-job"]
        assert shared.call("GET", f"/jobs/{job}").body["State"] == "running"
    wait_until(lambda: shared.call("GET", f"/jobs/{job}").body["State"] != "running")
    assert shared.state(id)["Running"]


def test_an_exec_has_streams_and_a_code_of_its_own(shared: InProcess) -> None:
    id = shared.launch()
    one = exec_id(shared, id, *TALK)
    assert shared.call("GET", f"/exec/{one}/json").body["ExitCode"] is None
    with shared.hijacked(f"/exec/{one}/start", {}) as raw:
        assert [raw.frame(), raw.frame(), raw.frame()] == [(1, b"out\n"), (2, b"err\n"), None]
    told = shared.call("GET", f"/exec/{one}/json").body
    assert (told["ExitCode"], told["Running"], told["ContainerID"]) == (3, False, id)
    assert told["ProcessConfig"]["entrypoint"] == "sh"


def test_an_exec_takes_input_to_its_end(shared: InProcess) -> None:
    one = exec_id(shared, shared.launch(), "cat", AttachStdin=True)
    with shared.hijacked(f"/exec/{one}/start", {}) as raw:
        raw.send(b"in")
        raw.half_close()
        assert [raw.frame(), raw.frame()] == [(1, b"in"), None]


def test_an_exec_has_the_containers_environment_and_its_own(shared: InProcess) -> None:
    one = exec_id(shared, shared.launch(Env=["A=1", "B=1"]), "env", Env=["B=2"])
    with shared.hijacked(f"/exec/{one}/start", {}) as raw:
        _, output = raw.frame() or (0, b"")
    lines = output.decode().splitlines()
    assert {"A=1", "B=2", "PATH=/bin"} <= set(lines)
    assert "B=1" not in lines


def test_a_command_that_an_exec_cannot_start_is_told_on_its_stream(shared: InProcess) -> None:
    one = exec_id(shared, shared.launch(), "nosuch")
    with shared.hijacked(f"/exec/{one}/start", {}) as raw:
        stream, said = raw.frame() or (0, b"")
        assert stream == 1
        assert b'exec: "nosuch": executable file not found in $PATH' in said
        assert said.endswith(b"\r\n")
        assert raw.frame() is None
    assert shared.call("GET", f"/exec/{one}/json").body["ExitCode"] == 127


def test_a_detached_exec_that_cannot_start_is_an_http_error(shared: InProcess) -> None:
    one = exec_id(shared, shared.launch(), "nosuch")
    answer = shared.call("POST", f"/exec/{one}/start", {"Detach": True})
    assert answer.status == 400
    assert "executable file not found" in answer.message


def test_an_exec_runs_once(shared: InProcess) -> None:
    one = exec_id(shared, shared.launch(), "sleep", "infinity")
    assert shared.call("POST", f"/exec/{one}/start", {"Detach": True}).status == 200
    answer = shared.call("POST", f"/exec/{one}/start", {"Detach": True})
    assert (answer.status, answer.message) == (409, f"exec command {one} is already running")
    other = exec_id(shared, shared.launch(), "true")
    with shared.hijacked(f"/exec/{other}/start", {}) as raw:
        raw.read()
    answer = shared.call("POST", f"/exec/{other}/start", {"Detach": True})
    assert (answer.status, answer.message) == (409, f"exec command {other} has already run")


def test_an_exec_of_a_container_that_ended_meanwhile_does_not_start(shared: InProcess) -> None:
    id = shared.launch()
    one = exec_id(shared, id, "true")
    shared.call("POST", f"/containers/{id}/kill")
    answer = shared.call("POST", f"/exec/{one}/start", {})
    assert (answer.status, answer.message) == (404, f"No such exec instance: {one}")


def test_an_exec_goes_with_its_container(shared: InProcess) -> None:
    id = shared.launch()
    one = exec_id(shared, id, "true")
    assert shared.call("DELETE", f"/containers/{id}?force=1").status == 204
    assert shared.call("GET", f"/exec/{one}/json").status == 404


def test_a_client_that_goes_away_during_the_start_of_an_exec_leaves_a_whole_one(
    shared: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting, go_on, start = threading.Event(), threading.Event(), shared.runtime.exec

    async def held(*args: Any, **kwargs: Any) -> Any:
        starting.set()
        await asyncio.to_thread(go_on.wait, 30)
        return await start(*args, **kwargs)

    monkeypatch.setattr(shared.runtime, "exec", held)
    one = exec_id(shared, shared.launch(), "sleep", "infinity")
    with shared.hijacked(f"/exec/{one}/start", {}):
        assert starting.wait(10)
    go_on.set()
    wait_until(lambda: bool(shared.call("GET", f"/exec/{one}/json").body["Running"]))


def test_inspect_names_the_execs_that_run(shared: InProcess) -> None:
    id = shared.launch()
    one, _ = exec_id(shared, id, "sleep", "infinity"), exec_id(shared, id, "true")
    shared.call("POST", f"/exec/{one}/start", {"Detach": True})
    assert shared.call("GET", f"/containers/{id}/json").body["ExecIDs"] == [one]


def test_only_a_terminal_is_resized(shared: InProcess) -> None:
    with_terminal, without = shared.launch(Tty=True), shared.launch()
    assert shared.call("POST", f"/containers/{with_terminal}/resize?h=30&w=100").status == 200
    assert shared.runtime.window_size(with_terminal) == (30, 100)
    assert shared.call("POST", f"/containers/{without}/resize?h=30&w=100").status == 200  # as with Docker
    one = exec_id(shared, without, "cat", Tty=True, AttachStdin=True)
    assert shared.call("POST", f"/exec/{one}/resize?h=1&w=1").status == 409
    with shared.hijacked(f"/exec/{one}/start", {"Tty": True}):
        wait_until(lambda: bool(shared.call("GET", f"/exec/{one}/json").body["Running"]))
        assert shared.call("POST", f"/exec/{one}/resize?h=1&w=1").status == 200
    plain = exec_id(shared, without, "sleep", "infinity")
    shared.call("POST", f"/exec/{plain}/start", {"Detach": True})
    assert shared.call("POST", f"/exec/{plain}/resize?h=1&w=1").status == 200


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("stdout=1&stderr=1", [(1, b"out\n"), (2, b"err\n")]),
        ("stdout=1", [(1, b"out\n")]),
        ("stdout=1&stderr=1&tail=1", [(2, b"err\n")]),
        ("stdout=1&tail=0", []),
        ("stdout=1&until=1", []),
        ("stdout=1&since=4000000000", []),
    ],
)
def test_logs_are_kept_and_chosen_from(shared: InProcess, query: str, expected: list[tuple[int, bytes]]) -> None:
    id = shared.finish(*TALK)
    assert frames(shared.call("GET", f"/containers/{id}/logs?{query}").body) == expected


def test_logs_are_followed_until_the_container_ends(shared: InProcess) -> None:
    id = shared.launch("cat", OpenStdin=True)
    with shared.opened("GET", f"/containers/{id}/logs?stdout=1&follow=1") as logs:
        with shared.hijacked(f"/containers/{id}/{ATTACH}") as raw:
            raw.send(b"one\n")
            assert logs.read(12) == b"\x01\0\0\0\0\0\0\x04one\n"
        assert shared.call("POST", f"/containers/{id}/kill").status == 204
        assert logs.read() == b""
