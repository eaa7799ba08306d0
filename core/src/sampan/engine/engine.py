"""The Engine: a table of handlers, and one way to run every job. It knows only the names and lifetimes of jobs."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from sampan.engine.hooks import JobHook
from sampan.engine.job import Job, JobState
from sampan.engine.log import JobLog, current_job_id
from sampan.engine.metrics import Metrics
from sampan.engine.serial import Serial
from sampan.engine.slots import Limits, Slots
from sampan.errdefs import Cancelled, Conflict, InvalidArgument, NotFound, Unavailable, Unsupported

_log = logging.getLogger(__name__)
_REMEMBERED_JOBS = 256


class EngineState(enum.StrEnum):
    """starting → running → draining → stopped; jobs are accepted only while running."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Handler:
    """An entry of the table: how a job of this name is run.

    `slot` is false for jobs that are long-lived by nature (wait, attach, events) and for those that only
    look something up: they take no slot and never queue. `cancellable` jobs may be interrupted while they run.
    """

    name: str
    request: type
    run: Callable[[Job[Any]], Awaitable[Any]]
    slot: bool = True
    cancellable: bool = False


class Engine:
    """Runs jobs.

    A job is refused immediately with `Unavailable` when the engine isn't running or its queue is full, with whatever
    a hook's `authorise` raises, and with `Unsupported` if its name has no handler. Otherwise it waits for a slot,
    runs, and ends in exactly one of the three final states.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.state = EngineState.STARTING
        self.serial = Serial()
        self.metrics = Metrics()
        self.hooks: list[JobHook] = [JobLog(), self.metrics]
        self._handlers: dict[str, Handler] = {}
        self._slots = Slots(self.limits)
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._live: dict[str, Job[Any]] = {}
        self._ended: deque[Job[Any]] = deque(maxlen=_REMEMBERED_JOBS)
        self._cleanups = AsyncExitStack()

    def register(self, handler: Handler) -> None:
        """Add a handler to the table. Raises `Conflict` if the name is taken."""
        if handler.name in self._handlers:
            raise Conflict(f"a handler for {handler.name} is registered already")
        self._handlers[handler.name] = handler

    def started(self) -> None:
        """Accept jobs from now on."""
        self.state = EngineState.RUNNING

    def on_stop(self, cleanup: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await `cleanup` when the engine stops; cleanups run in reverse order of registration."""
        self._cleanups.push_async_callback(cleanup)

    async def run(self, job: Job[Any]) -> Any:
        """Run `job` and return its result, or raise its error, `Cancelled` if the job was cancelled.

        Cancelling the caller leaves the job running; `cancel` ends it, if it is cancellable.
        """
        handler = self._handler(job)
        for hook in self.hooks:
            await hook.authorise(job)
        self._require_running()  # draining may have begun in the meantime
        if handler.slot:
            self._slots.admit()
        context = copy_context()  # so that every log record of the job, including that of its end, has its id
        context.run(current_job_id.set, job.id)
        task = asyncio.create_task(self._execute(job, handler), name=f"job {job.name} {job.id}", context=context)
        self._tasks[job.id], self._live[job.id] = task, job
        task.add_done_callback(lambda done: self._forget(job, handler, done), context=context)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and not _is_cancelled():
                raise Cancelled(f"job {job.id} ({job.name}) was cancelled") from None
            raise

    def cancel(self, job_id: str) -> None:
        """Cancel a job that is queued, or running and cancellable.

        Raises `NotFound` if it isn't live, `Conflict` if it is running and not cancellable.
        """
        job = self._live.get(job_id)
        if job is None:
            raise NotFound(f"No such running job: {job_id}")
        if job.state is JobState.RUNNING and not self._handlers[job.name].cancellable:
            raise Conflict(f"job {job_id} ({job.name}) is changing something and can't be cancelled")
        self._tasks[job_id].cancel()

    def jobs(self) -> list[Job[Any]]:
        """The most recently ended jobs, then the live ones, each oldest first."""
        return [*self._ended, *self._live.values()]

    def job(self, job_id: str) -> Job[Any]:
        """A live or remembered job. Raises `NotFound`."""
        for job in self.jobs():
            if job.id == job_id:
                return job
        raise NotFound(f"No such job: {job_id}")

    async def stop(self, deadline_s: float = 10.0) -> None:
        """Refuse new jobs, cancel queued and long-lived ones, give the others `deadline_s`, then run the cleanups."""
        self.state = EngineState.DRAINING
        for job_id, job in self._live.items():
            if job.state is JobState.QUEUED or not self._handlers[job.name].slot:
                self._tasks[job_id].cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks.values(), timeout=deadline_s)
            for task in late:
                _log.warning("%s did not end in %g s and is cancelled", task.get_name(), deadline_s)
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._cleanups.aclose()
        self.state = EngineState.STOPPED

    def _handler(self, job: Job[Any]) -> Handler:
        self._require_running()
        handler = self._handlers.get(job.name)
        if handler is None:
            raise Unsupported(f"this engine has no job {job.name}")
        if not isinstance(job.request, handler.request):
            raise InvalidArgument(
                f"job {job.name} takes {handler.request.__name__}, not {type(job.request).__name__}"
            )
        return handler

    def _require_running(self) -> None:
        if self.state is not EngineState.RUNNING:
            raise Unavailable(f"the engine is {self.state} and takes no new jobs")

    async def _execute(self, job: Job[Any], handler: Handler) -> Any:
        try:
            async with self._slots.hold() if handler.slot else nullcontext():
                job.started()
                for hook in self.hooks:
                    hook.started(job)
                result = await handler.run(job)
        except asyncio.CancelledError:
            job.finish(JobState.CANCELLED)
            raise
        except BaseException as error:
            job.finish(JobState.FAILED, error)
            raise
        else:
            job.finish(JobState.SUCCEEDED)
            return result

    def _forget(self, job: Job[Any], handler: Handler, task: asyncio.Task[Any]) -> None:
        if not job.ended:  # cancelled before its task first ran
            job.finish(JobState.CANCELLED)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio doesn't complain about a job whose caller is gone
        if handler.slot:
            self._slots.leave()
        del self._tasks[job.id], self._live[job.id]
        self._ended.append(job)
        for hook in self.hooks:
            hook.finished(job)


def _is_cancelled() -> bool:
    """Whether the calling task itself is being cancelled."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0
