"""A container's logs and stats."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from sampan.api.describe import OUTPUT, answers, items
from sampan.api.params import Flag, Name, Run, Timestamp, read_tail, read_time
from sampan.errdefs import InvalidArgument, Unsupported
from sampan.models import ContainerLogs, WatchStats

router = APIRouter(tags=["Container"])
_ONE_SHOT_SINCE = (1, 41)
_LOG_FORMAT_SINCE = (1, 54)


@router.get(
    "/containers/{name:path}/logs",
    summary="Get the logs of a container",
    operation_id="ContainerLogs",
    response_class=Response,
    responses=answers(404, 409, 501) | {200: OUTPUT},
)
async def container_logs(
    run: Run,
    name: Name,
    *,
    stdout: Flag = False,
    stderr: Flag = False,
    follow: Flag = False,
    since: Timestamp = "",
    until: Timestamp = "",
    timestamps: Flag = False,
    tail: str = "all",
    details: Flag = False,
    format: Annotated[str, Query(include_in_schema=False)] = "",
) -> Response:
    """The output of a container so far, and with `follow` also what it writes until it ends."""
    if run.version >= _LOG_FORMAT_SINCE:
        _check_format(format)
    if not stdout and not stderr:
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    request = ContainerLogs(
        name=name,
        stdout=stdout,
        stderr=stderr,
        follow=follow,
        since_ns=read_time("since", since),
        until_ns=read_time("until", until),
        timestamps=timestamps,
        tail=read_tail(tail),
        details=details,
    )
    return run.logs("container_logs", request)


@router.get(
    "/containers/{name:path}/stats",
    summary="Get what a container uses",
    operation_id="ContainerStats",
    response_class=Response,
    responses=answers(404) | {200: items("A reading a second", "ContainerStats", "application/json")},
)
async def container_stats(
    run: Run,
    name: Name,
    stream: Annotated[Flag, Query(description="one reading per second, until the container is removed")] = True,
    one_shot: Annotated[
        Flag, Query(alias="one-shot", description="without stream: don't wait for a second reading to compare with")
    ] = False,
) -> Response:
    """Its usage of CPU, memory, network and disks. A container that is not running uses nothing."""
    request = WatchStats(name=name, stream=stream, one_shot=one_shot and run.version >= _ONE_SHOT_SINCE)
    return run.output("container_stats", request)


def _check_format(format: str) -> None:
    """Refuse an experimental parameter of API 1.54, which Docker's own OpenAPI document doesn't mention."""
    if format == "json":
        raise Unsupported("sampan does not serve logs as JSON yet")
    if format:
        raise InvalidArgument("unsupported log format")
