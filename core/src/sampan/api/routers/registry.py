"""Registry operations other than pull: push, search, distribution."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from sampan.api.describe import answers, items, lists, returns
from sampan.api.params import Filters, Name, Number, RegistryHeader, Run, read_auth, read_filters, read_platform
from sampan.errdefs import InvalidArgument
from sampan.models import DistributionInspect, InspectDistribution, PushImage, SearchImages, SearchResult

router = APIRouter(tags=["Image"])
_PROGRESS: dict[int | str, dict[str, Any]] = {
    200: items("Progress, and at its end the digest or what went wrong", "Progress", "application/json")
}


@router.post(
    "/images/{name:path}/push",
    summary="Push an image",
    operation_id="ImagePush",
    response_class=Response,
    responses=answers(404)
    | {200: items("Progress, and at its end the digest or what went wrong", "Progress", "application/json")},
)
async def push_image(
    run: Run,
    name: Name,
    tag: Annotated[str, Query(description="empty pushes every tag of the repository")] = "",
    platform: str = "",
    x_registry_auth: RegistryHeader = None,
) -> Response:
    """Send an image, or every tag of a repository, to its registry."""
    request = PushImage(name=name, tag=tag, platform=read_platform(platform), auth=read_auth(x_registry_auth))
    return run.output("image_push", request)


@router.get(
    "/images/search",
    summary="Search a registry",
    operation_id="ImageSearch",
    response_class=Response,
    responses=lists(SearchResult) | answers(404),
)
async def search_images(
    run: Run,
    *,
    term: str = "",
    limit: Number = None,
    filters: Filters = "",
    x_registry_auth: RegistryHeader = None,
) -> Response:
    """The images offered by Docker Hub, or by the registry that the term begins with."""
    if not term:
        raise InvalidArgument("term must be given")
    request = SearchImages(
        term=term, limit=limit or 25, filters=read_filters(filters), auth=read_auth(x_registry_auth)
    )
    return await run.result("image_search", request)


@router.get(
    "/distribution/{name:path}/json",
    tags=["Distribution"],
    summary="Look up a name in a registry",
    operation_id="DistributionInspect",
    response_class=Response,
    responses=returns(DistributionInspect) | answers(401, 404),
)
async def inspect_distribution(run: Run, name: Name, x_registry_auth: RegistryHeader = None) -> Response:
    """What a registry has under a name: its digest, and the platforms it has images for."""
    request = InspectDistribution(name=name, auth=read_auth(x_registry_auth))
    return await run.result("distribution_inspect", request)
