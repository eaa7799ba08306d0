"""A file on the web, for `import` (moby builder/remotecontext/remote.go, `GetWithStatusError`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from sampan.errdefs import Forbidden, InvalidArgument, NotFound, SampanError, SystemFailure, Unauthorized
from sampan.images.pace import Pace
from sampan.images.proxy import proxy_of
from sampan.images.registry_config import RegistryConfig
from sampan.images.transport import NETWORK_ERRORS, REDIRECTS, words_of

_REDIRECTS_MAX = 10  # as in Go's net/http
_SAID_BYTES_MAX = 4096  # of an error response's body, which goes into a message
_REFUSALS: dict[int, type[SampanError]] = {400: InvalidArgument, 401: Unauthorized, 403: Forbidden, 404: NotFound}


class WebFile:
    """A file about to be downloaded. `url` shows no password; `size_bytes` is `None` if unknown."""

    def __init__(self, url: str, response: aiohttp.ClientResponse, pace: Pace) -> None:
        self.url = url
        self.size_bytes = response.content_length
        self._response = response
        self._pace = pace

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Its bytes. Raises `SystemFailure` if the connection breaks, `DeadlineExceeded` if it is too slow."""
        try:
            async for chunk in self._response.content.iter_any():
                self._pace.came(len(chunk))
                yield chunk
        except NETWORK_ERRORS as error:
            raise SystemFailure(f'Get "{self.url}": {words_of(error, self._response.url)}') from error


@asynccontextmanager
async def web_file(source: str, config: RegistryConfig) -> AsyncIterator[WebFile]:
    """The file at `source`, an HTTP or HTTPS URL (HTTP without a scheme), following redirects to such URLs.

    It uses the timeouts, the authority and the proxies for registries. Raises `InvalidArgument` for other URLs,
    `SystemFailure` if the server fails, and by its status: `NotFound`, `Unauthorized`, `Forbidden`.
    """
    url = _checked(source if "://" in source else f"http://{source}", source)
    timeouts = aiohttp.ClientTimeout(
        total=None, sock_connect=config.connect_timeout_s, sock_read=config.read_timeout_s
    )
    async with aiohttp.ClientSession(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "sampan", "Accept-Encoding": "identity"},
        timeout=timeouts,
    ) as session:
        response = await _followed(session, url, config)
        async with response:
            if response.status >= 400:
                raise await _refusal(response, url)
            yield WebFile(redacted(url), response, Pace("server", config.read_timeout_s))


def redacted(url: URL) -> str:
    """A URL for messages, without its password, as Go's `url.Redacted`."""
    return str(url.with_password("xxxxx") if url.password is not None else url)


def _checked(text: str, asked: URL | str, base: URL | None = None) -> URL:
    """The URL `text`, relative to `base`. Only HTTP and HTTPS are allowed, also after redirects."""
    shown = redacted(asked) if isinstance(asked, URL) else asked
    try:
        url = base.join(URL(text)) if base else URL(text)
    except ValueError as error:
        raise InvalidArgument(f'parse "{shown}": {error}') from error
    if url.scheme not in ("http", "https"):
        raise InvalidArgument(f'Get "{shown}": unsupported protocol scheme "{url.scheme}"')
    if not url.host:
        raise InvalidArgument(f'Get "{shown}": http: no Host in request URL')
    return url


async def _followed(session: aiohttp.ClientSession, asked: URL, config: RegistryConfig) -> aiohttp.ClientResponse:
    url = asked
    for _ in range(_REDIRECTS_MAX + 1):
        try:
            tls = await asyncio.to_thread(config.tls, url.authority, verify=True) if url.scheme == "https" else True
            async with asyncio.timeout(config.connect_timeout_s + config.read_timeout_s):  # headers may trickle too
                response = await session.get(url, allow_redirects=False, proxy=proxy_of(url), ssl=tls)
        except NETWORK_ERRORS as error:
            kind = NotFound if isinstance(error, aiohttp.ClientConnectorDNSError) else SystemFailure
            raise kind(f'Get "{redacted(asked)}": {words_of(error, url)}') from error
        location = response.headers.get("Location")
        if response.status not in REDIRECTS or not location:
            return response
        response.close()
        # Credentials in a URL are for its own host; the URL of another host only has those that it includes.
        url = _checked(location, asked, base=url)
    raise SystemFailure(f'Get "{redacted(asked)}": stopped after {_REDIRECTS_MAX} redirects')


async def _refusal(response: aiohttp.ClientResponse, asked: URL) -> SampanError:
    kind = _REFUSALS.get(response.status, SystemFailure)
    message = f"failed to GET {redacted(asked)} with status {response.status} {response.reason}"
    said = bytearray()
    try:
        async for chunk in response.content.iter_any():
            said += chunk
            if len(said) > _SAID_BYTES_MAX:
                break
    except NETWORK_ERRORS:
        return SystemFailure(f"{message}: error reading body")
    return kind(f"{message}: {said[:_SAID_BYTES_MAX].decode('utf-8', 'replace').strip()}")
