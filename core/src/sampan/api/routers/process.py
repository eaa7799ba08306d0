"""Containers as processes: starting, stopping, signals, waiting, and attaching to their streams."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from sampan.api.describe import OUTPUT, answers, item, returns
from sampan.api.params import Flag, Name, Number, Run, Size
from sampan.api.run import Runner
from sampan.models import (
    AttachContainer,
    KillContainer,
    PauseContainer,
    ResizeContainer,
    RestartContainer,
    StartContainer,
    StopContainer,
    TopContainer,
    TopResult,
    UnpauseContainer,
    WaitContainer,
)

router = APIRouter(tags=["Container"])
_SIGNAL_SINCE = (1, 42)
_WEBSOCKET_CHOICE_SINCE = (1, 42)
_CONDITION_SINCE = (1, 30)
_REMOVAL_ERROR_SINCE = (1, 34)

Patience = Annotated[Number, Query(description="seconds until it is killed; -1 waits forever")]
"""How long to wait for a container to end."""


@router.post(
    "/containers/{name:path}/start",
    summary="Start a container",
    operation_id="ContainerStart",
    status_code=204,
    responses=answers(304, 404, 409),
)
async def start_container(
    run: Run,
    name: Name,
    checkpoint: Annotated[str, Query(description="not supported: refused")] = "",
    detach_keys: Annotated[str, Query(alias="detachKeys")] = "",
) -> Response:
    """Run its command."""
    request = StartContainer(name=name, checkpoint=checkpoint, detach_keys=detach_keys)
    return await run.result("container_start", request, 204)


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
    t: Patience = None,
) -> Response:
    """Ask it to end, and kill it if it takes too long."""
    request = StopContainer(name=name, signal=_signal(run, signal), timeout_s=t)
    return await run.result("container_stop", request, 204)


@router.post(
    "/containers/{name:path}/restart",
    summary="Restart a container",
    operation_id="ContainerRestart",
    status_code=204,
    responses=answers(404, 409),
)
async def restart_container(run: Run, name: Name, signal: str = "", t: Patience = None) -> Response:
    """Stop it as `stop` does, if it is running, and start it."""
    request = RestartContainer(name=name, signal=_signal(run, signal), timeout_s=t)
    return await run.result("container_restart", request, 204)


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
    "/containers/{name:path}/pause",
    summary="Pause a container",
    operation_id="ContainerPause",
    status_code=204,
    responses=answers(404, 409, 501),
)
async def pause_container(run: Run, name: Name) -> Response:
    """Freeze all its processes."""
    return await run.result("container_pause", PauseContainer(name=name), 204)


@router.post(
    "/containers/{name:path}/unpause",
    summary="Unpause a container",
    operation_id="ContainerUnpause",
    status_code=204,
    responses=answers(404, 409, 501),
)
async def unpause_container(run: Run, name: Name) -> Response:
    """Resume its processes."""
    return await run.result("container_unpause", UnpauseContainer(name=name), 204)


@router.get(
    "/containers/{name:path}/top",
    summary="List the processes of a container",
    operation_id="ContainerTop",
    response_class=Response,
    responses=returns(TopResult) | answers(404, 409),
)
async def list_processes(
    run: Run, name: Name, ps_args: Annotated[str, Query(description="arguments of the host's ps")] = ""
) -> Response:
    """The output of `ps` for its processes; with `-ef` by default."""
    return await run.result("container_top", TopContainer(name=name, ps_args=ps_args))


@router.post(
    "/containers/{name:path}/resize",
    summary="Resize the terminal of a container",
    operation_id="ContainerResize",
    response_class=Response,
    responses=answers(404, 409),
)
async def resize_container(run: Run, name: Name, h: Size, w: Size) -> Response:
    """Set the height and width of its terminal."""
    return await run.result("container_resize", ResizeContainer(name=name, height=h, width=w))


@router.post(
    "/containers/{name:path}/attach",
    summary="Attach to a container",
    operation_id="ContainerAttach",
    response_class=Response,
    responses=answers(101, 404, 409) | {200: OUTPUT},
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
    """Attach to its streams. The connection then carries them both ways, and each way is closed separately."""
    request = AttachContainer(
        name=name, stdin=stdin, stdout=stdout, stderr=stderr, stream=stream, logs=logs, detach_keys=detach_keys
    )
    return run.hijacked("container_attach", request)


@router.get(
    "/containers/{name:path}/attach/ws",
    summary="Attach to a container over a WebSocket",
    operation_id="ContainerAttachWebsocket",
    response_class=Response,
    responses=answers(101, 403, 404, 409),
    openapi_extra={"x-hijack": "The upgrade is that of RFC 6455; messages are pieces of output and of input."},
)
async def attach_container_by_websocket(
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
    """As `attach`, for clients without raw connections, such as browsers. Stdout and stderr are one stream.

    Before API 1.42 all three streams are always attached.
    """
    everything = run.version < _WEBSOCKET_CHOICE_SINCE
    request = AttachContainer(
        name=name,
        stdin=stdin or everything,
        stdout=stdout or everything,
        stderr=stderr or everything,
        stream=stream,
        logs=logs,
        detach_keys=detach_keys,
    )
    return run.web_socket("container_attach", request)


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
    """The exit code, once the condition is met. The head of the answer is sent at once."""
    if run.version < _CONDITION_SINCE:
        return run.output("container_wait", WaitContainer(name=name), early_head=False)
    tells_errors = condition != "removed" or run.version >= _REMOVAL_ERROR_SINCE
    request = WaitContainer(name=name, condition=condition or "not-running", tells_errors=tells_errors)
    return run.output("container_wait", request, breaks_off=True)


def _signal(run: Runner, asked: str) -> str | None:
    return asked or None if run.version >= _SIGNAL_SINCE else None
