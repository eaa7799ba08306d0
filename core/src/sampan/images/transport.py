"""HTTP to registries: one pool of connections, TLS, proxies, and redirects without credentials."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from sampan.errdefs import InvalidArgument, SystemFailure
from sampan.images.interruption import Interrupted
from sampan.images.proxy import proxy_of
from sampan.images.registry_config import Endpoint, RegistryConfig

_READ_BYTES = 1 << 20
_COMMIT_S = 600.0  # a registry may assemble and reread a large blob before it responds to the last request
_REDIRECTS_MAX = 5
_NUMBER_LENGTH = 20
REDIRECTS = (301, 302, 303, 307, 308)
NETWORK_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)

Content = bytes | AsyncIterable[bytes] | None
"""The body of a request."""


@dataclass(frozen=True)
class Asked:
    """One request. `authorization` is for the origin of `url`, and is sent nowhere else."""

    method: str
    url: URL
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Content = None
    authorization: str | None = field(default=None, repr=False)


class Transport:
    """The connections to all registries. Use it within one event loop; close it."""

    def __init__(self, config: RegistryConfig) -> None:
        self.config = config
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def forget_certificates(self) -> None:
        """Read the certificates of registries again, as they may have changed on disk."""
        self._contexts.clear()

    @asynccontextmanager
    async def request(self, endpoint: Endpoint, asked: Asked) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request, following redirects of GET and HEAD.

        Raises `Interrupted` if the network fails, even within the context, `InvalidArgument` for a forbidden
        redirect, `SystemFailure` for certificates that can't be read.
        """
        try:
            response = await self._follow(endpoint, asked)
            try:
                yield response
            finally:
                response.close() if not response.content.at_eof() else response.release()
        except NETWORK_ERRORS as error:
            raise Interrupted(words_of(error, asked.url)) from error

    async def _follow(self, endpoint: Endpoint, asked: Asked) -> aiohttp.ClientResponse:
        url = asked.url
        for _ in range(_REDIRECTS_MAX + 1):
            response = await self._ask(endpoint, asked, url)
            if response.status not in REDIRECTS or asked.method not in ("GET", "HEAD"):
                return response
            response.close()
            url = _target(endpoint, url, response.headers.get("Location", ""))
        raise InvalidArgument(f"registry {endpoint.url} redirects more than {_REDIRECTS_MAX} times")

    async def _ask(self, endpoint: Endpoint, asked: Asked, url: URL) -> aiohttp.ClientResponse:
        headers = dict(asked.headers)
        if asked.authorization and url.origin() == asked.url.origin():
            headers["Authorization"] = asked.authorization
        tls = await self._tls(endpoint, url)
        timeouts = self._timeouts(asked.method)
        try:
            async with asyncio.timeout(_answer_s(asked, timeouts)):
                return await self._opened().request(
                    asked.method,
                    url,
                    headers=headers,
                    data=asked.content,
                    allow_redirects=False,
                    ssl=tls,
                    timeout=timeouts,
                    proxy=proxy_of(url),
                )
        except UnicodeError as error:  # from the resolver: a part of the host name has more than 63 characters
            raise InvalidArgument(f"registry {endpoint.url} leads to an invalid host name: {error}") from error

    async def _tls(self, endpoint: Endpoint, url: URL) -> ssl.SSLContext | bool:
        if url.scheme != "https":
            return True
        verify = endpoint.verify or url.origin() != URL(endpoint.url).origin()
        key = url.authority, verify
        if key not in self._contexts:
            try:
                self._contexts[key] = await asyncio.to_thread(self.config.tls, url.authority, verify=verify)
            except OSError as error:  # including ssl's
                raise SystemFailure(f"the certificates for {url.authority} can't be read: {error}") from error
        return self._contexts[key]

    def _timeouts(self, method: str) -> aiohttp.ClientTimeout:
        read_s = self.config.read_timeout_s
        return aiohttp.ClientTimeout(
            total=None,
            sock_connect=self.config.connect_timeout_s,
            sock_read=max(read_s, _COMMIT_S) if method == "PUT" else read_s,
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "sampan", "Accept-Encoding": "identity"},
                read_bufsize=_READ_BYTES,
            )
        return self._session


def _answer_s(asked: Asked, timeouts: aiohttp.ClientTimeout) -> float | None:
    """How long the headers of a response may take, which could trickle, or follow any number of 1xx responses.

    A body that is sent in pieces takes as long as it takes.
    """
    if asked.content is not None and not isinstance(asked.content, bytes):
        return None
    return (timeouts.sock_connect or 0.0) + (timeouts.sock_read or 0.0)


def number_in(text: str) -> int | None:
    """The number in a header, or a part of it. `isdigit` accepts digits, and more of them, that `int` rejects."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < _NUMBER_LENGTH else None


def _target(endpoint: Endpoint, url: URL, location: str) -> URL:
    try:
        target = joined(url, location)
    except ValueError as error:
        raise InvalidArgument(f"registry {endpoint.url} redirects to an invalid URL: {error}") from error
    if target.scheme != "https" and not (target.scheme == url.scheme == "http"):
        raise InvalidArgument(f"registry {endpoint.url} redirects to {target.scheme}, which is refused")
    return target


def joined(url: URL, location: str, *, encoded: bool = False) -> URL:
    """The target of `location`, a header in a response from `url`; with `encoded`, its bytes are kept.

    Raises `ValueError` if it is not a usable URL.
    """
    target = url.join(URL(location, encoded=encoded and location.isascii()))
    if not target.absolute or not target.host:
        raise ValueError(f"there is no host in {location[:200]!r}")
    return target


def words_of(error: BaseException, url: URL) -> str:
    """A network error in Docker's words, which are those of Go's net package."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {url.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"tls: failed to verify certificate: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        # asyncio puts its own text into strerror
        reason = os.strerror(error.os_error.errno) if error.os_error.errno else str(error.os_error)
        return f"dial tcp {url.host}:{url.port}: connect: {reason.lower()}"
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return "net/http: request canceled: the registry took too long"
    return str(error) or type(error).__name__
