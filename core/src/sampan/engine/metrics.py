"""Prometheus metrics of jobs."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sampan.engine.hooks import JobHook
from sampan.engine.job import Job

_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics(JobHook):
    """Counts jobs, and their queue and run times, by name. Other parts may add series to `registry`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["job"]
        self._ended = Counter("sampan_jobs", "Jobs ended", [*labels, "state"], registry=self.registry)
        self._running = Gauge("sampan_jobs_running", "Jobs running now", labels, registry=self.registry)
        self._wait = Histogram(
            "sampan_job_wait_seconds", "Time queued", labels, registry=self.registry, buckets=_BUCKETS_S
        )
        self._run = Histogram(
            "sampan_job_run_seconds", "Time running", labels, registry=self.registry, buckets=_BUCKETS_S
        )

    def started(self, job: Job[Any]) -> None:
        self._running.labels(job.name).inc()
        self._wait.labels(job.name).observe(job.wait_s)

    def finished(self, job: Job[Any]) -> None:
        self._ended.labels(job.name, job.state.value).inc()
        if job.started_at is not None:
            self._running.labels(job.name).dec()
            self._run.labels(job.name).observe(job.run_s)

    def render(self) -> bytes:
        """All series in Prometheus's text exposition format, version 0.0.4."""
        return generate_latest(self.registry)
