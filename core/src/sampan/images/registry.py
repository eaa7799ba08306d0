"""A registry's client: manifests, tags and blobs over HTTP (OCI distribution-spec).

What a registry sends is untrusted until its digest is verified: sizes are limited, redirects are followed only a few
times, never from HTTPS to HTTP and never with credentials.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from sampan.digest import Digest
from sampan.errdefs import (
    DataLoss,
    InvalidArgument,
    NotFound,
    SampanError,
    SystemFailure,
    Unauthorized,
)
from sampan.images.channel import Channel
from sampan.images.interruption import Interrupted
from sampan.images.manifest import ACCEPTED, DOCUMENT_BYTES_MAX, Descriptor
from sampan.images.pace import Pace
from sampan.images.reference import Reference
from sampan.images.refusal import read_bounded, refusal
from sampan.images.registry_config import Endpoint, RegistryAuth, RegistryConfig
from sampan.images.transport import Asked, Transport, joined

_log = logging.getLogger(__name__)
_TAG_PAGES_MAX = 1000
_TAGS_MAX = 100_000


@dataclass(frozen=True)
class Document:
    """A manifest or index as the registry sent it, with the digest of exactly these bytes."""

    content: bytes
    media_type: str
    digest: Digest


class RegistryClient:
    """The client for all registries, with one pool of connections. Use it within one event loop; close it."""

    def __init__(self, config: RegistryConfig) -> None:
        self.config = config
        self._transport = Transport(config)

    def reach_by(self, config: RegistryConfig) -> None:
        """Use another configuration. Operations in progress end with the old one."""
        self.config = self._transport.config = config

    async def mirrors(self, reference: Reference) -> list[Repository]:
        """The repository of `reference` at those mirrors that respond."""
        self._transport.forget_certificates()
        found = []
        for endpoint in self.config.endpoints(reference.domain):
            if endpoint.is_mirror:
                try:
                    found.append(Repository(await self._channel(endpoint, None), reference))
                except SampanError as error:
                    _log.warning("mirror %s: %s", endpoint.url, error)
        return found

    async def repository(self, reference: Reference, auth: RegistryAuth | None = None) -> Repository:
        """The repository of `reference`, at the first endpoint of its registry that responds, mirrors excluded.

        Raises `SystemFailure` if none does.
        """
        return Repository(await self.channel(reference.domain, auth), reference)

    async def channel(self, domain: str, auth: RegistryAuth | None) -> Channel:
        """A channel to a registry, which gets `auth` if it asks. Raises `SystemFailure` if it does not respond."""
        self._transport.forget_certificates()
        endpoints = [endpoint for endpoint in self.config.endpoints(domain) if not endpoint.is_mirror]
        for number, endpoint in enumerate(endpoints, start=1):
            try:
                return await self._channel(endpoint, auth)
            except Interrupted as error:
                _log.debug("registry %s: %s", endpoint.url, error)
                if number == len(endpoints):
                    raise SystemFailure(f'Get "{endpoint.url}/v2/": {error}') from error
        raise AssertionError("a registry has at least one endpoint")

    async def login(self, domain: str, auth: RegistryAuth) -> str:
        """Have the registry check `auth`; returns the identity token to use from now on, "" for the same credentials.

        Raises `Unauthorized` if it rejects them, `SystemFailure` if it does not respond.
        """
        channel = await self.channel(domain, auth)
        try:
            await channel.authorizer.header((), offline=True)
            async with channel.request("GET", channel.url(""), ()) as response:
                status, reason = response.status, response.reason
        except (Unauthorized, Interrupted) as error:
            raise type(error)(f'Get "{channel.url("")}": {error}') from error
        if status != 200:
            kind = Unauthorized if status in (401, 403) else SystemFailure
            raise kind(f"login attempt to {channel.url('')} failed with status: {status} {reason}")
        return channel.authorizer.identity_token

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def _channel(self, endpoint: Endpoint, auth: RegistryAuth | None) -> Channel:
        """The channel to `endpoint`, once it has responded.

        Usually that is a demand for credentials, which are not sent yet, as the scope depends on the later request.
        """
        channel = Channel(self._transport, endpoint, auth)
        asked = Asked("GET", channel.url(""))
        async with self._transport.request(endpoint, asked) as response:
            if response.status == 401:
                channel.authorizer.learn(response, (), None)
        return channel


class Repository:
    """One repository of one registry."""

    def __init__(self, channel: Channel, reference: Reference) -> None:
        self._channel = channel
        self._reference = reference
        self._scopes = (f"repository:{reference.path}:pull",)

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that it is at."""
        return self._channel.endpoint

    async def document(self, reference: Reference) -> Document:
        """The manifest or index for the digest of `reference`, or else for its tag.

        Raises `NotFound`, `Unauthorized`, `Unavailable` with Docker's message, `DataLoss` if it does not match its
        digest, `Interrupted`.
        """
        wanted = str(reference.digest or reference.tag)
        url = self._url(f"manifests/{wanted}")
        async with self._get(url, {"Accept": ", ".join(ACCEPTED)}) as response:
            if response.status != 200:
                raise await refusal(response, reference)
            content = await read_bounded(response, DOCUMENT_BYTES_MAX)
            media_type = response.headers.get("Content-Type", "")
        digest = Digest.of(content)
        if reference.digest is not None and digest != reference.digest:
            raise DataLoss(f"manifest verification failed for digest {reference.digest}")
        return Document(content, media_type, digest)

    async def tags(self) -> list[str]:
        """All tags. Raises as `document` does, and `InvalidArgument` for a malformed or endless list."""
        found: list[str] = []
        url = self._url("tags/list")
        for _ in range(_TAG_PAGES_MAX):
            async with self._get(url, {}) as response:
                if response.status != 200:
                    raise await refusal(response, self._reference)
                found += _tags_in(await read_bounded(response, DOCUMENT_BYTES_MAX))
                link = _next_page(response)
            if link is None or link.origin() != url.origin() or len(found) > _TAGS_MAX:
                return found[:_TAGS_MAX]
            url = link
        raise InvalidArgument(f"the registry has more than {_TAG_PAGES_MAX} pages of tags")

    async def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob from `offset` on, exactly as many as in its descriptor.

        Raises `Interrupted` if the connection breaks (continue from there), `DataLoss` if there are more bytes,
        `DeadlineExceeded` if it is too slow.
        """
        pace = Pace("registry", self._channel.config.read_timeout_s)
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        left = descriptor.size_bytes - offset
        url = self._url(f"blobs/{descriptor.digest}")
        async with self._get(url, headers) as response:
            if response.status not in (200, 206):
                raise await _blob_failure(response, self._reference, descriptor)
            skip = offset if response.status == 200 else _refuse_other_range(response, offset)
            async for chunk in response.content.iter_any():
                pace.came(len(chunk))
                useful = chunk[skip:]
                skip -= len(chunk) - len(useful)
                left -= len(useful)
                if left < 0:
                    raise DataLoss(
                        f"blob {descriptor.digest} is larger than the {descriptor.size_bytes} bytes announced"
                    )
                if useful:
                    yield useful
        if left:
            raise Interrupted("unexpected EOF")

    async def small_blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """A whole blob of at most `limit` bytes, verified. Raises as `blob` does."""
        if descriptor.size_bytes > limit:
            raise InvalidArgument(f"blob {descriptor.digest} is larger than {limit} bytes")
        content = b"".join([chunk async for chunk in self.blob(descriptor)])
        if Digest.of(content) != descriptor.digest:
            raise DataLoss(f"image config verification failed for digest {descriptor.digest}")
        return content

    def _url(self, what: str) -> URL:
        return self._channel.url(f"{self._reference.path}/{what}")

    def _get(self, url: URL, headers: Mapping[str, str]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._channel.request("GET", url, self._scopes, headers=headers)


def _tags_in(content: bytes) -> list[str]:
    try:
        tags = json.loads(content)["tags"] or []
    except (ValueError, KeyError, TypeError, RecursionError):
        tags = None
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidArgument("the list of tags is malformed")
    return tags


def _next_page(response: aiohttp.ClientResponse) -> URL | None:
    try:
        following = response.links.get("next")
        return joined(response.url, str(following["url"])) if following else None
    except ValueError as error:
        raise InvalidArgument(f"the list of tags continues at an invalid URL: {error}") from error


def _refuse_other_range(response: aiohttp.ClientResponse, offset: int) -> int:
    answered = response.headers.get("Content-Range", "")
    if not answered.startswith(f"bytes {offset}-"):
        raise DataLoss(f"the registry answered the range {answered!r} where bytes from {offset} on were asked for")
    return 0


async def _blob_failure(
    response: aiohttp.ClientResponse, reference: Reference, descriptor: Descriptor
) -> SampanError:
    if response.status == 404:
        return NotFound(f"unknown blob: the registry does not have {descriptor.digest}")
    return await refusal(response, reference)
