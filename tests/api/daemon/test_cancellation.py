"""Work that is cancelled at each of its awaits in turn, as by a client that disconnects or a daemon that stops."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sampan import models
from sampan.daemon.container import CONTAINER_LABEL
from sampan.daemon.lifecycle import create, remove, start, wait
from sampan.daemon.streams import attach, exec, logs
from sampan.engine import Job
from sampan.errdefs import SampanError
from sampan.testing.memory_runtime import MemoryRuntime
from tests.api.daemon.in_process import InProcess, wait_until
from tests.api.daemon.networks import free_port

_PATIENCE_S = 1.0  # for work that never returns once it is idle
Work = Callable[[], Coroutine[Any, Any, Any]]


class CutOff:
    """Awaits `work`, and cancels the awaiting task when it suspends for the `at`th time."""

    def __init__(self, work: Coroutine[Any, Any, Any], at: int) -> None:
        self._work = work
        self._left = at

    @property
    def happened(self) -> bool:
        return self._left <= 0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._work.__await__()
        resume: Callable[[Any], Any] = steps.send
        given: Any = None
        while True:
            try:
                awaited = resume(given)
            except StopIteration as end:
                return end.value
            self._left -= 1
            if self._left == 0:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                resume, given = steps.send, (yield awaited)
            except BaseException as error:  # rethrow into `work` what its await raised
                resume, given = steps.throw, error


def cut_off(house: InProcess, work: Work, at: int) -> bool:
    """Whether `work` reached its `at`th await, where it was cancelled."""

    async def run() -> bool:
        cut = CutOff(work(), at)
        with contextlib.suppress(asyncio.CancelledError, TimeoutError, ConnectionError, SampanError):
            await asyncio.wait_for(_await(cut), _PATIENCE_S)
        return cut.happened

    return house.run(run())


async def _await(cut: CutOff) -> Any:
    return await cut


class Caller:
    """`Streams` and `Output` of a client that sends nothing and suspends at each write."""

    async def accept(self, *, multiplexed: bool) -> None:
        await asyncio.sleep(0)

    async def open(self) -> None:
        await asyncio.sleep(0)

    async def read(self) -> bytes:
        never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        return await never

    async def write(self, *said: Any) -> None:
        await asyncio.sleep(0)


def job(name: str, request: Any) -> Job[Any]:
    caller: Any = Caller()
    return Job(name, request, streams=caller, output=caller)


def assert_usable(house: InProcess, name: str) -> None:
    """The container, if it still exists, can be started and removed; then nothing is left of it."""
    if house.call("GET", f"/containers/{name}/json").status == 200:
        assert house.call("POST", f"/containers/{name}/start").status in (204, 304, 409)
        assert house.call("DELETE", f"/containers/{name}?force=1&v=1").status == 204
    assert_nothing_held(house)


def assert_nothing_held(house: InProcess) -> None:
    """Containers' resources are released, though perhaps shortly after their exit is reported."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not held(house))
    assert held(house) == {}


def held(house: InProcess) -> dict[str, Any]:
    """The host resources that containers hold. An anonymous volume may remain, as with Docker; a prune removes it."""
    place = house.root
    things = {
        "containers": house.ps(),
        "runtime": house.runtime.list(),
        "cgroups": list(house.resources.list()),
        "interfaces": list(house.network.list().endpoints),
        "ports": list(house.network.published()),
        "snapshots": [one.name for one in house.storage.list() if CONTAINER_LABEL in one.labels],
        "endpoints": _rows(house, "endpoints"),
        "addresses": _rows(house, "addresses"),
        "bundles": [entry.name for entry in (place / "exec/bundles").iterdir()],
        "directories": [entry.name for entry in (place / "data/containers").iterdir()],
    }
    return {kind: found for kind, found in things.items() if found}


def _rows(house: InProcess, table: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(house.root / "data/state.db")) as database:
        return database.execute(f"SELECT * FROM {table}").fetchall()


FIELDS: dict[str, Any] = {
    "Image": "keeper:1",  # with a volume
    "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": str(free_port())}]}},
}


def made(house: InProcess) -> Work:
    body = models.CreateContainerBody.model_validate({**FIELDS, "Cmd": ["sleep", "infinity"]})
    config = models.ContainerConfig.model_construct(
        **{one: getattr(body, one) for one in models.ContainerConfig.model_fields}
    )
    request = models.CreateContainer(name="web", config=config, host_config=body.host_config)
    return lambda: create.container_create(house.daemon, job("container_create", request))


def started(house: InProcess) -> Work:
    house.create(name="web", **FIELDS)
    return lambda: start.container_start(house.daemon, job("container_start", models.StartContainer(name="web")))


def removed(house: InProcess) -> Work:
    house.launch(name="web", **FIELDS)
    request = models.RemoveContainer(name="web", force=True, volumes=True)
    return lambda: remove.container_remove(house.daemon, job("container_remove", request))


@pytest.mark.parametrize("prepare", [made, started, removed])
def test_a_daemon_that_ends_in_the_middle_of_a_change_is_followed_by_one_that_leaves_nothing(
    house: InProcess, prepare: Callable[[InProcess], Work]
) -> None:
    at = 1
    while cut_off(house, prepare(house), at):
        house.stop()
        house.start()
        assert_usable(house, "web")
        at += 1


def attached(house: InProcess) -> Work:
    request = models.AttachContainer(name="box", stdin=True, stdout=True, stream=True, logs=True)
    return lambda: attach.container_attach(house.daemon, job("container_attach", request))


def followed(house: InProcess) -> Work:
    request = models.ContainerLogs(name="box", stdout=True, follow=True)
    return lambda: logs.container_logs(house.daemon, job("container_logs", request))


def awaited(house: InProcess) -> Work:
    return lambda: wait.container_wait(house.daemon, job("container_wait", models.WaitContainer(name="box")))


def executed(house: InProcess) -> Work:
    body = {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}
    id = house.call("POST", "/containers/box/exec", body).body["Id"]
    return lambda: exec.exec_start(house.daemon, job("exec_start", models.StartExec(id=id)))


@pytest.mark.parametrize("prepare", [attached, followed, awaited, executed])
@pytest.mark.parametrize("make", [InProcess.create, InProcess.launch])
def test_a_stream_whose_client_goes_leaves_nobody_attached(
    house: InProcess, make: Callable[..., str], prepare: Callable[[InProcess], Work]
) -> None:
    if (prepare, make) == (executed, InProcess.create):
        pytest.skip("an exec needs a container that runs")
    id = make(house, "sh", "-c", "echo one; echo two; cat", name="box", OpenStdin=True)
    container = house.daemon.containers.get(id)
    at, goes_on = 0, True
    while goes_on:
        at += 1
        goes_on = cut_off(house, prepare(house), at)
        wait_until(lambda: not container.awaiting_start)
        wait_until(lambda: house.runtime.attached(id) == 0)


class SlowStart(MemoryRuntime):
    """A runtime whose `start` blocks on the test after init has been released."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go, self.go_on = asyncio.Event(), asyncio.Event()

    async def start(self, id: str) -> None:
        await super().start(id)
        self.let_go.set()
        await self.go_on.wait()


def test_who_attaches_between_the_start_and_its_end_is_attached(house: InProcess) -> None:
    runtime = house.runtime = house.daemon.runtime = SlowStart()
    id = house.create("cat", name="box", OpenStdin=True)
    with ThreadPoolExecutor(1) as thread:
        starting = thread.submit(house.call, "POST", "/containers/box/start")
        house.run(runtime.let_go.wait())
        with house.hijacked("/containers/box/attach?stream=1&stdin=1&stdout=1") as raw:
            assert raw.status == 101
            raw.send(b"early")
            house.run(_call(runtime.go_on.set))
            assert starting.result(30).status == 204
            assert raw.frame() == (1, b"early")
    wait_until(lambda: runtime.attached(id) == 0)


async def _call(function: Callable[[], None]) -> None:
    function()
