"""`sampan jobs`: what the engine is doing; not a docker command."""

from __future__ import annotations

import time
from typing import Any

from sampan.cli import human
from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.commands.each import for_each, segment
from sampan.cli.output import print_rows
from sampan.cli.session import Session

HEADERS = {
    "ID": "JOB ID",
    "Name": "NAME",
    "State": "STATE",
    "Caller": "CALLER",
    "Queued": "QUEUED",
    "Waited": "WAITED",
    "Ran": "RAN",
    "Error": "ERROR",
}
_TABLE = "table {{.ID}}\\t{{.Name}}\\t{{.State}}\\t{{.Caller}}\\t{{.Queued}}\\t{{.Waited}}\\t{{.Ran}}"
_LIVE = ("queued", "running")


def list_jobs(session: Session, options: Options) -> None:
    """Print the queued and running jobs, optionally also those that ended recently."""
    template = options.text("format") or "table"
    if options.on("quiet"):
        template = "{{.ID}}"
    elif template == "table":
        template = _TABLE + ("\\t{{.Error}}" if options.on("all") else "")
    jobs = session.client.call("GET", "/jobs")
    rows = [_row(job) for job in jobs if options.on("all") or job["State"] in _LIVE]
    print_rows(rows, HEADERS, template)


def _row(job: dict[str, Any]) -> dict[str, Any]:
    return {
        "ID": job["Id"],
        "Name": job["Name"],
        "State": job["State"],
        "Caller": _caller(job.get("Caller") or {}),
        "Queued": f"{human.ago(time.time() - job['QueuedAt'])} ago",
        "Waited": _span(job.get("WaitSeconds") or 0.0),
        "Ran": _span(job.get("RunSeconds") or 0.0),
        "Error": job.get("Error") or "",
    }


def _caller(caller: dict[str, Any]) -> str:
    if subject := caller.get("Subject"):
        return str(subject)
    if caller.get("Uid") is None:
        return str(caller.get("Address") or "")
    return f"uid {caller['Uid']}, pid {caller['Pid']}"


def _span(seconds: float) -> str:
    """Format a duration: `3.2ms`, `1.50s`, `2 minutes`."""
    if seconds < 1:
        return f"{seconds * 1000:.1f}ms"
    return f"{seconds:.2f}s" if seconds < 60 else human.ago(seconds)


def cancel(session: Session, options: Options) -> int:
    """Cancel jobs, if they can be cancelled, and print their IDs."""

    def one(identity: str) -> str:
        session.client.call("DELETE", f"/jobs/{segment(identity)}")
        return identity

    return for_each(session, options.args, one)


LIST = Command(
    "jobs [OPTIONS]",
    "List the engine's jobs",
    list_jobs,
    (
        Flag("all", "Also show the last jobs that ended", SWITCH, "a"),
        Flag("format", "Format output: table, table TEMPLATE, json, or a Go template"),
        Flag("quiet", "Only display job IDs", SWITCH, "q"),
    ),
)
CANCEL = Command("cancel JOB [JOB...]", "Cancel one or more jobs", cancel, least=1, most=None)
