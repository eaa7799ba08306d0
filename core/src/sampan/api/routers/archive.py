"""Files of containers: copying in and out, export, changes relative to the image."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from sampan.api.describe import answers, lists, stream
from sampan.api.params import ContainerPath, Flag, Name, Run
from sampan.models import (
    ContainerChanges,
    ContainerPathStat,
    ExportContainer,
    FilesystemChange,
    PackPath,
    StatPath,
    UnpackArchive,
)

router = APIRouter(tags=["Container"])
_STAT = "x-docker-container-path-stat"
_TAR_TYPE = "application/x-tar"
_STAT_HEADER: dict[str, Any] = {
    "X-Docker-Container-Path-Stat": {
        "description": "What the path is: JSON (name, size, mode, mtime, linkTarget) in base64",
        "schema": {"type": "string"},
    }
}
_TAR_BODY = {
    "requestBody": {
        "required": True,
        "description": "A tar, as it is or compressed with gzip, bzip2, xz or zstd",
        "content": {_TAR_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.head(
    "/containers/{name:path}/archive",
    summary="Get information about a file in a container",
    operation_id="ContainerArchiveInfo",
    response_class=Response,
    responses=answers(404) | {200: {"description": "What it is, in a header", "headers": _STAT_HEADER}},
)
async def stat_path(run: Run, name: Name, path: ContainerPath) -> Response:
    """What kind of file a path is. If it is a symbolic link: the link itself, and its target."""
    stat: ContainerPathStat = await run.value("container_stat", StatPath(name=name, path=path))
    return run.in_header(_STAT, stat)


@router.get(
    "/containers/{name:path}/archive",
    summary="Get an archive of a file or directory in a container",
    operation_id="ContainerArchive",
    response_class=Response,
    responses=answers(404) | {200: {**stream("The tar", _TAR_TYPE), "headers": _STAT_HEADER}},
)
async def pack_path(run: Run, name: Name, path: ContainerPath) -> Response:
    """A tar of a path and everything below it. A path that ends in `/.` means the contents of a directory."""
    return run.archive("container_pack", PackPath(name=name, path=path), header=_STAT)


@router.put(
    "/containers/{name:path}/archive",
    summary="Extract an archive in a directory of a container",
    operation_id="PutContainerArchive",
    response_class=Response,
    responses=answers(404, 501) | {200: {"description": "It is unpacked"}},
    openapi_extra=_TAR_BODY,
)
async def unpack_archive(
    run: Run,
    name: Name,
    path: ContainerPath,
    *,
    no_overwrite_dir_non_dir: Annotated[
        Flag,
        Query(
            alias="noOverwriteDirNonDir", description="don't replace a directory by a file, nor a file by a directory"
        ),
    ] = False,
    copy_uid_gid: Annotated[
        Flag, Query(alias="copyUIDGID", description="make the container's user the owner of everything")
    ] = False,
) -> Response:
    """Unpack a tar into a directory, which must exist."""
    request = UnpackArchive(name=name, path=path, copy_uid_gid=copy_uid_gid, keep_kinds=no_overwrite_dir_non_dir)
    return run.upload("container_unpack", request)


@router.get(
    "/containers/{name:path}/export",
    summary="Export a container",
    operation_id="ContainerExport",
    response_class=Response,
    responses=answers(404, 409) | {200: stream("The tar", _TAR_TYPE)},
)
async def export_container(run: Run, name: Name) -> Response:
    """A tar of all its files except those in its volumes."""
    return run.archive("container_export", ExportContainer(name=name))


@router.get(
    "/containers/{name:path}/changes",
    summary="Get changes on a container's filesystem",
    operation_id="ContainerChanges",
    response_class=Response,
    responses=lists(FilesystemChange) | answers(404, 501),
)
async def container_changes(run: Run, name: Name) -> Response:
    """The paths that differ from the image: modified (0), added (1) or deleted (2)."""
    return await run.result("container_changes", ContainerChanges(name=name))
