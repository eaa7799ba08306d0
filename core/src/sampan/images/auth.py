"""Authenticates to a registry: by basic credentials, or a bearer token that its token server issues for some scopes.

Protocol: distribution docs/spec/auth (token.md, oauth.md, scope.md). Credentials belong to one registry, a token to
one registry and its scopes; neither is sent anywhere else (CVE-2020-15157).
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from sampan.errdefs import InvalidArgument, SampanError, SystemFailure, Unauthorized
from sampan.images.interruption import Interrupted
from sampan.images.refusal import error_of, read_bounded
from sampan.images.registry_config import Endpoint, RegistryAuth
from sampan.images.transport import Asked, Transport

_CLIENT_ID = "sampan"
_TOKEN_BYTES_MAX = 1 << 20
_TOKEN_LIFE_S = 60.0  # if the token has no lifetime (token.md)
_TOKEN_LIFE_MAX_S = 86_400.0  # if its lifetime has more digits than a float
_RENEW_BEFORE_S = 10.0
_PART = re.compile(
    r'\s*,?\s*(?:(?P<name>[\w-]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]+))|(?P<scheme>[\w-]+))'
)

Scopes = tuple[str, ...]
"""What to be authorized for, such as `repository:library/alpine:pull`."""


@dataclass(frozen=True)
class Challenge:
    """The authentication that a registry asks for: its `scheme`, in lower case, and its parameters."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a `WWW-Authenticate` header (RFC 9110, 11.6.1); malformed ones are ignored."""
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while match := _PART.match(header, position):
        position = match.end()
        if match["scheme"]:
            found.append((match["scheme"].lower(), {}))
        elif found:
            quoted = match["quoted"]
            value = match["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[-1][1][match["name"].lower()] = value
    return [Challenge(scheme, parameters) for scheme, parameters in found]


@dataclass(frozen=True)
class _Token:
    text: str = field(repr=False)
    good_until_s: float


class Authorizer:
    """Keeps one registry's challenge and tokens for the duration of a pull, push or login."""

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        auth: RegistryAuth | None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._auth = auth or RegistryAuth()
        self._now = now
        self._challenge: Challenge | None = None
        self._tokens: dict[Scopes, _Token] = {}
        self._lock = asyncio.Lock()
        self.identity_token = self._auth.identity_token
        """What to use instead of the password from now on; "" if the registry gives none."""

    async def header(self, scopes: Scopes, *, offline: bool = False) -> str | None:
        """The value for `Authorization`; `None` if none was asked for, or nothing is known.

        With `offline`, the token server is also asked for an identity token. Raises `Unauthorized`, `Interrupted`,
        `SystemFailure`.
        """
        if self._auth.registry_token:
            return f"Bearer {self._auth.registry_token}"
        if self._challenge is None:
            return None
        if self._challenge.scheme == "basic":
            return _basic(self._auth)
        async with self._lock:
            token = self._tokens.get(scopes)
            if token is None or self._now() >= token.good_until_s:
                token = self._tokens[scopes] = await self._fetch(self._challenge, scopes, offline=offline)
        return f"Bearer {token.text}"

    def learn(self, response: aiohttp.ClientResponse, scopes: Scopes, shown: str | None) -> bool:
        """Record what a response of status 401 asks for, after a request with the authorization `shown`.

        Returns whether another request with `header` may help.
        """
        if self._auth.registry_token:
            return False
        header = ", ".join(response.headers.getall("WWW-Authenticate", []))
        offered = {challenge.scheme: challenge for challenge in reversed(parse_challenges(header))}
        self._challenge = offered.get("bearer") or (offered.get("basic") if self._auth.username else None)
        token = self._tokens.get(scopes)
        if token is not None and shown == f"Bearer {token.text}":
            del self._tokens[scopes]
        return self._challenge is not None and (shown is None or self._challenge.scheme == "bearer")

    async def _fetch(self, challenge: Challenge, scopes: Scopes, *, offline: bool) -> _Token:
        realm = self._realm(challenge)
        asked = self._asked(realm, challenge, scopes, offline=offline)
        where = Endpoint(str(realm.origin()), not self._transport.config.is_insecure(realm.authority))
        async with self._transport.request(where, asked) as response:
            content = await read_bounded(response, _TOKEN_BYTES_MAX)
            if response.status != 200:
                raise _refusal(response, content)
        return self._token(content)

    def _realm(self, challenge: Challenge) -> URL:
        """The token server's URL. A registry behind TLS can't have credentials sent in the clear."""
        try:
            realm = URL(challenge.parameters.get("realm", ""))
        except ValueError:
            realm = URL()
        if realm.scheme not in ("http", "https") or not realm.host:
            raise InvalidArgument(f"registry {self._endpoint.url} names no token server")
        if realm.scheme == "http" and self._endpoint.verify:
            raise InvalidArgument(f"registry {self._endpoint.url} names a token server without TLS: {realm.origin()}")
        return realm

    def _asked(self, realm: URL, challenge: Challenge, scopes: Scopes, *, offline: bool) -> Asked:
        service = challenge.parameters.get("service", "")
        if self.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": self.identity_token,
                "service": service,
                "client_id": _CLIENT_ID,
                "scope": " ".join(scopes),
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return Asked("POST", realm, headers, URL.build(query=form).raw_query_string.encode())
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        if self._auth.username:
            query.append(("account", self._auth.username))
        if offline:
            query += [("offline_token", "true"), ("client_id", _CLIENT_ID)]
        return Asked("GET", realm.extend_query(query), authorization=_basic(self._auth))

    def _token(self, content: bytes) -> _Token:
        try:
            document: Any = json.loads(content)
            text = document.get("token") or document.get("access_token")
            life = document.get("expires_in") or _TOKEN_LIFE_S
            identity = document.get("refresh_token") or self.identity_token
        except (ValueError, RecursionError, AttributeError):
            text, life, identity = None, _TOKEN_LIFE_S, ""
        if not isinstance(text, str) or not _is_header_text(text) or not isinstance(identity, str):
            raise SystemFailure("authorization server did not include a token in the response")
        self.identity_token = identity
        if not isinstance(life, (int, float)):
            life = _TOKEN_LIFE_S
        return _Token(text, self._now() + min(max(_TOKEN_LIFE_S, life), _TOKEN_LIFE_MAX_S) - _RENEW_BEFORE_S)


def _basic(auth: RegistryAuth) -> str | None:
    if not auth.username:
        return None
    return "Basic " + base64.b64encode(f"{auth.username}:{auth.password}".encode()).decode()


def _refusal(response: aiohttp.ClientResponse, content: bytes) -> SampanError:
    if response.status >= 500:
        return Interrupted(f"the token server answers {response.status} {response.reason}")
    code, text = error_of(content, response.status)
    return Unauthorized(f"{code.lower().replace('_', ' ')}: {text}")


def _is_header_text(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable()
