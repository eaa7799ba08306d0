"""Jobs, as `GET /jobs` shows them: an API of ours."""

from __future__ import annotations

from sampan.models.base import Model


class JobCaller(Model):
    """Who asked: the peer of the unix socket, or the subject of the TLS client's certificate."""

    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    subject: str | None = None
    role: str = "full"
    address: str = ""


class JobSummary(Model):
    """One job. Times are seconds since the epoch; `state` is queued, running, succeeded, failed or cancelled."""

    id: str
    name: str
    state: str
    caller: JobCaller
    queued_at: float
    started_at: float | None = None
    ended_at: float | None = None
    wait_seconds: float = 0.0
    run_seconds: float = 0.0
    error: str | None = None
