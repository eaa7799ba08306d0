"""Searches a registry for images, which only the first registry API supports; Docker Hub still serves it.

Source: moby daemon/pkg/registry search.go, session.go.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from yarl import URL

from sampan.errdefs import InvalidArgument, NotFound, SystemFailure
from sampan.images.channel import Channel
from sampan.images.manifest import DOCUMENT_BYTES_MAX
from sampan.images.refusal import read_bounded

SEARCHED_HUB = "https://index.docker.io"
"""The address of Docker Hub's search."""


@dataclass(frozen=True)
class SearchHit:
    """An image found in a registry."""

    name: str
    description: str
    stars: int
    is_official: bool
    is_automated: bool


async def search(channel: Channel, host: str, term: str, limit: int) -> list[SearchHit]:
    """The images that the registry at `host` finds for `term`.

    Raises `NotFound` if the registry has no search, `SystemFailure`, `InvalidArgument` for a malformed response.
    """
    url = URL(host).joinpath("v1", "search").with_query({"q": term, "n": str(limit)})
    async with channel.request("GET", url, (), headers={"X-Docker-Token": "true"}) as response:
        if response.status in (404, 405, 501):
            raise NotFound(f"registry {url.authority} has no search (it answers with status {response.status})")
        if response.status != 200:
            raise SystemFailure(f"Unexpected status code {response.status}")
        content = await read_bounded(response, DOCUMENT_BYTES_MAX)
    try:
        results = json.loads(content)["results"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidArgument(f"error decoding registry search results: {error}") from None
    return [_hit(result) for result in results[:limit] if isinstance(result, dict)]


def _hit(result: dict[str, Any]) -> SearchHit:
    stars = result.get("star_count")
    return SearchHit(
        name=str(result.get("name") or ""),
        description=str(result.get("description") or ""),
        stars=stars if isinstance(stars, int) else 0,
        is_official=result.get("is_official") is True,
        is_automated=result.get("is_automated") is True,
    )
