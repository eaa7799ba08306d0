"""Puts a job's id into every log line it causes, even in worker threads (`asyncio.to_thread` copies the context)."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

from sampan.engine.hooks import JobHook
from sampan.engine.job import Job, JobState

current_job_id: ContextVar[str] = ContextVar("current_job_id", default="-")
_log = logging.getLogger(__name__)


class JobFilter(logging.Filter):
    """Adds the field `job` to each record, for the formatter."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.job = current_job_id.get()
        return True


class JobLog(JobHook):
    """Logs a line when a job starts and another when it ends."""

    def started(self, job: Job[Any]) -> None:
        _log.debug("+job %s", job.name)

    def finished(self, job: Job[Any]) -> None:
        level = logging.INFO if job.state is JobState.FAILED else logging.DEBUG
        reason = f": {job.error}" if job.error else ""
        _log.log(level, "-job %s %s in %.1f ms%s", job.name, job.state, job.run_s * 1000, reason)
