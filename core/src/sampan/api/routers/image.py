"""Images."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from sampan.api.describe import answers, items, lists, returns
from sampan.api.params import Filters, Flag, Name, Number, RegistryHeader, Run, read_auth, read_filters, read_platform
from sampan.errdefs import InvalidArgument
from sampan.models import (
    BuildCachePruned,
    ImageInspect,
    ImageRemoved,
    ImagesPruned,
    ImageSummary,
    ImportImage,
    InspectImage,
    ListImages,
    LoadImages,
    PruneBuildCache,
    PruneImages,
    PullImage,
    RemoveImage,
    TagImage,
)

router = APIRouter(tags=["Image"])
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_TAR = {"requestBody": {"content": {"application/x-tar": _BYTES, "application/octet-stream": _BYTES}}}
_PROGRESS: dict[int | str, dict[str, Any]] = {
    200: items("Progress, and at its end what was made or what went wrong", "Progress", "application/json")
}


@router.get(
    "/images/json",
    summary="List images",
    operation_id="ImageList",
    response_class=Response,
    responses=lists(ImageSummary) | answers(),
)
async def list_images(
    run: Run,
    *,
    all: Flag = False,
    filters: Filters = "",
    shared_size: Annotated[Flag, Query(alias="shared-size")] = False,
    digests: Flag = False,
    manifests: Flag = False,
) -> Response:
    """The images of this engine."""
    request = ListImages(
        all=all, filters=read_filters(filters), shared_size=shared_size, digests=digests, manifests=manifests
    )
    return await run.result("image_list", request)


@router.post(
    "/images/prune",
    summary="Remove unused images",
    operation_id="ImagePrune",
    response_class=Response,
    responses=returns(ImagesPruned) | answers(409),
)
async def prune_images(run: Run, filters: Filters = "") -> Response:
    """Remove the images without a name, or with the filter `dangling=false` all that no container uses."""
    return await run.result("image_prune", PruneImages(filters=read_filters(filters)))


@router.post(
    "/build/prune",
    summary="Empty the build cache",
    operation_id="BuildPrune",
    response_class=Response,
    responses=returns(BuildCachePruned) | answers(),
)
async def prune_build_cache(
    run: Run,
    *,
    all: Flag = False,
    filters: Filters = "",
    reserved_space: Annotated[Number, Query(alias="reserved-space", description="bytes")] = None,
    keep_storage: Annotated[Number, Query(alias="keep-storage", description="as reserved-space, before 1.48")] = None,
    max_used_space: Annotated[Number, Query(alias="max-used-space", description="bytes")] = None,
    min_free_space: Annotated[Number, Query(alias="min-free-space", description="bytes")] = None,
) -> Response:
    """Remove what builds have left behind."""
    request = PruneBuildCache(
        all=all,
        filters=read_filters(filters),
        reserved_bytes=reserved_space or keep_storage or 0,
        max_used_bytes=max_used_space or 0,
        min_free_bytes=min_free_space or 0,
    )
    return await run.result("build_prune", request)


@router.post(
    "/images/create",
    summary="Pull or import an image",
    operation_id="ImageCreate",
    response_class=Response,
    responses=answers(401, 403, 404) | _PROGRESS,
    openapi_extra=_TAR,
)
async def create_image(
    run: Run,
    *,
    from_image: Annotated[str, Query(alias="fromImage", description="the image to pull")] = "",
    from_src: Annotated[str, Query(alias="fromSrc", description="a URL to import, or `-` for the body")] = "",
    repo: str = "",
    tag: Annotated[str, Query(description="tag or digest; empty is the one in fromImage, or all tags")] = "",
    message: str = "",
    changes: Annotated[list[str] | None, Query()] = None,
    platform: str = "",
    x_registry_auth: RegistryHeader = None,
) -> Response:
    """Pull an image from a registry, or create one from a tar archive."""
    if from_image:
        pull = PullImage(
            reference=from_image.removesuffix(":"),
            tag=tag,
            platform=read_platform(platform),
            auth=read_auth(x_registry_auth),
        )
        return run.output("image_pull", pull)
    if not from_src:
        raise InvalidArgument("one of fromImage and fromSrc must be given")
    request = ImportImage(
        source=from_src,
        reference=repo,
        tag=tag,
        message=message,
        changes=changes or [],
        platform=read_platform(platform),
    )
    return run.output("image_import", request, has_body=from_src == "-", early_head=from_src == "-")


@router.post(
    "/images/load",
    summary="Load images",
    operation_id="ImageLoad",
    response_class=Response,
    responses=answers() | _PROGRESS,
    openapi_extra=_TAR,
)
async def load_images(
    run: Run, quiet: Flag = True, platform: Annotated[list[str] | None, Query()] = None
) -> Response:
    """Add the images of an archive that `docker save` or an OCI tool has written."""
    platforms = [wanted for text in platform or () if (wanted := read_platform(text))]
    return run.output("image_load", LoadImages(quiet=quiet, platforms=platforms), has_body=True)


@router.get(
    "/images/{name:path}/json",
    summary="Inspect an image",
    operation_id="ImageInspect",
    response_class=Response,
    responses=returns(ImageInspect) | answers(404),
)
async def inspect_image(run: Run, name: Name, manifests: Flag = False, platform: str = "") -> Response:
    """Everything that is known about an image."""
    request = InspectImage(name=name, manifests=manifests, platform=read_platform(platform))
    return await run.result("image_inspect", request)


@router.post(
    "/images/{name:path}/tag",
    summary="Name an image",
    operation_id="ImageTag",
    status_code=201,
    response_class=Response,
    responses=answers(404, 409),
)
async def tag_image(run: Run, name: Name, repo: str = "", tag: str = "") -> Response:
    """Give an image another name. If another image has this name, it loses it."""
    if not repo:
        raise InvalidArgument("repository name must have at least one component")
    return await run.result("image_tag", TagImage(name=name, repository=repo, tag=tag), 201)


@router.delete(
    "/images/{name:path}",
    summary="Remove an image",
    operation_id="ImageDelete",
    response_class=Response,
    responses=lists(ImageRemoved) | answers(404, 409),
)
async def remove_image(
    run: Run,
    name: Name,
    force: Flag = False,
    noprune: Flag = False,
    platforms: Annotated[list[str] | None, Query()] = None,
) -> Response:
    """Remove a name from an image, and the image itself with its last name."""
    wanted = [one for text in platforms or () if (one := read_platform(text))]
    request = RemoveImage(name=name, force=force, no_prune=noprune, platforms=wanted)
    return await run.result("image_remove", request)
