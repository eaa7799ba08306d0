"""Authentication in front of a registry: passwords, or tokens from a token server."""

import base64
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.unit.images.fake_registry import refusal

USERS = {"ann": "secret:word"}


def basic(request: web.Request) -> str | None:
    """The user whose correct password the request carries."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Basic":
        return None
    name, _, password = base64.b64decode(text).decode().partition(":")
    return name if USERS.get(name) == password else None


def ask_password(request: web.Request) -> web.Response | None:
    if basic(request):
        return None
    answer = refusal(401, "UNAUTHORIZED", "authentication required")
    answer.headers["WWW-Authenticate"] = 'Basic realm="a, \\"quoted\\" realm"'
    return answer


@dataclass
class TokenServer:
    """Issues a token for every scope a user may have; `asked` records the requests.

    `public` repositories may be pulled by anyone. `identity` is the identity token, in place of the password.
    """

    host: str = ""
    public: set[str] = field(default_factory=set)
    tokens: dict[str, set[str]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    expires_in: int = 300
    identity: str = "identity-1"
    realm: str = ""
    _numbers: Any = field(default_factory=itertools.count)

    async def answer(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        user = basic(request) or ("ann" if form.get("refresh_token") == self.identity else None)
        scopes = [*request.query.getall("scope", []), *str(form.get("scope", "")).split()]
        self.asked.append({"method": request.method, "user": user, "scopes": scopes, **form, **request.query})
        if user is None and ("Authorization" in request.headers or form):
            return web.json_response({"details": "incorrect username or password"}, status=401)
        token = f"token-{next(self._numbers)}"
        self.tokens[token] = {scope for scope in scopes if user or self._is_public(scope)}
        answer = {"token": token, "expires_in": self.expires_in}
        if request.query.get("offline_token"):
            answer["refresh_token"] = self.identity
        return web.json_response(answer)

    def guard(self, request: web.Request) -> web.Response | None:
        """Lets requests through that carry a token for what they want; answers 401 to others."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        action = "pull" if request.method in ("GET", "HEAD") else "push"
        repository = request.path.removeprefix("/v2/").partition("/blobs/")[0].partition("/manifests/")[0]
        if token in self.tokens and (not repository or self._allows(token, repository, action)):
            return None
        answer = refusal(401, "UNAUTHORIZED", "authentication required")
        realm = self.realm or f"http://{self.host}/token"
        answer.headers["WWW-Authenticate"] = (
            f'Bearer realm="{realm}",service="registry.test",scope="repository:{repository}:{action}"'
        )
        return answer

    def _allows(self, token: str, repository: str, action: str) -> bool:
        return any(
            scope.startswith(f"repository:{repository}:") and action in scope.rpartition(":")[2].split(",")
            for scope in self.tokens[token]
        )

    def _is_public(self, scope: str) -> bool:
        _, repository, action = scope.split(":")
        return repository in self.public and action == "pull"


@asynccontextmanager
async def token_server() -> AsyncIterator[TokenServer]:
    server = TokenServer()
    app = web.Application()
    app.router.add_route("*", "/token", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    server.host = f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    yield server
    await runner.cleanup()
