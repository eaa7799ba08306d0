"""Saving images as archives, and their history."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from sampan.api.describe import answers, lists
from sampan.api.params import Name, Run, read_platform
from sampan.errdefs import InvalidArgument
from sampan.models import HistoryStep, ImageHistory, SaveImages

router = APIRouter(tags=["Image"])
_TAR: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An archive that `docker load`, Podman and OCI tools read",
        "content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}},
    }
}
Platforms = Annotated[list[str] | None, Query(description="platforms that the images must have")]


@router.get(
    "/images/get",
    summary="Save images",
    operation_id="ImageGetAll",
    response_class=Response,
    responses=answers(404) | _TAR,
)
async def save_images(
    run: Run,
    names: Annotated[list[str] | None, Query(description="tags, IDs, or repositories with all their tags")] = None,
    platform: Platforms = None,
) -> Response:
    """One archive with several images."""
    if not names:
        raise InvalidArgument("names must be given")
    return run.archive("image_save", SaveImages(names=names, platforms=_read_platforms(platform)))


@router.get(
    "/images/{name:path}/get",
    summary="Save an image",
    operation_id="ImageGet",
    response_class=Response,
    responses=answers(404) | _TAR,
)
async def save_image(run: Run, name: Name, platform: Platforms = None) -> Response:
    """An archive of one image, or of all tags of a repository."""
    return run.archive("image_save", SaveImages(names=[name], platforms=_read_platforms(platform)))


@router.get(
    "/images/{name:path}/history",
    summary="Show how an image was made",
    operation_id="ImageHistory",
    response_class=Response,
    responses=lists(HistoryStep) | answers(404),
)
async def image_history(run: Run, name: Name, platform: str = "") -> Response:
    """The steps of an image, newest first."""
    return await run.result("image_history", ImageHistory(name=name, platform=read_platform(platform)))


def _read_platforms(texts: list[str] | None) -> list[str]:
    return [platform for text in texts or () if (platform := read_platform(text))]
