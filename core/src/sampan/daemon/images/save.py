"""image_save and image_history: exporting images, and how they were created."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from sampan.daemon.images.image import seconds_of
from sampan.engine import Job
from sampan.models import HistoryStep, ImageHistory, SaveImages

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_UNKNOWN = "<missing>"


async def image_save(daemon: Daemon, job: Job[SaveImages]) -> None:
    """Write images to an archive."""
    request, output = job.request, job.require_output()
    images = [daemon.images.get(name) for name in request.names]
    async with aclosing(daemon.images.save(request.names, platforms=request.platforms)) as pieces:
        async for piece in pieces:
            await output.write(piece)
    for name, image in zip(request.names, images, strict=True):
        daemon.events.publish("image", "save", image.id, {"name": name})


async def image_history(daemon: Daemon, job: Job[ImageHistory]) -> list[HistoryStep]:
    """How an image was created, newest step first."""
    image = daemon.images.get(job.request.name, platform=job.request.platform)
    steps = [
        HistoryStep(
            id=_UNKNOWN,
            created=int(seconds_of(step.created)),
            created_by=step.created_by,
            size=step.size_bytes,
            comment=step.comment,
        )
        for step in daemon.images.history(image)
    ]
    if steps:
        steps[0] = steps[0].model_copy(update={"id": image.id, "tags": list(image.references) or None})
    return steps
