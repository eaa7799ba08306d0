"""Hooks called before, during and after every job."""

from __future__ import annotations

from typing import Any

from sampan.engine.job import Job


class JobHook:
    """Override the methods you need. Hooks are called in the event loop, in the order they were added: be quick."""

    async def authorise(self, job: Job[Any]) -> None:
        """Called before the job is queued. Raise `errdefs.Forbidden` to refuse it."""

    def started(self, job: Job[Any]) -> None:
        """Called when the handler is about to run."""

    def finished(self, job: Job[Any]) -> None:
        """Called when the job has ended: `job.state` and `job.error` tell how."""
