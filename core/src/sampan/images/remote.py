"""Everything that uses registries and the web, in one module.

Importing it takes 0.2 s and 9 MB (aiohttp), so it is imported only when needed.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from sampan.images.content import ContentStore
from sampan.images.distribution import Distribution, describe
from sampan.images.image import Image
from sampan.images.index import ImageIndex
from sampan.images.layers import Layers
from sampan.images.leases import Lease
from sampan.images.platform import Platform
from sampan.images.progress import Report
from sampan.images.pull import Puller
from sampan.images.push import Pusher
from sampan.images.reference import DEFAULT_DOMAIN, Reference, is_domain
from sampan.images.registry import RegistryClient
from sampan.images.registry_config import RegistryAuth, RegistryConfig, domain_of
from sampan.images.search import SEARCHED_HUB, SearchHit, search
from sampan.images.web_file import WebFile, web_file


class Remote:
    """The registries, for one store. Use it within one event loop; close it."""

    def __init__(self, registries: RegistryConfig, content: ContentStore, layers: Layers, index: ImageIndex) -> None:
        self._client = RegistryClient(registries)
        self._puller = Puller(self._client, content, layers, index)
        self._pusher = Pusher(self._client, content, layers, index)

    def reach_by(self, registries: RegistryConfig) -> None:
        """Use another configuration."""
        self._client.reach_by(registries)
        self._pusher.send_at_once(registries.uploads)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def login(self, auth: RegistryAuth) -> str:
        """The identity token that a registry gives for credentials. Raises as `RegistryClient.login` does."""
        return await self._client.login(domain_of(auth.server), auth)

    async def pull(
        self, reference: Reference, platform: Platform, auth: RegistryAuth | None, lease: Lease, report: Report
    ) -> Image:
        """Pull an image. Raises as `Puller.pull` does."""
        return await self._puller.pull(reference, platform, auth, lease, report)

    async def describe(self, reference: Reference, auth: RegistryAuth | None) -> Distribution:
        """What the registry has under a name. Raises as `Repository.document` does."""
        repository = await self._client.repository(reference, auth)
        return await describe(repository, reference, self._client.config)

    async def search(self, term: str, limit: int, auth: RegistryAuth | None) -> list[SearchHit]:
        """Search a registry (named before the first slash of `term`, else Docker Hub) for images.

        Raises as `search` does.
        """
        host, slash, rest = term.partition("/")
        if not slash or not is_domain(host):
            host, rest = DEFAULT_DOMAIN, term
        channel = await self._client.channel(host, auth)
        return await search(channel, SEARCHED_HUB if host == DEFAULT_DOMAIN else channel.endpoint.url, rest, limit)

    async def push(self, reference: Reference, auth: RegistryAuth | None, lease: Lease, report: Report) -> None:
        """Push an image. Raises as `Pusher.push` does."""
        await self._pusher.push(reference, auth, lease, report)

    def web_file(self, source: str) -> AbstractAsyncContextManager[WebFile]:
        """A file on the web. Raises as `web_file` does."""
        return web_file(source, self._client.config)
