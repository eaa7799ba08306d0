"""Passes the engine's job hooks on to plugins."""

from __future__ import annotations

import logging
from typing import Any

from sampan.engine import Job, JobHook

_log = logging.getLogger("sampan")


class PluginHooks(JobHook):
    """Calls the plugins' hooks. A failing plugin is logged; only `authorise` can refuse a job."""

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
        except Exception:  # a plugin's failure must not affect the job
            _log.exception("a plugin failed at %s", hook.name)


def _described(job: Job[Any]) -> dict[str, Any]:
    return {"id": job.id, "name": job.name, "state": job.state, "caller": job.caller, "request": job.request}
