"""Authentication: passwords, tokens, identity tokens; and that none is sent where it doesn't belong."""

import dataclasses
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from sampan.digest import Digest
from sampan.errdefs import InvalidArgument, NotFound, SampanError, SystemFailure, Unauthorized
from sampan.images.auth import Authorizer, Challenge, parse_challenges
from sampan.images.reference import Reference
from sampan.images.registry import RegistryClient
from sampan.images.registry_config import Endpoint, RegistryAuth, RegistryConfig, domain_of
from tests.unit.images.conftest import FAST
from tests.unit.images.fake_registry import FakeRegistry
from tests.unit.images.guards import TokenServer, ask_password, token_server

ANN = RegistryAuth(username="ann", password="secret:word")
WRONG = RegistryAuth(username="ann", password="wrong")


@pytest.fixture
async def tokens(registry: FakeRegistry) -> AsyncIterator[TokenServer]:
    async with token_server() as server:
        registry.guard = server.guard
        yield server


@pytest.fixture
async def client() -> AsyncIterator[RegistryClient]:
    client = RegistryClient(FAST)
    yield client
    await client.close()


async def fetch(client: RegistryClient, registry: FakeRegistry, auth: RegistryAuth | None) -> bytes:
    reference = Reference.parse(f"{registry.host}/app:1")
    repository = await client.repository(reference, auth)
    return (await repository.document(reference)).content


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", []),
        ("Basic", [Challenge("basic", {})]),
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        (
            'Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
            [Challenge("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"})],
        ),
        (
            'Negotiate, BASIC realm="a \\"b\\"", charset=utf-8, Bearer Realm = "y"',
            [
                Challenge("negotiate", {}),
                Challenge("basic", {"realm": 'a "b"', "charset": "utf-8"}),
                Challenge("bearer", {"realm": "y"}),
            ],
        ),
        ('realm="nothing before it"', []),
        ("Bearer \x00=,,;;", [Challenge("bearer", {})]),
    ],
)
def test_challenges_are_read(header: str, challenges: list[Challenge]) -> None:
    assert parse_challenges(header) == challenges


@pytest.mark.parametrize(
    ("server", "domain"),
    [
        ("", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://example.com:5000/v2/", "example.com:5000"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
    ],
)
def test_the_address_of_a_login_is_a_registry(server: str, domain: str) -> None:
    assert domain_of(server) == domain


async def test_a_password_opens_a_registry_that_asks_for_one(client: RegistryClient, registry: FakeRegistry) -> None:
    registry.guard = ask_password
    manifest = registry.push("1", [])
    assert await fetch(client, registry, ANN) == manifest


@pytest.mark.parametrize("auth", [None, WRONG, RegistryAuth()])
async def test_without_the_right_password_a_registry_stays_shut(
    client: RegistryClient, registry: FakeRegistry, auth: RegistryAuth | None
) -> None:
    registry.guard = ask_password
    registry.push("1", [])
    with pytest.raises(Unauthorized, match=r"pull access denied for .*unauthorized: authentication required"):
        await fetch(client, registry, auth)


async def test_a_registry_that_asks_for_nothing_is_shown_nothing(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.push("1", [])
    await fetch(client, registry, ANN)
    assert all(authorization is None for _, _, authorization in registry.seen)


async def test_a_token_is_fetched_for_the_repository(
    client: RegistryClient, registry: FakeRegistry, tokens: TokenServer
) -> None:
    manifest = registry.push("1", [])
    assert await fetch(client, registry, ANN) == manifest
    assert tokens.asked[0]["user"] == "ann"
    assert tokens.asked[0]["scopes"] == ["repository:app:pull"]
    assert tokens.asked[0]["service"] == "registry.test"
    assert tokens.asked[0]["account"] == "ann"
    assert not [one for _, _, one in registry.seen if one and one.startswith("Basic")]


async def test_a_public_repository_takes_a_token_of_nobody(
    client: RegistryClient, registry: FakeRegistry, tokens: TokenServer
) -> None:
    tokens.public.add("app")
    manifest = registry.push("1", [])
    assert await fetch(client, registry, None) == manifest
    assert tokens.asked[0]["user"] is None


async def test_a_private_repository_is_denied_to_nobody(
    client: RegistryClient, registry: FakeRegistry, tokens: TokenServer
) -> None:
    registry.push("1", [])
    with pytest.raises(Unauthorized, match="pull access denied for"):
        await fetch(client, registry, None)
    assert len(tokens.asked) <= 2


async def test_one_token_does_for_all_requests_until_it_is_old(
    registry: FakeRegistry, tokens: TokenServer, client: RegistryClient
) -> None:
    registry.push("1", [])
    reference = Reference.parse(f"{registry.host}/app:1")
    repository = await client.repository(reference, ANN)
    now = 0.0
    repository._channel.authorizer._now = lambda: now
    await repository.document(reference)
    now = 289.0
    await repository.document(reference)
    assert len(tokens.asked) == 1
    now = 291.0
    await repository.document(reference)
    assert len(tokens.asked) == 2


async def test_a_token_that_is_refused_is_fetched_anew_once(
    registry: FakeRegistry, tokens: TokenServer, client: RegistryClient
) -> None:
    registry.push("1", [])
    reference = Reference.parse(f"{registry.host}/app:1")
    repository = await client.repository(reference, ANN)
    await repository.document(reference)
    tokens.tokens.clear()
    await repository.document(reference)
    assert len(tokens.asked) == 2


async def test_an_identity_token_is_exchanged_and_no_password_sent(
    client: RegistryClient, registry: FakeRegistry, tokens: TokenServer
) -> None:
    manifest = registry.push("1", [])
    assert await fetch(client, registry, RegistryAuth(identity_token="identity-1")) == manifest
    asked = tokens.asked[0]
    assert (asked["method"], asked["grant_type"], asked["scope"]) == ("POST", "refresh_token", "repository:app:pull")
    assert (asked["service"], asked["client_id"]) == ("registry.test", "sampan")


async def test_a_registry_token_is_shown_as_it_is(
    client: RegistryClient, registry: FakeRegistry, tokens: TokenServer
) -> None:
    manifest = registry.push("1", [])
    tokens.tokens["given"] = {"repository:app:pull"}
    assert await fetch(client, registry, RegistryAuth(registry_token="given")) == manifest
    assert not tokens.asked


async def test_a_wrong_password_is_told_as_the_token_server_tells_it(
    client: RegistryClient, registry: FakeRegistry, tokens: TokenServer
) -> None:
    registry.push("1", [])
    with pytest.raises(Unauthorized, match="unauthorized: incorrect username or password"):
        await fetch(client, registry, WRONG)


@pytest.mark.parametrize("realm", ["", "ftp://x/", "not a url", "http://", "http://[::bad/"])
async def test_a_token_server_that_is_none_is_told_of(
    client: RegistryClient, registry: FakeRegistry, tokens: TokenServer, realm: str
) -> None:
    tokens.realm = realm or "/token"
    registry.push("1", [])
    with pytest.raises(InvalidArgument, match="names no token server"):
        await fetch(client, registry, ANN)


async def test_a_registry_behind_tls_may_not_name_a_token_server_without(client: RegistryClient) -> None:
    authorizer = Authorizer(client._transport, Endpoint("https://registry.test", verify=True), ANN)
    authorizer._challenge = Challenge("bearer", {"realm": "http://127.0.0.1:1/token"})
    with pytest.raises(InvalidArgument, match="names a token server without TLS"):
        await authorizer.header(())


NO_TOKENS = [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\r\\nX: y"}', b"x" * (2 << 20)]


@pytest.mark.parametrize("answer", NO_TOKENS)
async def test_a_token_that_is_none_is_refused(
    client: RegistryClient, registry: FakeRegistry, tokens: TokenServer, answer: bytes
) -> None:
    tokens.realm = f"http://{registry.host}/evil"
    registry.lies["/evil"] = lambda _: web.Response(body=answer)
    registry.push("1", [])
    with pytest.raises(SampanError) as refused:
        await fetch(client, registry, ANN)
    assert isinstance(refused.value, (SystemFailure, InvalidArgument))


@pytest.mark.parametrize("life", [b"1" + b"0" * 400, b"1e999", b"Infinity", b"NaN", b"-1", b"true", b'"x"'])
async def test_a_token_may_live_for_however_long_it_says(
    client: RegistryClient, registry: FakeRegistry, tokens: TokenServer, life: bytes
) -> None:
    tokens.realm = f"http://{registry.host}/odd"
    tokens.tokens["odd"] = {"repository:app:pull"}
    registry.lies["/odd"] = lambda _: web.Response(body=b'{"token": "odd", "expires_in": ' + life + b"}")
    registry.push("1", [])
    assert await fetch(client, registry, ANN)


@pytest.mark.parametrize("guard", ["basic", "token"])
async def test_a_redirect_carries_no_credentials_to_another_origin(
    client: RegistryClient, registry: FakeRegistry, tokens: TokenServer, guard: str
) -> None:
    if guard == "basic":
        registry.guard = ask_password
    registry.push("1", [])
    reached = []

    async def elsewhere(request: web.Request) -> web.Response:
        reached.append(request.headers.get("Authorization"))
        return web.Response(body=b"{}")

    app = web.Application()
    app.router.add_get("/stolen", elsewhere)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    registry.lies["/manifests/1"] = lambda request: (
        web.Response(status=307, headers={"Location": f"http://127.0.0.1:{port}/stolen"})
        if "Authorization" in request.headers
        else None
    )
    await fetch(client, registry, ANN)
    await runner.cleanup()
    assert reached == [None]


async def test_a_mirror_is_asked_first_and_shown_no_credentials(registry: FakeRegistry) -> None:
    manifest = registry.push("1", [])
    client = RegistryClient(dataclasses.replace(FAST, mirrors=(f"http://{registry.host}",)))
    reference = Reference.parse("app:1")
    (mirror,) = await client.mirrors(reference)
    registry.guard = ask_password
    with pytest.raises(Unauthorized):
        await mirror.document(reference)
    registry.guard = None
    assert (await mirror.document(reference)).digest == Digest.of(manifest)
    await client.close()
    assert all(authorization is None for _, _, authorization in registry.seen)


async def test_a_mirror_that_is_not_there_is_left_out() -> None:
    client = RegistryClient(dataclasses.replace(FAST, mirrors=("http://127.0.0.1:1",)))
    assert await client.mirrors(Reference.parse("app:1")) == []
    await client.close()


async def test_a_login_with_the_right_password_succeeds(client: RegistryClient, registry: FakeRegistry) -> None:
    registry.guard = ask_password
    assert await client.login(registry.host, ANN) == ""


async def test_a_login_gives_an_identity_token_where_there_are_some(
    client: RegistryClient, registry: FakeRegistry, tokens: TokenServer
) -> None:
    assert await client.login(registry.host, ANN) == "identity-1"
    assert tokens.asked[0]["offline_token"] == "true"


async def test_a_login_with_a_wrong_password_is_refused(
    client: RegistryClient, registry: FakeRegistry, tokens: TokenServer
) -> None:
    with pytest.raises(Unauthorized, match=r'Get "http://.*/v2/": unauthorized: incorrect username or password'):
        await client.login(registry.host, WRONG)
    registry.guard = ask_password
    with pytest.raises(Unauthorized, match=r"login attempt to http://.*/v2/ failed with status: 401 Unauthorized"):
        await client.login(registry.host, WRONG)


async def test_secrets_are_in_no_representation() -> None:
    assert "secret" not in repr(ANN)


async def test_a_config_names_no_mirror_for_other_registries() -> None:
    config = RegistryConfig(mirrors=("https://mirror.test",))
    assert [endpoint.url for endpoint in config.endpoints("docker.io")] == [
        "https://mirror.test",
        "https://registry-1.docker.io",
    ]
    assert [endpoint.url for endpoint in config.endpoints("example.com")] == ["https://example.com"]


async def test_a_manifest_that_a_mirror_lacks_is_not_found_there(registry: FakeRegistry) -> None:
    client = RegistryClient(dataclasses.replace(FAST, mirrors=(f"http://{registry.host}",)))
    reference = Reference.parse("app:1")
    (mirror,) = await client.mirrors(reference)
    with pytest.raises(NotFound):
        await mirror.document(reference)
    await client.close()


@given(st.text(max_size=200) | st.from_regex(r'(Bearer|Basic)( [a-z]+="[^"]*",?)*', fullmatch=True))
def test_no_header_breaks_the_parser(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower()
