"""container_commit: creates an image from a container's changes (moby daemon/commit.go)."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.daemon.filesystem.archive import refuse_gone
from sampan.daemon.filesystem.changes import changes_of
from sampan.daemon.filesystem.view import viewed_bare
from sampan.daemon.images.image import publish_image, reference_of
from sampan.daemon.lifecycle.pause import paused
from sampan.daemon.settings.merge import merge
from sampan.drivers import ChangeKind
from sampan.engine import Job
from sampan.errdefs import InvalidArgument
from sampan.images.changes import apply_changes
from sampan.images.commit import Committed
from sampan.images.layer import copy
from sampan.images.reference import Reference
from sampan.images.store import Image
from sampan.models import CommitContainer, CommitResponse, ContainerConfig, ImageConfig
from sampan.tasks import in_thread

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_commit(daemon: Daemon, job: Job[CommitContainer]) -> CommitResponse:
    """Create an image from the container's image, its changes, and its configuration; all or nothing."""
    request = job.request
    container = daemon.containers.get(request.name)
    refuse_gone(container, "commit")
    reference = _reference(request)
    committed = Committed(
        config=_config(container, request),
        author=request.author,
        comment=request.comment,
        created_by=" ".join(container.record.config.cmd or ()),
    )
    async with paused(daemon, container) if request.pause else nullcontext():
        image = await _make(daemon, container, committed, reference)
    publish_image(daemon, "create", image)
    name = reference.familiar if reference else ""
    if reference:
        publish_image(daemon, "tag", image, name=name)
    daemon.publish(container, "commit", comment=request.comment, imageID=image.id, imageRef=name)
    return CommitResponse(id=image.id)


async def _make(daemon: Daemon, container: Container, committed: Committed, reference: Reference | None) -> Image:
    parent = daemon.images.get(container.record.image_id)
    async with viewed_bare(daemon, container) as view:
        changes = await in_thread(changes_of, daemon, container)
        listed = [(path.lstrip(b"/"), kind is ChangeKind.DELETED) for path, kind in changes]
        layer = copy.pack_changes(view.namespace, listed) if listed else None
        return await daemon.images.commit(parent, layer, committed, reference)


def _reference(request: CommitContainer) -> Reference | None:
    if not request.repository:
        return None
    reference = reference_of(request.repository, request.tag)
    if reference.digest:
        raise InvalidArgument("cannot import digest reference")
    return reference.tagged()


def _config(container: Container, request: CommitContainer) -> dict[str, object]:
    """The image's configuration for containers: the one asked for, completed from the container's own."""
    own = container.record.config
    base = request.config or own
    changed = apply_changes(request.changes, base.model_dump(by_alias=True, exclude_unset=request.config is not None))
    merged = merge(ContainerConfig.model_validate(changed), own)
    return ImageConfig.model_validate(merged.model_dump(by_alias=True)).model_dump(by_alias=True)
