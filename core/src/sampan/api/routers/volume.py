"""Volumes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from sampan.api.body import body_schema, json_body
from sampan.api.describe import answers, only, returns
from sampan.api.params import Filters, Flag, Name, Run, read_filters
from sampan.models import (
    CreateVolume,
    InspectVolume,
    ListVolumes,
    PruneVolumes,
    RemoveVolume,
    UpdateVolume,
    UpdateVolumeBody,
    Volume,
    VolumeList,
    VolumesPruned,
)

router = APIRouter(tags=["Volume"])
_ANONYMOUS_ALONE_SINCE = (1, 42)


@router.get(
    "/volumes",
    summary="List volumes",
    operation_id="VolumeList",
    response_class=Response,
    responses=returns(VolumeList) | answers(),
)
async def list_volumes(run: Run, filters: Filters = "") -> Response:
    """The volumes of this engine."""
    return await run.result("volume_list", ListVolumes(filters=read_filters(filters)))


@router.post(
    "/volumes/create",
    summary="Create a volume",
    operation_id="VolumeCreate",
    status_code=201,
    response_class=Response,
    responses=returns(Volume, 201) | answers(404, 409, 501),
    openapi_extra=body_schema(CreateVolume),
)
async def create_volume(run: Run, body: Annotated[CreateVolume, Depends(json_body(CreateVolume))]) -> Response:
    """Create a volume. One that exists already is returned unchanged."""
    return await run.result("volume_create", body, 201)


@router.post(
    "/volumes/prune",
    summary="Remove unused volumes",
    operation_id="VolumePrune",
    response_class=Response,
    responses=returns(VolumesPruned) | answers(409),
)
async def prune_volumes(run: Run, filters: Filters = "") -> Response:
    """Remove the anonymous volumes without a container; with the filter `all`, or before API 1.42, named ones too."""
    request = PruneVolumes(filters=read_filters(filters), all=run.version < _ANONYMOUS_ALONE_SINCE)
    return await run.result("volume_prune", request)


@router.put(
    "/volumes/{name:path}",
    summary="Update a volume",
    operation_id="VolumeUpdate",
    response_class=Response,
    status_code=503,
    responses=only(400, 404, 503),
    openapi_extra=body_schema(UpdateVolumeBody),
)
async def update_volume(
    run: Run,
    name: Name,
    version: int,
    body: Annotated[UpdateVolumeBody, Depends(json_body(UpdateVolumeBody))],
) -> Response:
    """Refused: only cluster volumes can be changed."""
    return await run.result("volume_update", UpdateVolume(name=name, version=version, spec=body.spec))


@router.get(
    "/volumes/{name:path}",
    summary="Inspect a volume",
    operation_id="VolumeInspect",
    response_class=Response,
    responses=returns(Volume) | answers(404),
)
async def inspect_volume(run: Run, name: Name) -> Response:
    """Everything that is known about a volume."""
    return await run.result("volume_inspect", InspectVolume(name=name))


@router.delete(
    "/volumes/{name:path}",
    summary="Remove a volume",
    operation_id="VolumeDelete",
    status_code=204,
    responses=answers(404, 409),
)
async def remove_volume(run: Run, name: Name, force: Flag = False) -> Response:
    """Remove a volume that no container uses."""
    return await run.result("volume_remove", RemoveVolume(name=name, force=force), 204)
