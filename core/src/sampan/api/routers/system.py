"""The engine itself: ping, version, information, events."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from sampan.api.accept import JSON, JSON_LINES, STREAM_FORMS
from sampan.api.body import body_schema, json_body
from sampan.api.describe import answers, items, returns
from sampan.api.disk_usage import dump_disk_usage
from sampan.api.params import Filters, Flag, Run, Timestamp, read_filters, read_moment, read_sequence
from sampan.errdefs import InvalidArgument
from sampan.models import (
    AuthResult,
    CheckAuth,
    CheckSystem,
    DiskUsage,
    RegistryAuth,
    SystemCheck,
    SystemDiskUsage,
    SystemInfo,
    SystemInfoRequest,
    SystemVersion,
    SystemVersionRequest,
    WatchEvents,
)

router = APIRouter(tags=["System"])
_JSON_LINES_SINCE = (1, 52)
_TYPES_OF_USAGE_SINCE = (1, 42)
_PING: dict[int | str, dict[str, Any]] = {
    200: {"description": "The engine answers", "content": {"text/plain": {"example": "OK"}}}
}


@router.get("/_ping", summary="Ping", operation_id="SystemPing", response_class=Response, responses=_PING)
@router.head("/_ping", summary="Ping", operation_id="SystemPingHead", response_class=Response)
async def ping() -> Response:
    """Whether the engine answers. The headers say which versions of the API it supports."""
    return Response(b"OK", media_type="text/plain")  # only for the OpenAPI document: `Edge` responds itself


@router.get(
    "/version",
    summary="Get the version",
    operation_id="SystemVersion",
    response_class=Response,
    responses=returns(SystemVersion) | answers(),
)
async def get_version(run: Run) -> Response:
    """The versions of the engine, of the API, and of the programs that it uses."""
    return await run.result("system_version", SystemVersionRequest())


@router.get(
    "/info",
    summary="Get information",
    operation_id="SystemInfo",
    response_class=Response,
    responses=returns(SystemInfo) | answers(),
)
async def info(run: Run) -> Response:
    """The host, what the engine holds, and its drivers."""
    return await run.result("system_info", SystemInfoRequest())


@router.post(
    "/auth",
    summary="Check credentials",
    operation_id="SystemAuth",
    response_class=Response,
    responses=returns(AuthResult) | answers(401),
    openapi_extra=body_schema(RegistryAuth, required=True),
)
async def check_auth(
    run: Run, body: Annotated[RegistryAuth, Depends(json_body(RegistryAuth, required=True))]
) -> Response:
    """Whether a registry accepts these credentials. They are not stored."""
    return await run.result("registry_login", CheckAuth(auth=body))


@router.get(
    "/system/df",
    summary="Get the disk usage",
    operation_id="SystemDataUsage",
    response_class=Response,
    responses=returns(DiskUsage) | answers(),
)
async def disk_usage(
    run: Run,
    type: Annotated[list[str] | None, Query(description="container, image, volume, build-cache, log")] = None,
    verbose: Flag = False,
) -> Response:
    """What takes space on the disk, and how much of it could be freed."""
    types = list(type or ()) if run.version >= _TYPES_OF_USAGE_SINCE else []
    usage: DiskUsage = await run.value("system_df", SystemDiskUsage(types=types))
    return Response(dump_disk_usage(usage, run.version, verbose=verbose), media_type="application/json")


@router.get(
    "/system/check",
    summary="Check what is on the disk",
    operation_id="SystemCheck",
    response_class=Response,
    responses=returns(SystemCheck) | answers(),
)
async def check(run: Run, files: Flag = False) -> Response:
    """Read every blob, layer, snapshot and row, and report what is damaged. Nothing is changed.

    With `files` each layer is unpacked once more, and every file of it compared."""
    return await run.result("system_check", CheckSystem(files=files))


@router.post(
    "/system/check",
    summary="Check and repair what is on the disk",
    operation_id="SystemRepair",
    response_class=Response,
    responses=returns(SystemCheck) | answers(),
)
async def repair(run: Run, files: Flag = False) -> Response:
    """As the check, and repair what can be repaired without losing anything intact."""
    return await run.result("system_check", CheckSystem(repair=True, files=files))


@router.get(
    "/events",
    summary="Watch events",
    operation_id="SystemEvents",
    response_class=Response,
    responses=answers() | {200: items("Events as they happen", "Event", *STREAM_FORMS, JSON)},
)
async def events(run: Run, since: Timestamp = "", until: Timestamp = "", filters: Filters = "") -> Response:
    """The events from `since` to `until`; without `until` it continues until the client disconnects.

    `Accept` selects the format: `application/jsonl`, `application/x-ndjson`, or `application/json-seq` (RFC 7464).

    `since` may also be `seq:NUMBER`, the `sampanSeq` of the last event that the client has seen: it gets those after
    it, and first an event `lost` if some of them are not kept any more.
    """
    after_seq, until_ns = read_sequence(since), read_moment("until", until)
    since_ns = read_moment("since", since) if after_seq is None else None
    if since_ns is not None and until_ns is not None and until_ns < since_ns:
        raise InvalidArgument(f"`since` time ({since}) cannot be after `until` time ({until})")
    request = WatchEvents(since_ns=since_ns, after_seq=after_seq, until_ns=until_ns, filters=read_filters(filters))
    usual = JSON_LINES if run.version >= _JSON_LINES_SINCE else JSON
    return run.output("system_events", request, media_type=run.stream_form(usual))
