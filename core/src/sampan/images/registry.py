"""A registry's client: manifests, tags and blobs over HTTP (OCI distribution-spec).

What a registry sends is hostile until its digest says otherwise: sizes are bounded, redirects followed a few times,
never from HTTPS to HTTP and never with credentials. Error texts are Docker's: moby
daemon/internal/distribution/errors.go and docker/distribution registry/api/errcode.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

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
    Unavailable,
)
from sampan.images.manifest import ACCEPTED, DOCUMENT_BYTES_MAX, Descriptor
from sampan.images.reference import Reference
from sampan.images.registry_config import Endpoint, RegistryConfig

_log = logging.getLogger(__name__)
_READ_BYTES = 1 << 20
_ERROR_BYTES_MAX = 64 << 10
_REDIRECTS_MAX = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_TAG_PAGES_MAX = 1000
_DENIED = "pull access denied for {name}, repository does not exist or may require 'docker login': {cause}"
_REFUSALS: dict[str, tuple[type[SampanError], str]] = {
    "UNAUTHORIZED": (Unauthorized, _DENIED),
    "DENIED": (NotFound, _DENIED),
    "MANIFEST_UNKNOWN": (NotFound, "manifest for {reference} not found: {cause}"),
    "NAME_UNKNOWN": (NotFound, "repository {name} not found: {cause}"),
}
_DEFAULT_ERRORS = {
    401: ("UNAUTHORIZED", "authentication required"),
    403: ("DENIED", "requested access to the resource is denied"),
    404: ("MANIFEST_UNKNOWN", "manifest unknown"),
    429: ("TOOMANYREQUESTS", "too many requests"),
}
_NETWORK_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)


class Interrupted(SystemFailure):
    """The registry or the way to it failed; trying again may help."""


@dataclass(frozen=True)
class Document:
    """A manifest or index as the registry sent it; its digest is that of these very bytes."""

    content: bytes
    media_type: str
    digest: Digest


class RegistryClient:
    """Speaks to all registries over one pool of connections. Use it within one event loop; close it."""

    def __init__(self, config: RegistryConfig) -> None:
        self.config = config
        self._session: aiohttp.ClientSession | None = None

    async def repository(self, reference: Reference) -> Repository:
        """The repository of `reference`, at the first endpoint of its registry that answers.

        Raises `SystemFailure` if none does.
        """
        endpoints = self.config.endpoints(reference.domain)
        for number, endpoint in enumerate(endpoints, start=1):
            try:
                async with self.get(endpoint, URL(f"{endpoint.url}/v2/"), {}):
                    return Repository(self, endpoint, reference)
            except Interrupted as error:
                _log.debug("registry %s: %s", endpoint.url, error)
                if number == len(endpoints):
                    raise SystemFailure(f'Get "{endpoint.url}/v2/": {error}') from error
        raise AssertionError("a registry has at least one endpoint")

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def get(
        self, endpoint: Endpoint, url: URL, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET `url` and follow redirects. Raises `Interrupted` if the network fails, also within the context."""
        try:
            response = await self._follow(endpoint, url, dict(headers))
            try:
                yield response
            finally:
                response.close() if not response.content.at_eof() else response.release()
        except _NETWORK_ERRORS as error:
            raise Interrupted(_words(error, url)) from error

    async def _follow(self, endpoint: Endpoint, url: URL, headers: dict[str, str]) -> aiohttp.ClientResponse:
        for _ in range(_REDIRECTS_MAX + 1):
            is_own = url.origin() == URL(endpoint.url)
            verify = endpoint.verify or not is_own
            response = await self._opened().get(
                url, headers=headers, allow_redirects=False, ssl=self.config.trust if verify else False
            )
            if response.status not in _REDIRECTS:
                return response
            response.close()
            target = url.join(URL(response.headers.get("Location", "")))
            if target.scheme != "https" and not (target.scheme == url.scheme == "http"):
                raise InvalidArgument(f"registry {endpoint.url} redirects to {target.scheme}, which is refused")
            url = target
        raise InvalidArgument(f"registry {endpoint.url} redirects more than {_REDIRECTS_MAX} times")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeouts = aiohttp.ClientTimeout(
                total=None,
                sock_connect=self.config.connect_timeout_s,
                sock_read=self.config.read_timeout_s,
            )
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=timeouts,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "sampan", "Accept-Encoding": "identity"},
                read_bufsize=_READ_BYTES,
            )
        return self._session


class Repository:
    """One repository of one registry."""

    def __init__(self, client: RegistryClient, endpoint: Endpoint, reference: Reference) -> None:
        self._client = client
        self._endpoint = endpoint
        self._reference = reference

    async def document(self, reference: Reference) -> Document:
        """The manifest or index that `reference`'s digest, else its tag, names.

        Raises `NotFound`, `Unauthorized`, `Unavailable` in Docker's words, `DataLoss` if it is not what its digest
        says, `Interrupted`.
        """
        wanted = str(reference.digest or reference.tag)
        url = self._url(f"manifests/{wanted}")
        async with self._client.get(self._endpoint, url, {"Accept": ", ".join(ACCEPTED)}) as response:
            if response.status != 200:
                raise await _failure(response, reference)
            content = await _read(response, DOCUMENT_BYTES_MAX)
            media_type = response.headers.get("Content-Type", "")
        digest = Digest.of(content)
        if reference.digest is not None and digest != reference.digest:
            raise DataLoss(f"manifest verification failed for digest {reference.digest}")
        return Document(content, media_type, digest)

    async def tags(self) -> list[str]:
        """All tags. Raises as `document` does."""
        found: list[str] = []
        url: URL | None = self._url("tags/list")
        for _ in range(_TAG_PAGES_MAX):
            if url is None:
                break
            async with self._client.get(self._endpoint, url, {}) as response:
                if response.status != 200:
                    raise await _failure(response, self._reference)
                page = json.loads(await _read(response, DOCUMENT_BYTES_MAX))
                following = response.links.get("next")
            found += [tag for tag in page.get("tags") or [] if isinstance(tag, str)]
            link = URL(str(following["url"])) if following else None
            url = link if link and link.origin() == url.origin() else None
        return found

    async def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob from `offset` on, exactly as many as its descriptor says.

        Raises `Interrupted` if it breaks off (ask again from where it did), `DataLoss` if it is longer.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        left = descriptor.size_bytes - offset
        url = self._url(f"blobs/{descriptor.digest}")
        async with self._client.get(self._endpoint, url, headers) as response:
            if response.status not in (200, 206):
                raise await _blob_failure(response, self._reference, descriptor)
            skip = offset if response.status == 200 else _refuse_other_range(response, offset)
            async for chunk in response.content.iter_any():
                useful = chunk[skip:]
                skip -= len(chunk) - len(useful)
                left -= len(useful)
                if left < 0:
                    raise DataLoss(
                        f"blob {descriptor.digest} is larger than the {descriptor.size_bytes} bytes promised"
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
        return URL(f"{self._endpoint.url}/v2/{self._reference.path}/{what}", encoded=True)


def _refuse_other_range(response: aiohttp.ClientResponse, offset: int) -> int:
    answered = response.headers.get("Content-Range", "")
    if not answered.startswith(f"bytes {offset}-"):
        raise DataLoss(f"the registry answered the range {answered!r} where bytes from {offset} on were asked for")
    return 0


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > limit:
            raise InvalidArgument(f"the registry's answer is larger than {limit} bytes")
    return bytes(content)


async def _failure(response: aiohttp.ClientResponse, reference: Reference) -> SampanError:
    """What a refusal means, in Docker's words."""
    status = response.status
    if status >= 500:
        return Interrupted(f"received unexpected HTTP status: {status} {response.reason}")
    code, text = _error_of(await _read(response, _ERROR_BYTES_MAX), status)
    cause = f"{code.lower().replace('_', ' ')}: {text}"
    if code == "TOOMANYREQUESTS":
        return Unavailable(cause, retry_after_s=_retry_after(response))
    kind, words = _REFUSALS.get(code, (SystemFailure, "{cause}"))
    return kind(words.format(name=reference.familiar_name, reference=reference.familiar, cause=cause))


async def _blob_failure(
    response: aiohttp.ClientResponse, reference: Reference, descriptor: Descriptor
) -> SampanError:
    if response.status == 404:
        return NotFound(f"unknown blob: the registry does not have {descriptor.digest}")
    return await _failure(response, reference)


def _error_of(body: bytes, status: int) -> tuple[str, str]:
    """Code and message of the first error in a registry's answer (distribution-spec, Error Codes)."""
    default = _DEFAULT_ERRORS.get(status, ("UNKNOWN", f"unexpected HTTP status {status}"))
    try:
        first: Any = json.loads(body)["errors"][0]
        code, text = first.get("code"), first.get("message")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return default
    if not isinstance(code, str) or not code:
        return default
    return code, text if isinstance(text, str) and text else default[1]


def _retry_after(response: aiohttp.ClientResponse) -> int:
    said = response.headers.get("Retry-After", "")
    return int(said) if said.isdigit() and len(said) < 6 else 60


def _words(error: BaseException, url: URL) -> str:
    """Docker's words, which are those of Go's net package."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {url.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"tls: failed to verify certificate: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        # asyncio puts words of its own into strerror
        reason = os.strerror(error.os_error.errno) if error.os_error.errno else str(error.os_error)
        return f"dial tcp {url.host}:{url.port}: connect: {reason.lower()}"
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return "net/http: request canceled: the registry took too long"
    return str(error) or type(error).__name__
