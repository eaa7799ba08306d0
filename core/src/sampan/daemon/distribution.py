"""image_push, distribution_inspect, image_search: what is asked of registries beside pulls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.daemon.image import credentials, reference_of
from sampan.engine import Job
from sampan.models import PushImage

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def image_push(daemon: Daemon, job: Job[PushImage]) -> None:
    """Send an image to its registry, with Docker's stream of progress."""
    request, output = job.request, job.require_output()
    reference = reference_of(request.name, request.tag)
    auth = credentials(request.auth) if request.auth else None
    await daemon.images.push(reference, auth=auth, progress=output.write)
    daemon.events.publish("image", "push", reference.familiar, {"name": reference.familiar_name})
