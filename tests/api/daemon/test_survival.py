"""Successive daemons over the same database, drivers and running containers."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from sampan.daemon.container import Container, Record, State, Status
from sampan.errdefs import InvalidArgument, NotFound, SystemFailure
from sampan.network.controller import NetworkController
from tests.api.daemon.in_process import InProcess, wait_until


def restart(house: InProcess) -> None:
    house.stop()
    house.start()


def test_everything_is_found_again(house: InProcess) -> None:
    running = house.launch("cat", name="runs", OpenStdin=True, HostConfig={"Binds": ["kept:/kept"]})
    house.finish("sh", "-c", "echo said; exit 3", name="ended")
    house.create("true", name="made")
    before = {name: house.call("GET", f"/containers/{name}/json").body for name in ("runs", "ended", "made")}
    restart(house)
    for name, told in before.items():
        assert house.call("GET", f"/containers/{name}/json").body == told
    assert house.call("GET", "/volumes/kept").status == 200
    assert house.call("GET", "/containers/ended/logs?stdout=1").body.endswith(b"said\n")
    with house.hijacked(f"/containers/{running}/attach?stream=1&stdin=1&stdout=1") as raw:
        raw.send(b"still here")
        assert raw.frame() == (1, b"still here")
    assert house.call("POST", "/containers/runs/kill").status == 204
    assert house.state("runs")["ExitCode"] == 137


def test_an_end_while_no_daemon_ran_is_known(house: InProcess) -> None:
    id = house.launch(name="web")
    house.stop()
    house.run(house.runtime.kill(id, 15))
    house.start()
    assert house.call("POST", "/containers/web/wait").body == {"StatusCode": 143}
    state = house.state("web")
    assert (state["Status"], state["ExitCode"]) == ("exited", 143)
    wait_until(lambda: house.runtime.list() == [])


def test_an_update_that_was_recorded_and_not_done_is_done_by_the_next_daemon(
    house: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = house.launch(name="web", HostConfig={"PidsLimit": 50, "PsiAlerts": ["io:some:10ms/1s"]})

    def die(*_: object) -> None:
        """Fail, and drop later `try_save`s, as if the daemon were dead."""
        monkeypatch.setattr(house.daemon.containers, "try_save", lambda container: asyncio.sleep(0))
        raise SystemFailure("dead")

    with monkeypatch.context() as patched:
        patched.setattr(house.resources, "update", die)
        assert house.call("POST", "/containers/web/update", {"PidsLimit": 20}).status == 500
    assert house.resources.resources(id).pids_max == 50
    restart(house)
    assert house.resources.resources(id).pids_max == 20
    assert house.resources.resources(id).pressure_alerts
    assert house.call("GET", "/containers/web/json").body["HostConfig"]["PidsLimit"] == 20


def test_what_a_commit_had_paused_goes_on_with_the_next_daemon(
    house: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed, by_user = house.launch(name="committed"), house.launch(name="by-user")
    house.launch(name="about-to-be")
    assert house.call("POST", "/containers/by-user/pause").status == 204

    def die(*_: object) -> None:
        """Fail, and drop later `try_save`s, as if the daemon were dead."""
        monkeypatch.setattr(house.daemon.containers, "try_save", lambda container: asyncio.sleep(0))
        raise SystemFailure("dead")

    with monkeypatch.context() as patched:
        patched.setattr(house.daemon.images, "commit", die)
        patched.setattr(house.resources, "thaw", die)
        assert house.call("POST", "/commit?container=committed").status == 500
        patched.setattr(house.resources, "freeze", die)
        assert house.call("POST", "/commit?container=about-to-be").status == 500
    assert house.resources.is_frozen(committed)
    restart(house)
    assert not house.resources.is_frozen(committed)
    statuses = [house.state(name)["Status"] for name in ("committed", "about-to-be", "by-user")]
    assert statuses == ["running", "running", "paused"]
    assert house.call("POST", "/containers/committed/pause").status == 204
    restart(house)
    assert house.state("committed")["Status"] == "paused"
    assert house.resources.is_frozen(by_user)


def test_a_container_whose_limits_are_refused_after_a_restart_is_looked_after_all_the_same(
    house: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise InvalidArgument("can't set pids.max")

    house.launch(name="web", HostConfig={"PidsLimit": 50})
    monkeypatch.setattr(house.resources, "update", refuse)
    restart(house)
    assert house.call("POST", "/containers/web/kill").status == 204
    assert house.call("POST", "/containers/web/wait").body == {"StatusCode": 137}


def test_an_end_that_was_seen_is_known_though_the_runtime_has_forgotten_it(house: InProcess) -> None:
    with killed_before(house, "delete", of="runtime"):
        house.finish("sh", "-c", "exit 3", name="web")
        finished_at = house.state("web")["FinishedAt"]
    state = house.state("web")
    assert (state["Status"], state["ExitCode"], state["FinishedAt"]) == ("exited", 3, finished_at)


def test_one_that_ends_while_it_is_taken_over_has_ended(house: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    id = house.launch(name="web")
    house.stop()

    def find_nobody(controller: NetworkController, container_id: str, pid: int) -> None:
        raise NotFound(f"container {container_id} has no network namespace: process {pid} is gone")

    monkeypatch.setattr(NetworkController, "adopt_sandbox", find_nobody)
    house.start()
    house.run(house.runtime.kill(id, 9))
    wait_until(lambda: house.state("web")["Status"] == "exited")
    assert house.state("web")["ExitCode"] == 137


def test_an_end_that_nobody_saw_is_255(house: InProcess) -> None:
    id = house.launch(name="web")
    house.stop()
    house.run(house.runtime.delete(id))  # as after a reboot
    house.start()
    state = house.state("web")
    assert (state["Status"], state["ExitCode"]) == ("exited", 255)
    assert house.call("POST", "/containers/web/start").status == 204


@pytest.mark.parametrize(
    ("policy", "stopped", "runs"),
    [
        ("no", False, False),
        ("always", False, True),
        ("always", True, True),
        ("unless-stopped", False, True),
        ("unless-stopped", True, False),
        ("on-failure", False, True),
        ("on-failure", True, False),
    ],
)
def test_policies_decide_what_runs_after_a_reboot(house: InProcess, policy: str, stopped: bool, runs: bool) -> None:
    id = house.launch(name="web", HostConfig={"RestartPolicy": {"Name": policy}})
    if stopped:
        house.call("POST", "/containers/web/stop")
    house.stop()
    house.run(house.runtime.delete(id))
    house.start()
    house.run(_until_quiet(house))
    assert house.state("web")["Running"] is runs


def test_an_end_is_recorded_before_anybody_is_told_of_it(house: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    id = house.launch(name="web", HostConfig={"RestartPolicy": {"Name": "unless-stopped"}})
    exited, save, told = house.daemon.containers.get(id).next_exit, house.daemon.containers.save, []

    async def note_and_save(container: Container) -> None:
        told.append(exited.is_set())
        await save(container)

    monkeypatch.setattr(house.daemon.containers, "save", note_and_save)
    assert house.call("POST", "/containers/web/stop").status == 204
    assert told and not any(told)
    assert _recorded(house, id).status is Status.EXITED


@pytest.mark.parametrize("path", ["stop", "kill", "kill?signal=TERM"])
def test_a_daemon_that_dies_between_the_wish_and_the_end_has_recorded_the_wish(
    house: InProcess, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    id = house.launch(name="web", HostConfig={"RestartPolicy": {"Name": "unless-stopped"}})

    async def die(*_: object) -> None:
        raise SystemFailure("dead")

    with monkeypatch.context() as patched:
        patched.setattr(house.daemon.runtime, "kill", die)
        assert house.call("POST", f"/containers/web/{path}").status == 500
    assert _recorded(house, id).stopped_by_user


async def _until_quiet(house: InProcess) -> None:
    """Wait until no restart is pending, or a container runs."""
    while pending := [task for task in asyncio.all_tasks() if task.get_name().startswith("restart ")]:
        if any(container.state.status is Status.RUNNING for container in house.daemon.containers):
            return
        await asyncio.wait(pending, timeout=0.01)


def test_what_was_half_removed_goes(house: InProcess) -> None:
    house.create("true", name="half")
    [container] = house.daemon.containers
    house.stop()
    container.state.status = Status.REMOVING
    house.storage.remove(container.id)
    _write_state(house, container.record.model_dump_json(), container.id)
    house.start()
    assert house.ps() == []


@pytest.mark.parametrize("volumes", [0, 1])
def test_a_removal_that_was_broken_off_takes_the_volumes_it_was_to_take(house: InProcess, volumes: int) -> None:
    id = house.create("true", Volumes={"/data": {}}, HostConfig={"Binds": ["named:/named"]})
    with killed_before(house, "delete"):
        assert house.call("DELETE", f"/containers/{id}?v={volumes}").status == 204
    assert house.ps() == []
    assert len(_volumes(house) - {"named"}) == 1 - volumes
    assert "named" in _volumes(house)


def test_a_volume_that_its_container_left_behind_for_a_moment_goes(house: InProcess) -> None:
    id = house.create("true", Volumes={"/data": {}})
    with killed_before(house, "remove", of="volumes"):
        assert house.call("DELETE", f"/containers/{id}?v=1").status == 204
    assert _volumes(house) == set()


def test_a_creation_that_was_broken_off_leaves_no_volume(house: InProcess) -> None:
    house.call("POST", "/volumes/create", {"Name": "before"})
    with killed_before(house, "add"):
        house.create("true", Volumes={"/data": {}}, HostConfig={"Binds": ["before:/before", "new:/new"]})
    assert house.ps() == []
    assert _volumes(house) == {"before"}


def test_a_volume_that_somebody_else_has_got_stays(house: InProcess) -> None:
    with killed_before(house, "add"):
        house.create("true", name="first", HostConfig={"Binds": ["shared:/data"]})
    id = house.create("true", name="second", HostConfig={"Binds": ["shared:/data"]})
    house.run(house.daemon.database.write(house.daemon.volumes.owned(["shared"], "0" * 64)))
    restart(house)
    assert _volumes(house) == {"shared"}
    assert house.call("DELETE", f"/containers/{id}").status == 204
    restart(house)
    assert _volumes(house) == {"shared"}


def test_what_nobody_owns_goes(house: InProcess) -> None:
    id = house.launch(name="lost")
    house.stop()
    _forget(house, id)
    house.start()
    assert house.ps() == []
    assert house.runtime.list() == []
    assert list(house.resources.list()) == []
    assert [snapshot for snapshot in house.storage.list() if snapshot.labels] == []
    assert list((house.root / "data/containers").iterdir()) == []
    assert list((house.root / "exec/bundles").iterdir()) == []


def test_a_record_that_cannot_be_read_is_a_dead_container_until_it_is_removed(house: InProcess) -> None:
    broken, _ = house.create("true", name="broken"), house.create("true", name="sound")
    house.stop()
    _write_state(house, "{", broken)
    house.start()
    assert set(house.ps()) == {"broken", "sound"}
    state = house.state("broken")
    assert (state["Status"], state["Dead"]) == ("dead", True)
    assert "can't be read" in state["Error"]
    assert house.call("POST", "/containers/broken/start").status == 409
    assert house.call("DELETE", "/containers/broken").status == 204
    assert house.call("POST", "/containers/sound/start").status == 204


def test_a_stream_ends_with_the_daemon_and_the_container_does_not(house: InProcess) -> None:
    id = house.launch(name="web")
    with house.opened("GET", "/containers/web/logs?stdout=1&follow=1") as logs:
        house.stop()
        logs.read()
    assert house.runtime.list() == [id]
    house.start()
    assert house.state("web")["Running"]


def test_a_stopping_daemon_refuses_new_work(house: InProcess) -> None:
    house.run(house.engine.stop(0.1))
    answer = house.call("GET", "/info")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert house.call("GET", "/_ping").status == 200


@contextmanager
def killed_before(house: InProcess, step: str, *, of: str = "containers") -> Iterator[None]:
    """Afterwards the next daemon finds the state from when `step` was called, as if the last one was killed there."""
    part = getattr(house.daemon, of)
    undisturbed = getattr(part, step)
    data, kept = house.root / "data", house.root / "kept"
    reached = threading.Event()

    async def stepping(*args: Any, **more: Any) -> Any:
        shutil.copytree(data / "volumes", kept / "volumes")
        with closing(sqlite3.connect(data / "state.db")) as now, closing(sqlite3.connect(kept / "state.db")) as then:
            now.backup(then)
        reached.set()
        return await undisturbed(*args, **more)

    setattr(part, step, stepping)
    yield
    assert reached.wait(10)
    setattr(part, step, undisturbed)
    house.stop()
    for left in data.glob("state.db-*"):
        left.unlink()
    shutil.rmtree(data / "volumes")
    for path in kept.iterdir():
        path.rename(data / path.name)
    house.start()


def _volumes(house: InProcess) -> set[str]:
    return {one["Name"] for one in house.call("GET", "/volumes").body["Volumes"]}


def _change(house: InProcess, statement: str, *values: Any) -> None:
    connection = sqlite3.connect(house.root / "data/state.db")
    with connection:
        connection.execute(statement, values)
    connection.close()


def _recorded(house: InProcess, id: str) -> State:
    with closing(sqlite3.connect(house.root / "data/state.db")) as database:
        (document,) = database.execute("SELECT document FROM containers WHERE id = ?", (id,)).fetchone()
    return Record.model_validate_json(document).state


def _write_state(house: InProcess, document: str, id: str) -> None:
    _change(house, "UPDATE containers SET document = ? WHERE id = ?", document, id)


def _forget(house: InProcess, id: str) -> None:
    _change(house, "DELETE FROM containers WHERE id = ?", id)
