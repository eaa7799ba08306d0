"""Additional processes in a running container."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from sampan.api.body import body_schema, json_body
from sampan.api.describe import answers, returns, stream
from sampan.api.framing import MULTIPLEXED_STREAM, RAW_STREAM
from sampan.api.params import Name, Run, Size
from sampan.models import (
    CreateExec,
    ExecConfig,
    ExecCreated,
    ExecInspect,
    ExecStartBody,
    InspectExec,
    ResizeExec,
    StartExec,
)

router = APIRouter(tags=["Exec"])
_CONSOLE_SIZE_SINCE = (1, 42)


@router.post(
    "/containers/{name:path}/exec",
    summary="Create an exec",
    operation_id="ContainerExec",
    status_code=201,
    response_class=Response,
    responses=returns(ExecCreated, 201) | answers(404, 409),
    openapi_extra=body_schema(ExecConfig),
)
async def create_exec(run: Run, name: Name, body: Annotated[ExecConfig, Depends(json_body(ExecConfig))]) -> Response:
    """Define a command to be run in a container. It runs when the exec is started."""
    fields = {field: getattr(body, field) for field in ExecConfig.model_fields}
    return await run.result("exec_create", CreateExec(container=name, **fields), 201)


@router.post(
    "/exec/{id}/start",
    summary="Start an exec",
    operation_id="ExecStart",
    response_class=Response,
    responses=answers(101, 404, 409)
    | {200: stream("Its output, or nothing if it is detached", RAW_STREAM, MULTIPLEXED_STREAM)},
    openapi_extra=body_schema(ExecStartBody)
    | {"x-hijack": "With `Connection: Upgrade` and `Upgrade: tcp` the answer is 101, else 200."},
)
async def start_exec(
    run: Run, id: Name, how: Annotated[ExecStartBody, Depends(json_body(ExecStartBody))]
) -> Response:
    """Run its command. Unless detached, the connection then carries its streams in both directions."""
    size = how.console_size if how.tty and run.version >= _CONSOLE_SIZE_SINCE else None
    request = StartExec(id=id, detach=how.detach, tty=how.tty, console_size=size)
    if not how.detach:
        return run.hijacked("exec_start", request)
    await run.value("exec_start", request)
    return Response()


@router.post(
    "/exec/{id}/resize",
    summary="Resize the terminal of an exec",
    operation_id="ExecResize",
    response_class=Response,
    responses=answers(404, 409),
)
async def resize_exec(run: Run, id: Name, h: Size, w: Size) -> Response:
    """Set the height and width of its terminal."""
    return await run.result("exec_resize", ResizeExec(id=id, height=h, width=w))


@router.get(
    "/exec/{id}/json",
    summary="Inspect an exec",
    operation_id="ExecInspect",
    response_class=Response,
    responses=returns(ExecInspect) | answers(404),
)
async def inspect_exec(run: Run, id: Name) -> Response:
    """Its configuration, whether it is running, and its exit code."""
    return await run.result("exec_inspect", InspectExec(id=id))
