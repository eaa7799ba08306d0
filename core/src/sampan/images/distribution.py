"""What a registry has under a name, without pulling it, as for `docker manifest inspect`.

Rules: moby daemon/server/router/distribution/distribution_routes.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from sampan.digest import Digest
from sampan.images.fetch import retried
from sampan.images.manifest import DOCUMENT_BYTES_MAX, Index, parse_config, parse_document
from sampan.images.platform import Platform
from sampan.images.reference import Reference
from sampan.images.registry import Repository
from sampan.images.registry_config import RegistryConfig


@dataclass(frozen=True)
class Distribution:
    """A manifest or index in a registry, and the platforms for which it has images."""

    media_type: str
    digest: Digest
    size_bytes: int
    platforms: tuple[Platform, ...]


async def describe(repository: Repository, reference: Reference, config: RegistryConfig) -> Distribution:
    """What `reference` refers to there. Raises as `Repository.document` and `parse_document` do."""
    document = await retried(lambda: repository.document(reference), config)
    parsed = parse_document(document.content, document.media_type)
    if isinstance(parsed, Index):
        platforms = tuple(entry.platform for entry in parsed.manifests if entry.platform is not None)
    else:
        content = await retried(lambda: repository.small_blob(parsed.config, DOCUMENT_BYTES_MAX), config)
        platforms = (parse_config(content).platform,)
    return Distribution(parsed.media_type, document.digest, len(document.content), platforms)
