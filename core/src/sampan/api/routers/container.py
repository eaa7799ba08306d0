"""Containers: creating, inspecting, updating, removing."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from sampan.api.adapt import adapt_create, adapt_update, read_only_recursive
from sampan.api.body import body_schema, json_body
from sampan.api.describe import answers, lists, returns
from sampan.api.params import Filters, Flag, Name, Number, Run, read_filters, read_platform
from sampan.models import (
    ContainerConfig,
    ContainerCreated,
    ContainerInspect,
    ContainersPruned,
    ContainerSummary,
    ContainerUpdated,
    CreateContainer,
    CreateContainerBody,
    InspectContainer,
    ListContainers,
    PruneContainers,
    RemoveContainer,
    RenameContainer,
    UpdateContainer,
    UpdateContainerBody,
)

router = APIRouter(tags=["Container"])
_PLATFORM_SINCE = (1, 41)


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
    """The running containers, or all of them, newest first."""
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
    """Create a container from an image, without starting it."""
    warnings = adapt_create(body, run.version)
    config = {field: getattr(body, field) for field in ContainerConfig.model_fields}
    request = CreateContainer(
        name=name or None,
        platform=read_platform(platform) if run.version >= _PLATFORM_SINCE else None,
        config=ContainerConfig.model_construct(**config),
        host_config=body.host_config,
        networking_config=body.networking_config,
        read_only_recursive=read_only_recursive(run.version),
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
    """Everything that is known about a container."""
    return await run.result("container_inspect", InspectContainer(name=name, size=size))


@router.post(
    "/containers/{name:path}/rename",
    summary="Rename a container",
    operation_id="ContainerRename",
    status_code=204,
    responses=answers(404, 409),
)
async def rename_container(
    run: Run, name: Name, new_name: Annotated[str, Query(alias="name", description="its new name")] = ""
) -> Response:
    """Give it a new name."""
    return await run.result("container_rename", RenameContainer(name=name, new_name=new_name), 204)


@router.post(
    "/containers/{name:path}/update",
    summary="Update a container",
    operation_id="ContainerUpdate",
    response_class=Response,
    responses=returns(ContainerUpdated) | answers(404, 409, 501),
    openapi_extra=body_schema(UpdateContainerBody, required=True),
)
async def update_container(
    run: Run,
    name: Name,
    body: Annotated[UpdateContainerBody, Depends(json_body(UpdateContainerBody, required=True))],
) -> Response:
    """Change its limits, at once if it is running, and its restart policy. Empty fields are left unchanged."""
    limits = adapt_update(body, run.version)
    request = UpdateContainer(name=name, resources=limits, restart_policy=body.restart_policy)
    return await run.result("container_update", request)


@router.post(
    "/containers/prune",
    summary="Remove all stopped containers",
    operation_id="ContainerPrune",
    response_class=Response,
    responses=returns(ContainersPruned) | answers(409),
)
async def prune_containers(run: Run, filters: Filters = "") -> Response:
    """Remove the containers that are not running; `until`, `label` and `label!` select them."""
    return await run.result("container_prune", PruneContainers(filters=read_filters(filters)))


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
    v: Annotated[Flag, Query(description="also remove its anonymous volumes")] = False,
    force: Annotated[Flag, Query(description="kill it if it is running")] = False,
    link: Flag = False,
) -> Response:
    """Remove a container and the files that it has written."""
    return await run.result("container_remove", RemoveContainer(name=name, volumes=v, force=force, link=link), 204)
