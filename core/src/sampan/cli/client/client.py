"""A client of the Docker Engine API: version negotiation, JSON, errors, streams, hijacked connections."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from sampan import __version__
from sampan.cli.client.connection import Connection
from sampan.cli.client.endpoint import Endpoint
from sampan.cli.client.http import Body, Head, ProtocolError, Response, send_request
from sampan.cli.errors import ConnectionFailed, DaemonError

API_VERSION = "1.51"  # the newest version that this client supports; the daemon's may be lower

Query = Mapping[str, Any]


class Client:
    """Talks to one daemon, with one connection per request.

    Query values: True becomes "1"; None, False and "" are omitted; a dict becomes JSON; a list is repeated.
    Raises `ConnectionFailed` and `DaemonError`.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._version = os.environ.get("DOCKER_API_VERSION", "")

    @property
    def version(self) -> str:
        """The API version, negotiated by a ping before the first request (DOCKER_API_VERSION overrides it)."""
        if not self._version:
            theirs = self.ping().headers.get("api-version", "1.24")
            self._version = min(API_VERSION, theirs, key=_as_numbers)
        return self._version

    def ping(self) -> Head:
        """The head of the daemon's response to /_ping: API-Version, Ostype, …"""
        response = self._exchange("GET", "/_ping", {}, b"")
        response.read()
        return response.head

    def call(self, method: str, path: str, *, query: Query | None = None, body: Any = None) -> Any:
        """Send a request with a JSON body (or none), and return the JSON response (`None` if empty)."""
        content = self.request(method, path, query=query, body=body).read()
        return document_of(content) if content.strip() else None

    def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Send a request, and yield JSON documents as they arrive; when this returns, the head has arrived."""
        response = self.request(method, path, query=query, body=body, headers=headers)
        return (document_of(line) for line in response.lines())

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request; the body of its `Response` is not read yet. Bytes and iterables are sent unchanged."""
        sent, content = dict(headers or {}), body
        if body is None:
            content = b""
        elif isinstance(body, dict):
            sent["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        else:
            sent["Content-Type"] = "application/x-tar"
        return self._exchange(method, self._target(path, query), sent, content)

    def head(self, path: str, *, query: Query | None = None) -> Head:
        """The head of the response to a HEAD request."""
        response = self._exchange("HEAD", self._target(path, query), {}, b"")
        response.connection.close()
        return response.head

    def hijack(self, path: str, *, query: Query | None = None, body: Any = None) -> Response:
        """Send a request after which the connection is a raw bidirectional stream (attach, exec start)."""
        headers = {"Content-Type": "application/json", "Connection": "Upgrade", "Upgrade": "tcp"}
        content = b"" if body is None else json.dumps(body).encode()
        return self._exchange("POST", self._target(path, query), headers, content)

    def _target(self, path: str, query: Query | None) -> str:
        return f"/v{self.version}{path}{_encode_query(query or {})}"

    def _exchange(self, method: str, target: str, headers: Mapping[str, str], body: Body) -> Response:
        try:
            connection = Connection(self.endpoint)
        except OSError as error:
            raise ConnectionFailed(f"error during connect: {error}") from None
        all_headers = {
            "Host": self.endpoint.authority,
            "User-Agent": f"sampan/{__version__}",
            "Connection": "close",
            **headers,
        }
        try:
            response = _ask(connection, method, target, all_headers, body)
            if response.head.status >= 400:
                raise _error_of(response, target)
        except OSError as error:
            connection.close()
            raise ConnectionFailed(f"error during connect: {method} {target}: {error}") from None
        except BaseException:
            connection.close()
            raise
        return response


def _ask(connection: Connection, method: str, target: str, headers: Mapping[str, str], body: Body) -> Response:
    # A daemon that refuses a long body responds and closes the connection: the response tells why.
    with suppress(BrokenPipeError, ConnectionResetError):
        send_request(connection, method, target, headers, body)
    return Response(connection, has_body=method != "HEAD")


def _error_of(response: Response, target: str) -> DaemonError:
    content = response.read()
    try:
        message = json.loads(content)["message"]
    except (ValueError, KeyError, TypeError):
        message = content.decode(errors="replace").strip()
    if not message:
        head = response.head
        message = (
            f"request returned {head.reason or head.status} for API route {target}, check if the server supports it"
        )
    return DaemonError(response.head.status, message)


def document_of(content: bytes) -> Any:
    """Parse a JSON document from the daemon. Raises `ProtocolError` if it is invalid."""
    try:
        return json.loads(content)
    except ValueError:
        raise ProtocolError(f"malformed JSON {content[:80]!r} in the answer") from None


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _encode_query(query: Query) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        if isinstance(value, list):
            pairs += [(name, str(item)) for item in value]
        elif isinstance(value, dict):
            pairs += [(name, json.dumps(value, separators=(",", ":")))] if value else []
        elif value is True:
            pairs.append((name, "1"))
        elif value is not None and value is not False and value != "":
            pairs.append((name, str(value)))
    if not pairs:
        return ""
    from urllib.parse import urlencode

    return "?" + urlencode(pairs, errors="surrogateescape")


def filters_of(pairs: list[str]) -> dict[str, list[str]]:
    """The API's filters for the values of `--filter NAME=VALUE` (checked by the flag's kind)."""
    filters: dict[str, list[str]] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        filters.setdefault(name.strip().lower(), []).append(value.strip())
    return filters
