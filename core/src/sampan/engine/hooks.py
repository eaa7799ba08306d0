"""What may be hung around the run of every job."""

from __future__ import annotations

from typing import Any

from sampan.engine.job import Job


class JobHook:
    """Override what you need. Hooks are called in the loop, in the order they were added; keep them short."""

    async def authorise(self, job: Job[Any]) -> None:
        """Before the job is queued. Raise `errdefs.Forbidden` to refuse it."""

    def started(self, job: Job[Any]) -> None:
        """The handler is about to run."""

    def finished(self, job: Job[Any]) -> None:
        """The job ended: `job.state` and `job.error` say how."""
