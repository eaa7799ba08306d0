"""Jobs and metrics: sampan's own API."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Response

from sampan.api.describe import answers, lists, returns
from sampan.api.params import Name, Run
from sampan.engine import Job
from sampan.models import JobCaller, JobSummary

router = APIRouter(tags=["Job"])


@router.get(
    "/jobs",
    summary="List jobs",
    operation_id="JobList",
    response_class=Response,
    responses=lists(JobSummary) | answers(),
)
async def list_jobs(run: Run) -> Response:
    """The queued and running jobs and the last ones that ended, oldest first."""
    return run.answer([summary_of(job) for job in run.engine.jobs()])


@router.get(
    "/jobs/{id}",
    summary="Inspect a job",
    operation_id="JobInspect",
    response_class=Response,
    responses=returns(JobSummary) | answers(404),
)
async def inspect_job(run: Run, id: Name) -> Response:
    """One job."""
    return run.answer(summary_of(run.engine.job(id)))


@router.delete(
    "/jobs/{id}", summary="Cancel a job", operation_id="JobCancel", status_code=204, responses=answers(404, 409)
)
async def cancel_job(run: Run, id: Name) -> Response:
    """Cancel a job that is queued, or that can be cancelled while it runs."""
    run.engine.cancel(id)
    return Response(status_code=204)


@router.get(
    "/metrics",
    summary="Get metrics",
    operation_id="Metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus' text format", "content": {"text/plain": {}}}},
)
async def metrics(run: Run) -> Response:
    """Metrics of jobs and containers, in Prometheus' format."""
    text = await asyncio.to_thread(run.engine.metrics.render)
    return Response(text, media_type="text/plain; version=0.0.4")


def summary_of(job: Job[Any]) -> JobSummary:
    """The representation of a job in the API."""
    caller = job.caller
    return JobSummary(
        id=job.id,
        name=job.name,
        state=job.state.value,
        caller=JobCaller(
            uid=caller.uid,
            gid=caller.gid,
            pid=caller.pid,
            subject=caller.subject,
            role=caller.role,
            address=caller.address,
        ),
        queued_at=job.queued_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        wait_seconds=job.wait_s,
        run_seconds=job.run_s,
        error=str(job.error) if job.error else None,
    )
