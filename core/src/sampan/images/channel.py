"""Requests to one registry with someone's credentials, repeated if the registry asks for authentication."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from sampan.images.auth import Authorizer, Scopes
from sampan.images.registry_config import Endpoint, RegistryAuth
from sampan.images.transport import Asked, Content, Transport


class Channel:
    """One endpoint, and the credentials for it, which a mirror never gets."""

    def __init__(self, transport: Transport, endpoint: Endpoint, auth: RegistryAuth | None) -> None:
        self.endpoint = endpoint
        self.authorizer = Authorizer(transport, endpoint, None if endpoint.is_mirror else auth)
        self.config = transport.config
        self._transport = transport
        self._origin = URL(endpoint.url).origin()

    def url(self, path: str) -> URL:
        """The URL of `path`, relative to this registry's `/v2/`."""
        return URL(f"{self.endpoint.url}/v2/{path}", encoded=True)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: URL,
        scopes: Scopes,
        *,
        headers: Mapping[str, str] | None = None,
        content: Content = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Request `url`; credentials are sent only to this registry. A body other than `bytes` can be sent only once.

        Raises what `Transport.request` and `Authorizer.header` raise.
        """
        is_own = url.origin() == self._origin
        is_last = not (is_own and (content is None or isinstance(content, bytes)))
        while True:
            shown = await self.authorizer.header(scopes) if is_own else None
            asked = Asked(method, url, headers or {}, content, shown)
            async with self._transport.request(self.endpoint, asked) as response:
                if response.status == 401 and not is_last and self.authorizer.learn(response, scopes, shown):
                    is_last = True
                    continue
                yield response
                return
