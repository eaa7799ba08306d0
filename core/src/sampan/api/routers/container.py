"""Containers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from sampan.api.adapt import adapt_create
from sampan.api.body import body_schema, json_body
from sampan.api.describe import answers, item, lists, returns, stream
from sampan.api.framing import MULTIPLEXED_STREAM, RAW_STREAM
from sampan.api.params import (
    Filters,
    Flag,
    Name,
    Number,
    Run,
    Size,
    Timestamp,
    read_filters,
    read_platform,
    read_tail,
    read_time,
)
from sampan.errdefs import InvalidArgument, Unsupported
from sampan.models import (
    AttachContainer,
    ContainerConfig,
    ContainerCreated,
    ContainerInspect,
    ContainerLogs,
    ContainerSummary,
    CreateContainer,
    CreateContainerBody,
    InspectContainer,
    KillContainer,
    ListContainers,
    RemoveContainer,
    ResizeContainer,
    StartContainer,
    StopContainer,
    WaitContainer,
)

router = APIRouter(tags=["Container"])
_SIGNAL_SINCE = (1, 42)
_PLATFORM_SINCE = (1, 41)
_CONDITION_SINCE = (1, 30)
_LOG_FORMAT_SINCE = (1, 54)
_FRAMES = (
    "The output: raw bytes with a terminal; without one frames of an 8-byte header (stream number, three zeros, "
    "big-endian length) and their content"
)
_RAW = stream(_FRAMES, RAW_STREAM, MULTIPLEXED_STREAM)


@router.get(
    "/containers/json",
    summary="List containers",
    operation_id="ContainerList",
    response_class=Response,
    responses=lists(ContainerSummary) | answers(),
)
async def list_containers(
    run: Run, all: Flag = False, limit: Number = None, size: Flag = False, filters: Filters = ""
) -> Response:
    """The running containers, or all of them; the newest first."""
    request = ListContainers(all=all, limit=limit or 0, size=size, filters=read_filters(filters))
    return await run.result("container_list", request)


@router.post(
    "/containers/create",
    summary="Create a container",
    operation_id="ContainerCreate",
    status_code=201,
    response_class=Response,
    responses=returns(ContainerCreated, 201) | answers(404, 409, 501),
    openapi_extra=body_schema(CreateContainerBody, required=True),
)
async def create_container(
    run: Run,
    body: Annotated[CreateContainerBody, Depends(json_body(CreateContainerBody, required=True))],
    name: str = "",
    platform: str = "",
) -> Response:
    """Make a container of an image; nothing of it runs yet."""
    warnings = adapt_create(body, run.version)
    config = {field: getattr(body, field) for field in ContainerConfig.model_fields}
    request = CreateContainer(
        name=name.removeprefix("/") or None,
        platform=read_platform(platform) if run.version >= _PLATFORM_SINCE else None,
        config=ContainerConfig.model_construct(**config),
        host_config=body.host_config,
        networking_config=body.networking_config,
    )
    created: ContainerCreated = await run.value("container_create", request)
    return run.answer(created.model_copy(update={"warnings": [*created.warnings, *warnings]}), 201)


@router.get(
    "/containers/{name:path}/json",
    summary="Inspect a container",
    operation_id="ContainerInspect",
    response_class=Response,
    responses=returns(ContainerInspect) | answers(404),
)
async def inspect_container(run: Run, name: Name, size: Flag = False) -> Response:
    """All that is known of a container."""
    return await run.result("container_inspect", InspectContainer(name=name, size=size))


@router.get(
    "/containers/{name:path}/logs",
    summary="Get the logs of a container",
    operation_id="ContainerLogs",
    response_class=Response,
    responses=answers(404, 409, 501) | {200: _RAW},
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
    """What a container has written, and with `follow` what it writes until it ends."""
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


@router.post(
    "/containers/{name:path}/start",
    summary="Start a container",
    operation_id="ContainerStart",
    status_code=204,
    responses=answers(304, 404, 409),
)
async def start_container(
    run: Run, name: Name, detach_keys: Annotated[str, Query(alias="detachKeys")] = ""
) -> Response:
    """Run it."""
    return await run.result("container_start", StartContainer(name=name, detach_keys=detach_keys), 204)


@router.post(
    "/containers/{name:path}/stop",
    summary="Stop a container",
    operation_id="ContainerStop",
    status_code=204,
    responses=answers(304, 404),
)
async def stop_container(
    run: Run,
    name: Name,
    signal: str = "",
    t: Annotated[Number, Query(description="seconds until it is killed; -1 waits for ever")] = None,
) -> Response:
    """Ask it to end, and kill it if it takes too long."""
    asked = signal or None if run.version >= _SIGNAL_SINCE else None
    return await run.result("container_stop", StopContainer(name=name, signal=asked, timeout_s=t), 204)


@router.post(
    "/containers/{name:path}/kill",
    summary="Send a signal to a container",
    operation_id="ContainerKill",
    status_code=204,
    responses=answers(404, 409),
)
async def kill_container(
    run: Run, name: Name, signal: Annotated[str, Query(description="name or number; KILL by default")] = ""
) -> Response:
    """Send a signal to its first process."""
    return await run.result("container_kill", KillContainer(name=name, signal=signal or None), 204)


@router.post(
    "/containers/{name:path}/resize",
    summary="Resize the terminal of a container",
    operation_id="ContainerResize",
    response_class=Response,
    responses=answers(404, 409),
)
async def resize_container(run: Run, name: Name, h: Size, w: Size) -> Response:
    """Set height and width of its terminal."""
    return await run.result("container_resize", ResizeContainer(name=name, height=h, width=w))


@router.post(
    "/containers/{name:path}/attach",
    summary="Attach to a container",
    operation_id="ContainerAttach",
    response_class=Response,
    responses=answers(101, 404, 409) | {200: _RAW},
    openapi_extra={"x-hijack": "With `Connection: Upgrade` and `Upgrade: tcp` the answer is 101, else 200."},
)
async def attach_container(
    run: Run,
    name: Name,
    *,
    stdin: Flag = False,
    stdout: Flag = False,
    stderr: Flag = False,
    stream: Flag = False,
    logs: Flag = False,
    detach_keys: Annotated[str, Query(alias="detachKeys")] = "",
) -> Response:
    """Join its streams: the connection carries them both ways from then on, each way closed on its own."""
    request = AttachContainer(
        name=name, stdin=stdin, stdout=stdout, stderr=stderr, stream=stream, logs=logs, detach_keys=detach_keys
    )
    return run.hijacked("container_attach", request)


@router.post(
    "/containers/{name:path}/wait",
    summary="Wait for a container",
    operation_id="ContainerWait",
    response_class=Response,
    responses=answers(404) | {200: item("How it ended", "WaitResult")},
)
async def wait_for_container(
    run: Run,
    name: Name,
    condition: Annotated[str, Query(description="not-running, next-exit or removed")] = "not-running",
) -> Response:
    """The exit code, once the condition holds. The answer's head comes at once, before the container has ended."""
    if run.version < _CONDITION_SINCE:
        return run.output("container_wait", WaitContainer(name=name), early_head=False)
    return run.output("container_wait", WaitContainer(name=name, condition=condition or "not-running"))


@router.delete(
    "/containers/{name:path}",
    summary="Remove a container",
    operation_id="ContainerDelete",
    status_code=204,
    responses=answers(404, 409),
)
async def remove_container(
    run: Run,
    name: Name,
    v: Annotated[Flag, Query(description="its anonymous volumes too")] = False,
    force: Annotated[Flag, Query(description="kill it if it runs")] = False,
    link: Flag = False,
) -> Response:
    """Remove it and what it has written."""
    return await run.result("container_remove", RemoveContainer(name=name, volumes=v, force=force, link=link), 204)


def _check_format(format: str) -> None:
    """Docker's experiment of 1.54, which its own document doesn't mention."""
    if format == "json":
        raise Unsupported("sampan does not serve logs as JSON yet")
    if format:
        raise InvalidArgument("unsupported log format")
