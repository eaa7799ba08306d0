"""The outermost layer of the app: version prefix, the listener's role, body size limit, standard headers, ping."""

from __future__ import annotations

import logging
import re
import time
from email.utils import formatdate
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sampan.api.errors import error_response, response_of
from sampan.api.headers import STANDARD
from sampan.api.protocol import CALLER
from sampan.api.versions import split_version
from sampan.engine import Caller
from sampan.errdefs import Forbidden, SampanError

_log = logging.getLogger(__name__)
READ_ONLY = "read-only"
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_WEBSOCKET = re.compile(r"/containers/.+/attach/ws")  # a GET that can send input
_WAIT = re.compile(r"/containers/.+/wait")
_MAX_BODY = 16 * 1024 * 1024
_STREAMED_BODY = re.compile(r"/images/(load|create)|/build|/containers/.+/archive|/plugins/create")
_PING = (
    (b"builder-version", b"1"),
    (b"swarm", b"inactive"),
    (b"cache-control", b"no-cache, no-store, must-revalidate"),
    (b"pragma", b"no-cache"),
    (b"content-type", b"text/plain; charset=utf-8"),
)


class Edge:
    """ASGI middleware around everything.

    It sets `scope["state"]["version"]`; a route sets `scope["state"]["job"]` to the id of its job.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = _StandardHead(send)
        try:
            await self._answer(scope, receive, head)
        except SampanError as error:
            await response_of(error)(scope, receive, head.send)
        except HTTPException as error:
            await error_response(error.status_code, error.detail)(scope, receive, head.send)
        except ClientDisconnect:
            _log.info("%s %s: the client went away before its request was complete", scope["method"], scope["path"])
        except Exception as error:  # even an internal error gets a response in Docker's format
            _log.exception("%s %s", scope["method"], scope["path"])
            if head.sent:
                raise
            await error_response(500, f"{type(error).__name__}: {error}")(scope, receive, head.send)

    async def _answer(self, scope: Scope, receive: Receive, head: _StandardHead) -> None:
        version, path = split_version(scope["path"])
        if path == "/_ping" and scope["method"] in ("GET", "HEAD"):
            await _pong(scope["method"], head.send)
            return
        _check_role(scope, path)
        head.state = {**scope.get("state", {}), "version": version}
        receive = _bounded(scope, path, receive)
        await self._app({**scope, "path": path, "state": head.state}, receive, head.send)


_TOO_LARGE = f"request body is too large: at most {_MAX_BODY} bytes are taken here"


class _StandardHead:
    """Adds Docker's standard headers and the job's id to every response."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.state: dict[str, Any] = {}
        self.sent = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.sent = True
            job = ((b"sampan-job", self.state["job"].encode()),) if "job" in self.state else ()
            date = (b"date", _date(int(time.time())))
            message["headers"] = [*message.get("headers", ()), *STANDARD, date, *job]
        await self._send(message)


def _bounded(scope: Scope, path: str, receive: Receive) -> Receive:
    """Limit the size of the request's body, unless it is streamed. Raises `HTTPException`."""
    if _STREAMED_BODY.fullmatch(path):
        return receive
    length = next((value for name, value in scope["headers"] if name == b"content-length"), None)
    if length is None:
        return _Counted(receive).receive
    if not length.isdigit() or int(length) > _MAX_BODY:
        raise HTTPException(413, _TOO_LARGE)
    return receive


class _Counted:
    """Aborts a request whose body, of unknown length, becomes too large."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._received = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > _MAX_BODY:
            raise HTTPException(413, _TOO_LARGE)
        return message


_last_date = (0, b"")


def _date(now: int) -> bytes:
    global _last_date  # noqa: PLW0603 - a cache of one value
    if _last_date[0] != now:
        _last_date = (now, formatdate(now, usegmt=True).encode())
    return _last_date[1]


async def _pong(method: str, send: Send) -> None:
    body = b"OK" if method == "GET" else b""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [*_PING, length]})
    await send({"type": "http.response.body", "body": body})


def _check_role(scope: Scope, path: str) -> None:
    caller: Caller | None = scope.get("extensions", {}).get(CALLER)
    if caller is None or caller.role != READ_ONLY:
        return
    if scope["method"] in _READS and not _WEBSOCKET.fullmatch(path):
        return
    if not (scope["method"] == "POST" and _WAIT.fullmatch(path)):
        raise Forbidden(f"this listener is read-only: {scope['method']} {path} is not allowed")
