"""Images created from containers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from sampan.api.body import body_schema, json_body
from sampan.api.describe import answers, returns
from sampan.api.params import Flag, Run
from sampan.models import CommitContainer, CommitResponse, ContainerConfig

router = APIRouter(tags=["Image"])


@router.post(
    "/commit",
    summary="Create a new image from a container",
    operation_id="ImageCommit",
    status_code=201,
    response_class=Response,
    responses=returns(CommitResponse, 201) | answers(404, 409, 501),
    openapi_extra=body_schema(ContainerConfig),
)
async def commit_container(
    run: Run,
    body: Annotated[ContainerConfig, Depends(json_body(ContainerConfig))],
    container: Annotated[str, Query(description="ID or name")] = "",
    *,
    repo: str = "",
    tag: str = "",
    comment: str = "",
    author: str = "",
    pause: Annotated[Flag, Query(description="pause the container meanwhile")] = True,
    changes: Annotated[list[str] | None, Query(description="Dockerfile instructions")] = None,
) -> Response:
    """Create an image from the changes in a container, and from its configuration."""
    request = CommitContainer(
        name=container,
        repository=repo,
        tag=tag,
        comment=comment,
        author=author,
        pause=pause,
        changes=changes or [],
        config=body if body.model_fields_set else None,
    )
    return await run.result("container_commit", request, 201)
