"""Pulls from a registry that refuses, redirects or is unreachable."""

import json
from collections.abc import Callable

import pytest
from aiohttp import web

from sampan.digest import Digest
from sampan.errdefs import (
    InvalidArgument,
    NotFound,
    SampanError,
    SystemFailure,
    Unavailable,
)
from sampan.images.reference import Reference
from tests.unit.images.conftest import Items, Room
from tests.unit.images.fake_registry import refusal
from tests.unit.images.pulling import BASE, refuses

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (
            lambda _: refusal(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            NotFound,
            "manifest for {host}/app:1 not found: manifest unknown: manifest unknown",
        ),
        (
            lambda _: web.Response(status=404, text="<html>"),
            NotFound,
            "manifest for {host}/app:1 not found: manifest unknown: manifest unknown",
        ),
        (
            lambda _: refusal(404, "NAME_UNKNOWN", "repository name not known to registry"),
            NotFound,
            "repository {host}/app not found: name unknown: repository name not known to registry",
        ),
        (
            lambda _: refusal(403, "DENIED", "requested access to the resource is denied"),
            NotFound,
            "pull access denied for {host}/app, repository does not exist or may require 'docker login': "
            "denied: requested access to the resource is denied",
        ),
        (
            lambda _: web.Response(status=401),
            NotFound,
            "pull access denied for {host}/app, repository does not exist or may require 'docker login': "
            "unauthorized: authentication required",
        ),
        (
            lambda _: web.Response(
                status=401, headers={"WWW-Authenticate": 'Bearer realm="x",error="insufficient_scope"'}
            ),
            InvalidArgument,
            "registry http://{host} names no token server",
        ),
        (
            lambda _: refusal(429, "TOOMANYREQUESTS", "You have reached your pull rate limit."),
            Unavailable,
            "toomanyrequests: You have reached your pull rate limit.",
        ),
        (lambda _: web.json_response([]), InvalidArgument, "the manifest is not a JSON object"),
    ],
)
async def test_a_refusal_is_told_in_dockers_words(
    room: Room, answer: Callable[[web.Request], web.Response], kind: type[SampanError], message: str
) -> None:
    room.registry.lies["/manifests/1"] = answer
    with pytest.raises(kind) as refused:
        await room.pull("app:1")
    assert str(refused.value) == message.format(host=room.registry.host)


async def test_a_mirror_stands_in_for_docker_hub(room: Room) -> None:
    manifest = room.registry.push("1", [BASE])
    store = room.mirrored(f"http://{room.registry.host}")
    image = await store.pull(Reference.parse("ann/app:1"), platform="linux/amd64", auth=None, progress=Items())
    assert image.references == ("ann/app:1",)
    assert image.repo_digests == (f"ann/app@{Digest.of(manifest)}",)


async def test_what_a_mirror_lacks_the_next_one_has(room: Room) -> None:
    room.registry.push("1", [BASE])
    room.registry.lies["/ann/app/manifests/1"] = _once(lambda _: refusal(404, "MANIFEST_UNKNOWN", "manifest unknown"))
    url = f"http://{room.registry.host}"
    store = room.mirrored(url, url)
    assert await store.pull(Reference.parse("ann/app:1"), platform="linux/amd64", auth=None, progress=Items())


def _once(lie: Callable[[web.Request], web.Response]) -> Callable[[web.Request], web.Response | None]:
    lies = [lie]
    return lambda request: lies.pop()(request) if lies else None


async def test_a_rate_limit_is_explained(room: Room) -> None:
    def limited(_: web.Request) -> web.Response:
        answer = refusal(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.")
        answer.headers.update({"RateLimit-Limit": "100;w=21600", "Retry-After": "90"})
        return answer

    room.registry.lies["/manifests/1"] = limited
    with pytest.raises(Unavailable) as refused:
        await room.pull("app:1")
    assert str(refused.value) == (
        "toomanyrequests: You have reached your pull rate limit. (the limit is 100 in 6 h; try again in 90 s)"
    )
    assert refused.value.retry_after_s == 90


@pytest.mark.parametrize(
    ("headers", "told", "retry_after_s"),
    [
        ({"Retry-After": "\u00b2"}, "", 60),
        ({"Retry-After": "9" * 5000}, "", 60),
        ({"Retry-After": "-5"}, "", 60),
        ({"RateLimit-Limit": "\u00b2;w=\u00b2"}, "", 60),
        ({"RateLimit-Limit": "9" * 5000 + ";w=1"}, "", 60),
        ({"RateLimit-Limit": "9;w=" + "9" * 400}, "", 60),
        ({"RateLimit-Limit": "9;w=3600", "Retry-After": "x"}, " (the limit is 9 in 1 h)", 60),
    ],
)
async def test_a_rate_limit_that_is_no_number_is_still_a_rate_limit(
    room: Room, headers: dict[str, str], told: str, retry_after_s: int
) -> None:
    def limited(_: web.Request) -> web.Response:
        answer = refusal(429, "TOOMANYREQUESTS", "enough")
        answer.headers.update(headers)
        return answer

    room.registry.lies["/manifests/1"] = limited
    with pytest.raises(Unavailable) as refused:
        await room.pull("app:1")
    assert str(refused.value) == f"toomanyrequests: enough{told}"
    assert refused.value.retry_after_s == retry_after_s


async def test_a_foreign_layer_is_asked_for_nowhere_else(room: Room) -> None:
    manifest = json.loads(room.registry.push("1", [BASE]))
    digest = manifest["layers"][0]["digest"]
    manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    manifest["layers"][0]["urls"] = [f"http://{room.registry.host}/foreign/layer"]
    room.registry.put("1", json.dumps(manifest).encode())
    del room.registry.blobs[digest]
    await refuses(room, NotFound, f"unknown blob: the registry does not have {digest}")
    assert not room.registry.requests["layer"]


async def test_a_registry_that_is_not_there_is_told_of(room: Room) -> None:
    with pytest.raises(SystemFailure, match=r'Get "http://127.0.0.1:1/v2/": '):
        await room.store.pull(Reference.parse("127.0.0.1:1/app:1"), platform=None, auth=None, progress=Items())


async def test_a_redirect_is_followed(room: Room) -> None:
    room.registry.push("1", [BASE])
    digest = room.registry.layer_digest(BASE)
    room.registry.lies[f"/app/blobs/{digest}"] = lambda request: web.Response(
        status=307, headers={"Location": f"/v2/elsewhere/blobs/{digest}"}
    )
    assert await room.pull("app:1")


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd", "gopher://x"])
async def test_a_redirect_out_of_http_is_refused(room: Room, location: str) -> None:
    room.registry.push("1", [BASE])
    room.registry.lies["/manifests/1"] = lambda _: web.Response(status=302, headers={"Location": location})
    await refuses(room, InvalidArgument, "redirects to")


@pytest.mark.parametrize(
    "location",
    [
        "http://[::1",
        "http://a:99999/",
        "http://a:b/",
        "http://user@/x",
        "http://xn--\u00ff/",
        "https:",
        f"http://{'a' * 64}/",
    ],
)
async def test_a_redirect_to_nowhere_is_refused(room: Room, location: str) -> None:
    room.registry.lies["/manifests/1"] = lambda _: web.Response(status=302, headers={"Location": location})
    await refuses(room, InvalidArgument, f"registry http://{room.registry.host} ")


async def test_a_redirect_without_end_is_refused(room: Room) -> None:
    room.registry.lies["/manifests/1"] = lambda request: web.Response(status=302, headers={"Location": request.path})
    await refuses(room, InvalidArgument, "redirects more than")
