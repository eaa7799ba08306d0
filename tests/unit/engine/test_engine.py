"""Each guarantee the engine makes."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from sampan.engine import (
    Caller,
    Engine,
    EngineState,
    Handler,
    Job,
    JobFilter,
    JobHook,
    JobState,
    Limits,
    Serial,
    idle,
)
from sampan.errdefs import Cancelled, Conflict, Forbidden, InvalidArgument, NotFound, Unavailable, Unsupported


@dataclass(frozen=True)
class Request:
    name: str = ""


class Gate:
    """A handler that blocks until released, and records who entered and who left."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.entered: list[str] = []
        self.left: list[str] = []
        self.changed = asyncio.Condition()

    async def __call__(self, job: Job[Request]) -> str:
        await self._note(self.entered, job)
        await self.open.wait()
        await self._note(self.left, job)
        return f"done {job.request.name}"

    async def _note(self, list_: list[str], job: Job[Request]) -> None:
        async with self.changed:
            list_.append(job.request.name)
            self.changed.notify_all()

    async def wait_entered(self, count: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.entered) >= count)


def engine_with(*handlers: Handler, limits: Limits | None = None) -> Engine:
    engine = Engine(limits)
    for handler in handlers:
        engine.register(handler)
    engine.started()
    return engine


def run(engine: Engine, name: str = "work", request: str = "") -> asyncio.Task[Any]:
    return asyncio.create_task(engine.run(Job(name, Request(request))))


async def test_a_job_answers_its_handlers_result_and_is_remembered() -> None:
    gate = Gate()
    gate.open.set()
    engine = engine_with(Handler("work", Request, gate))
    job = Job("work", Request("a"), caller=Caller(uid=7))
    assert await engine.run(job) == "done a"
    assert engine.job(job.id) is job
    assert job.state is JobState.SUCCEEDED
    assert job.queued_at <= (job.started_at or 0) <= (job.ended_at or 0)


async def test_a_handlers_error_reaches_the_caller_and_fails_the_job() -> None:
    async def fail(job: Job[Request]) -> None:
        raise NotFound("No such thing: x")

    engine = engine_with(Handler("work", Request, fail))
    job = Job("work", Request())
    with pytest.raises(NotFound, match="No such thing: x"):
        await engine.run(job)
    assert job.state is JobState.FAILED
    assert isinstance(job.error, NotFound)


async def test_an_unknown_name_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="no job swim"):
        await engine_with().run(Job("swim", Request()))


async def test_a_request_of_another_type_is_refused() -> None:
    engine = engine_with(Handler("work", Request, Gate()))
    with pytest.raises(InvalidArgument, match="takes Request, not str"):
        await engine.run(Job("work", "not a request"))


async def test_a_name_registered_twice_is_a_conflict() -> None:
    engine = engine_with(Handler("work", Request, Gate()))
    with pytest.raises(Conflict):
        engine.register(Handler("work", Request, Gate()))


async def test_no_job_is_taken_before_the_engine_has_started() -> None:
    engine = Engine()
    engine.register(Handler("work", Request, Gate()))
    with pytest.raises(Unavailable, match="starting"):
        await engine.run(Job("work", Request()))


async def test_no_more_jobs_run_at_once_than_there_are_slots() -> None:
    gate = Gate()
    engine = engine_with(Handler("work", Request, gate), limits=Limits(running=2, queued=8))
    tasks = [run(engine, request=str(number)) for number in range(5)]
    await gate.wait_entered(2)
    states = sorted(job.state.value for job in engine.jobs())
    assert states == ["queued"] * 3 + ["running"] * 2
    gate.open.set()
    await asyncio.gather(*tasks)
    assert gate.entered == ["0", "1", "2", "3", "4"]


async def test_a_full_queue_refuses_at_once_and_says_when_to_try_again() -> None:
    gate = Gate()
    engine = engine_with(Handler("work", Request, gate), limits=Limits(running=1, queued=1))
    tasks = [run(engine, request="running"), run(engine, request="queued")]
    await gate.wait_entered(1)
    with pytest.raises(Unavailable) as refused:
        await engine.run(Job("work", Request("one too many")))
    assert refused.value.retry_after_s >= 1
    gate.open.set()
    await asyncio.gather(*tasks)
    assert await engine.run(Job("work", Request("later"))) == "done later"


async def test_a_job_without_a_slot_runs_though_the_queue_is_full() -> None:
    async def look(job: Job[Request]) -> str:
        return "seen"

    gate = Gate()
    engine = engine_with(
        Handler("work", Request, gate), Handler("look", Request, look, slot=False), limits=Limits(running=1, queued=0)
    )
    task = run(engine)
    await gate.wait_entered(1)
    assert await engine.run(Job("look", Request())) == "seen"
    gate.open.set()
    await task


class Keyed(Gate):
    """A gate that first takes the lock keyed by the request's name."""

    def __init__(self) -> None:
        super().__init__()
        self.serial = Serial()

    async def __call__(self, job: Job[Request]) -> str:
        async with self.serial.hold(job.request.name):
            return await super().__call__(job)


async def test_who_want_one_key_work_one_after_the_other_and_others_beside_them() -> None:
    gate = Keyed()
    engine = engine_with(Handler("work", Request, gate))
    tasks = [run(engine, request=name) for name in ("a", "a", "b")]
    await gate.wait_entered(2)
    assert sorted(gate.entered) == ["a", "b"]
    gate.open.set()
    await asyncio.gather(*tasks)
    assert sorted(gate.entered) == ["a", "a", "b"]
    assert len(gate.serial) == 0


async def test_who_wait_for_a_key_take_no_slot_and_no_place_in_the_queue() -> None:
    gate = Keyed()
    engine = engine_with(Handler("work", Request, gate), limits=Limits(running=2, queued=0))
    tasks = [run(engine, request="a")]
    await gate.wait_entered(1)
    for _ in range(3):
        tasks.append(run(engine, request="a"))
        await asyncio.sleep(0)
    tasks.append(run(engine, request="b"))
    await gate.wait_entered(2)
    assert gate.entered == ["a", "b"]
    with pytest.raises(Unavailable):
        await run(engine, request="c")
    gate.open.set()
    assert sorted(await asyncio.gather(*tasks)) == ["done a"] * 4 + ["done b"]
    assert await run(engine, request="c") == "done c"


async def test_who_is_cancelled_while_a_key_is_there_and_its_slot_is_not_holds_neither() -> None:
    serial, key_is_free, others = Serial(), asyncio.Event(), Gate()

    async def waiting(job: Job[Request]) -> None:
        async with serial.hold("a"):
            raise AssertionError("it had no slot")

    engine = engine_with(
        Handler("wait", Request, waiting, cancellable=True),
        Handler("work", Request, others),
        limits=Limits(running=1, queued=1),
    )

    async def hold_the_key() -> None:
        async with serial.hold("a"):
            await key_is_free.wait()

    holder = asyncio.create_task(hold_the_key())
    await asyncio.sleep(0)
    waiter = run(engine, "wait")
    worker = run(engine, "work")
    await others.wait_entered(1)
    key_is_free.set()
    await holder
    await asyncio.sleep(0)
    [job] = [job for job in engine.jobs() if job.name == "wait"]
    engine.cancel(job.id)
    with pytest.raises(Cancelled):
        await waiter
    assert len(serial) == 0
    others.open.set()
    assert await worker == "done "
    assert await run(engine, "work") == "done "


async def test_an_idle_job_lets_others_work_and_has_its_slot_again_afterwards() -> None:
    over = asyncio.Event()

    async def lazy(job: Job[Request]) -> str:
        async with idle():
            await over.wait()
        return "woken"

    gate = Gate()
    engine = engine_with(
        Handler("work", Request, gate), Handler("lazy", Request, lazy), limits=Limits(running=1, queued=0)
    )
    sleeper = run(engine, "lazy")
    await asyncio.sleep(0)
    worker = run(engine)
    await gate.wait_entered(1)
    over.set()
    with pytest.raises(Unavailable):
        await run(engine)
    gate.open.set()
    assert (await worker, await sleeper) == ("done ", "woken")
    assert await run(engine) == "done "


async def test_idleness_without_a_job_is_nothing() -> None:
    async with idle():
        pass


async def test_a_hook_that_takes_its_time_lets_no_job_into_a_draining_engine() -> None:
    class Slow(JobHook):
        async def authorise(self, job: Job[Any]) -> None:
            await asked.wait()

    asked, gate = asyncio.Event(), Gate()
    engine = engine_with(Handler("work", Request, gate))
    engine.hooks.append(Slow())
    task = run(engine)
    await asyncio.sleep(0)
    await engine.stop()
    asked.set()
    with pytest.raises(Unavailable, match="stopped"):
        await task
    assert gate.entered == []


async def test_a_caller_that_goes_away_leaves_its_job_running() -> None:
    gate = Gate()
    engine = engine_with(Handler("work", Request, gate))
    caller = run(engine)
    await gate.wait_entered(1)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    gate.open.set()
    await engine.stop()
    assert gate.left == [""]


async def test_a_change_can_be_cancelled_while_queued_but_not_while_running() -> None:
    gate = Gate()
    engine = engine_with(Handler("work", Request, gate), limits=Limits(running=1, queued=1))
    running, queued = run(engine, request="first"), run(engine, request="second")
    await gate.wait_entered(1)
    first, second = engine.jobs()
    with pytest.raises(Conflict):
        engine.cancel(first.id)
    engine.cancel(second.id)
    with pytest.raises(Cancelled):
        await queued
    assert second.state is JobState.CANCELLED
    gate.open.set()
    assert await running == "done first"


async def test_a_cancellable_job_ends_when_cancelled() -> None:
    gate = Gate()
    engine = engine_with(Handler("work", Request, gate, cancellable=True))
    task = run(engine)
    await gate.wait_entered(1)
    (job,) = engine.jobs()
    engine.cancel(job.id)
    with pytest.raises(Cancelled):
        await task
    assert job.state is JobState.CANCELLED
    with pytest.raises(NotFound):
        engine.cancel(job.id)


async def test_draining_waits_for_running_jobs_and_refuses_new_ones() -> None:
    gate = Gate()
    engine = engine_with(Handler("work", Request, gate))
    task = run(engine)
    await gate.wait_entered(1)
    stopping = asyncio.create_task(engine.stop(deadline_s=60))
    await asyncio.sleep(0)
    assert engine.state.value == "draining"
    with pytest.raises(Unavailable, match="draining"):
        await engine.run(Job("work", Request()))
    assert not stopping.done()
    gate.open.set()
    await stopping
    assert await task == "done "
    assert engine.state is EngineState.STOPPED


async def test_draining_ends_streams_at_once_and_late_jobs_at_the_deadline() -> None:
    stream, late = Gate(), Gate()
    engine = engine_with(
        Handler("stream", Request, stream, slot=False, cancellable=True), Handler("late", Request, late)
    )
    tasks = [run(engine, "stream"), run(engine, "late")]
    await stream.wait_entered(1)
    await late.wait_entered(1)
    await engine.stop(deadline_s=0.01)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Cancelled, Cancelled]
    assert stream.left == late.left == []


async def test_cleanups_run_in_reverse_order_after_the_jobs() -> None:
    order: list[str] = []

    def cleanup(name: str) -> Any:
        async def note() -> None:
            order.append(name)

        return note

    engine = engine_with()
    engine.on_stop(cleanup("first"))
    engine.on_stop(cleanup("second"))
    await engine.stop()
    assert order == ["second", "first"]


async def test_hooks_see_every_job_and_may_refuse_it() -> None:
    class Watch(JobHook):
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def authorise(self, job: Job[Any]) -> None:
            if job.request.name == "evil":
                raise Forbidden("not you")

        def started(self, job: Job[Any]) -> None:
            self.seen.append(f"+{job.request.name}")

        def finished(self, job: Job[Any]) -> None:
            self.seen.append(f"-{job.request.name} {job.state}")

    gate, watch = Gate(), Watch()
    gate.open.set()
    engine = engine_with(Handler("work", Request, gate))
    engine.hooks.append(watch)
    await engine.run(Job("work", Request("good")))
    with pytest.raises(Forbidden):
        await engine.run(Job("work", Request("evil")))
    assert watch.seen == ["+good", "-good succeeded"]


async def test_metrics_count_jobs_by_name_and_end() -> None:
    gate = Gate()
    gate.open.set()
    engine = engine_with(Handler("work", Request, gate))
    await engine.run(Job("work", Request()))
    text = engine.metrics.render().decode()
    assert 'sampan_jobs_total{job="work",state="succeeded"} 1.0' in text
    assert 'sampan_job_run_seconds_count{job="work"} 1.0' in text
    assert 'sampan_jobs_running{job="work"} 0.0' in text


async def test_a_jobs_id_is_in_the_log_lines_it_causes_also_from_worker_threads(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logging.getLogger("test")

    async def work(job: Job[Request]) -> None:
        log.warning("from the loop")
        await asyncio.to_thread(log.warning, "from a thread")

    caplog.handler.addFilter(JobFilter())
    job = Job("work", Request())
    await engine_with(Handler("work", Request, work)).run(job)
    assert [vars(record)["job"] for record in caplog.records if record.name == "test"] == [job.id, job.id]


async def test_a_jobs_id_is_in_the_line_that_tells_of_its_end(caplog: pytest.LogCaptureFixture) -> None:
    async def work(job: Job[Request]) -> None:
        raise Conflict("no")

    caplog.set_level(logging.DEBUG, "sampan")
    caplog.handler.addFilter(JobFilter())
    job = Job("work", Request())
    with pytest.raises(Conflict):
        await engine_with(Handler("work", Request, work)).run(job)
    lines = [(record.getMessage()[:9], vars(record)["job"]) for record in caplog.records]
    assert lines == [("+job work", job.id), ("-job work", job.id)]


async def test_a_blocking_handler_does_not_hold_up_the_loop() -> None:
    release = threading.Event()
    entered = asyncio.Event()
    loop = asyncio.get_running_loop()

    def block() -> None:
        loop.call_soon_threadsafe(entered.set)
        release.wait()

    async def work(job: Job[Request]) -> None:
        await asyncio.to_thread(block)

    engine = engine_with(Handler("work", Request, work))
    task = run(engine)
    await entered.wait()  # the loop keeps running while the handler blocks
    assert not task.done()
    release.set()
    await task
