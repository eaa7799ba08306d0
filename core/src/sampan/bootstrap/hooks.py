"""The engine's hooks around a job, handed on to the plugins."""

from __future__ import annotations

import logging
from typing import Any

from sampan.engine import Job, JobHook

_log = logging.getLogger("sampan")


class PluginHooks(JobHook):
    """Hands the engine's hooks on to the plugins. One that fails is named in the log; only `authorise` can refuse."""

    def __init__(self, hooks: Any) -> None:
        self._hooks = hooks.hook

    async def authorise(self, job: Job[Any]) -> None:
        if self._hooks.sampan_authorise.get_hookimpls():
            self._hooks.sampan_authorise(job=_described(job))

    def started(self, job: Job[Any]) -> None:
        self._tell(self._hooks.sampan_job_started, job)

    def finished(self, job: Job[Any]) -> None:
        self._tell(self._hooks.sampan_job_finished, job)

    def _tell(self, hook: Any, job: Job[Any]) -> None:
        if not hook.get_hookimpls():
            return
        try:
            hook(job=_described(job))
        except Exception:  # a plugin's trouble is not the job's
            _log.exception("a plugin failed at %s", hook.name)


def _described(job: Job[Any]) -> dict[str, Any]:
    return {"id": job.id, "name": job.name, "state": job.state, "caller": job.caller, "request": job.request}
