"""image_push, distribution_inspect, image_search: uses of registries other than pulls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan import models
from sampan.daemon import filters
from sampan.daemon.images.image import credentials, reference_of
from sampan.engine import Job
from sampan.errdefs import InvalidArgument
from sampan.images.registry_config import RegistryAuth
from sampan.models import (
    Descriptor,
    DistributionInspect,
    InspectDistribution,
    PushImage,
    SearchImages,
    SearchResult,
)

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon
    from sampan.images.search import SearchHit

_SEARCH_FILTERS = frozenset({"is-automated", "is-official", "stars"})
_HITS_MAX = 100


async def image_push(daemon: Daemon, job: Job[PushImage]) -> None:
    """Push an image to its registry, with Docker's stream of progress."""
    request, output = job.request, job.require_output()
    reference = reference_of(request.name, request.tag)
    if request.platform and not reference.has_name_only:
        daemon.images.get(str(reference), platform=request.platform)
    await daemon.images.push(reference, auth=_auth(request), progress=output.write)
    daemon.events.publish("image", "push", reference.familiar, {"name": reference.familiar_name})


async def distribution_inspect(daemon: Daemon, job: Job[InspectDistribution]) -> DistributionInspect:
    """What a registry has under a name, without pulling it."""
    reference = reference_of(job.request.name, "").tagged()
    found = await daemon.images.describe(reference, auth=_auth(job.request))
    return DistributionInspect(
        descriptor=Descriptor(media_type=found.media_type, digest=found.digest, size=found.size_bytes),
        platforms=[
            models.Platform(os=one.os, architecture=one.architecture, variant=one.variant) for one in found.platforms
        ],
    )


async def image_search(daemon: Daemon, job: Job[SearchImages]) -> list[SearchResult]:
    """Search a registry for images."""
    request = job.request
    wanted = filters.checked(request.filters, _SEARCH_FILTERS)
    stars = max(filters.integers(wanted, "stars"), default=0)
    if not 1 <= request.limit <= _HITS_MAX:
        raise InvalidArgument(f"limit {request.limit} is outside the range of [1, {_HITS_MAX}]")
    hits = await daemon.images.search(request.term, limit=request.limit, auth=_auth(request))
    return [
        SearchResult(
            name=hit.name,
            description=hit.description,
            star_count=hit.stars,
            is_official=hit.is_official,
            is_automated=hit.is_automated,
        )
        for hit in hits
        if _is_wanted(wanted, hit) and hit.stars >= stars
    ]


def _is_wanted(wanted: filters.Filters, hit: SearchHit) -> bool:
    return filters.is_true(wanted, "is-automated", hit.is_automated) and filters.is_true(
        wanted, "is-official", hit.is_official
    )


def _auth(request: PushImage | InspectDistribution | SearchImages) -> RegistryAuth | None:
    return credentials(request.auth) if request.auth else None
