"""Pushes to an honest registry and to a failing one. Unpacking needs root."""

import asyncio
import gzip
import io
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from aiohttp import web

from sampan.digest import Digest
from sampan.errdefs import InvalidArgument, NotFound, SampanError, SystemFailure, Unauthorized, Unavailable
from sampan.images.reference import Reference
from sampan.images.registry_config import RegistryAuth
from tests.support.images import Entry, directory, layer
from tests.unit.images.conftest import Items, Room
from tests.unit.images.fake_registry import image_config, refusal
from tests.unit.images.guards import ask_password, token_server

pytestmark = pytest.mark.root

BASE = layer([directory("etc"), Entry("etc/base", b"base\n")])
LARGE = layer([Entry("large", bytes(range(256)) * 8192)])
ANN = RegistryAuth(username="ann", password="secret:word")


async def push(room: Room, name: str, auth: RegistryAuth | None = None) -> Items:
    items = Items()
    await room.store.push(room.reference(name), auth=auth, progress=items)
    return items


async def load(room: Room, layers: list[bytes], tag: str) -> None:
    """Load an image with uncompressed layers."""
    members = {
        "config.json": image_config(layers),
        **{f"{number}.tar": content for number, content in enumerate(layers)},
        "manifest.json": json.dumps(
            [
                {
                    "Config": "config.json",
                    "RepoTags": [f"{room.registry.host}/{tag}"],
                    "Layers": [f"{n}.tar" for n in range(len(layers))],
                }
            ]
        ).encode(),
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))

    async def body() -> AsyncIterator[bytes]:
        yield out.getvalue()

    await room.store.load(body(), progress=Items(), quiet=True)


async def test_what_was_pulled_is_pushed_byte_for_byte(room: Room) -> None:
    manifest = room.registry.push("1", [BASE, LARGE])
    image = await room.pull("app:1")
    blobs = dict(room.registry.blobs)
    room.registry.manifests.clear()
    room.registry.blobs.clear()
    items = await push(room, "app:1")
    assert room.registry.manifests["1"][1] == manifest
    assert room.registry.blobs == blobs
    digest = Digest.of(manifest)
    id = Digest.of(BASE).hex[:12]
    assert items.items[0] == {"status": f"The push refers to repository [{room.registry.host}/app]"}
    assert items.of(id)[0] == "Preparing"
    assert items.of(id)[-1] == "Pushed"
    assert items.items[-2] == {"status": f"1: digest: {digest} size: {len(manifest)}"}
    aux = {"Tag": "1", "Digest": digest, "Size": len(manifest)}
    assert items.items[-1] == {"progressDetail": {}, "aux": aux}
    assert room.store.get(image.id) == image


async def test_what_is_there_is_not_sent_again(room: Room) -> None:
    room.registry.push("1", [BASE])
    await room.pull("app:1")
    items = await push(room, "app:1")
    assert items.of(Digest.of(BASE).hex[:12])[-1] == "Layer already exists"
    assert not room.registry.uploads


async def test_a_loaded_image_is_pushed_compressed_and_pulled_again(room: Room) -> None:
    await load(room, [BASE, LARGE], "app:1")
    bare = room.blobs()
    await push(room, "app:1")
    media_type, manifest = room.registry.manifests["1"]
    document = json.loads(manifest)
    assert media_type == document["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert [gzip.decompress(room.registry.blobs[one["digest"]]) for one in document["layers"]] == [BASE, LARGE]
    assert {one["mediaType"] for one in document["layers"]} == {"application/vnd.oci.image.layer.v1.tar+gzip"}
    assert room.blobs() & bare == {document["config"]["digest"]}, "the bare tars are kept beside the compressed ones"
    image = room.store.get(f"{room.registry.host}/app:1")
    assert image.repo_digests == (f"{room.registry.host}/app@{Digest.of(manifest)}",)
    await push(room, "app:1")
    assert room.registry.manifests["1"][1] == manifest
    restarted = room.restarted()
    await restarted.open()
    await restarted.remove(image.id, force=True, in_use=lambda _: [])
    again = await restarted.pull(room.reference("app:1"), platform=None, auth=None, progress=Items())
    assert again.id == image.id
    await restarted.close()


async def test_without_a_tag_every_tag_is_pushed(room: Room) -> None:
    room.registry.push("1", [BASE])
    image = await room.pull("app:1")
    await room.store.tag(image, room.reference("app:2"))
    await room.store.tag(image, room.reference("other:3"))
    room.registry.manifests.clear()
    await push(room, "app")
    assert {name for name in room.registry.manifests if ":" not in name} == {"1", "2"}


async def test_a_layer_is_mounted_from_another_repository_of_the_registry(room: Room) -> None:
    room.registry.push("1", [BASE])
    digest = room.registry.layer_digest(BASE)
    image = await room.pull("app:1")
    room.registry.owners[digest] = {"app"}
    await room.store.tag(image, room.reference("deep/other:1"))
    items = await push(room, "deep/other:1")
    assert items.of(Digest.of(BASE).hex[:12])[-1] == "Mounted from app"
    assert room.registry.owners[digest] == {"app", "deep/other"}
    assert not room.registry.uploads


async def test_a_registry_that_mounts_nothing_is_sent_the_layer(room: Room) -> None:
    room.registry.push("1", [BASE])
    digest = room.registry.layer_digest(BASE)
    image = await room.pull("app:1")
    room.registry.owners[digest] = {"nobody"}
    await room.store.tag(image, room.reference("other:1"))
    items = await push(room, "other:1")
    assert items.of(Digest.of(BASE).hex[:12])[-1] == "Pushed"
    assert "other" in room.registry.owners[digest]


async def test_an_upload_that_breaks_off_goes_on_where_it_did(room: Room) -> None:
    noise = layer(
        [Entry("noise", b"".join(Digest.of(bytes([a, b])).encode() for a in range(256) for b in range(200)))]
    )
    room.registry.push("1", [noise])
    blobs = dict(room.registry.blobs)
    await room.pull("app:1")
    room.registry.blobs.clear()
    room.registry.upload_bytes = 1_100_000
    items = await push(room, "app:1")
    assert room.registry.blobs == blobs
    assert items.of(Digest.of(noise).hex[:12])[-1] == "Pushed"
    patches = [path for method, path, _ in room.registry.seen if method == "PATCH"]
    assert len(patches) == 2
    assert len(set(patches)) == 1


async def test_a_registry_that_never_takes_it_is_given_up(room: Room) -> None:
    room.registry.push("1", [BASE])
    await room.pull("app:1")
    room.registry.blobs.clear()
    room.registry.lies["/blobs/uploads/"] = lambda _: web.Response(status=503)
    with pytest.raises(SystemFailure, match="received unexpected HTTP status: 503"):
        await push(room, "app:1")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("app:2", NotFound, "tag does not exist: {host}/app:2"),
        ("nothing:1", NotFound, "An image does not exist locally with the tag: {host}/nothing"),
        ("nothing", NotFound, "An image does not exist locally with the tag: {host}/nothing"),
        (f"app@sha256:{'a' * 64}", InvalidArgument, "cannot push a digest reference"),
    ],
)
async def test_a_name_that_is_not_here_is_refused_in_dockers_words(
    room: Room, name: str, kind: type[SampanError], message: str
) -> None:
    room.registry.push("1", [BASE])
    await room.pull("app:1")
    with pytest.raises(kind) as refused:
        await push(room, name)
    assert str(refused.value) == message.format(host=room.registry.host)


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (("401", "UNAUTHORIZED", "no"), Unauthorized, "unauthorized: no"),
        (("403", "DENIED", "requested access"), Unauthorized, "denied: requested access"),
        (("429", "TOOMANYREQUESTS", "slow down"), Unavailable, "toomanyrequests: slow down"),
        (("400", "MANIFEST_INVALID", "no"), SystemFailure, "manifest invalid: no"),
    ],
)
async def test_a_refusal_is_told_in_dockers_words(
    room: Room, answer: tuple[str, str, str], kind: type[SampanError], message: str
) -> None:
    room.registry.push("1", [BASE])
    await room.pull("app:1")
    room.registry.lies["/manifests/1"] = lambda request: (
        refusal(int(answer[0]), *answer[1:]) if request.method == "PUT" else None
    )
    with pytest.raises(kind) as refused:
        await push(room, "app:1")
    assert str(refused.value) == message


async def test_a_password_opens_the_way_in(room: Room) -> None:
    room.registry.push("1", [BASE])
    await room.pull("app:1")
    room.registry.guard = ask_password
    room.registry.blobs.clear()
    with pytest.raises(Unauthorized):
        await push(room, "app:1")
    await push(room, "app:1", ANN)
    assert room.registry.blobs


async def test_one_token_is_asked_for_that_allows_pushing(room: Room) -> None:
    room.registry.push("1", [BASE, LARGE])
    await room.pull("app:1")
    room.registry.blobs.clear()
    async with token_server() as tokens:
        room.registry.guard = tokens.guard
        await push(room, "app:1", ANN)
        assert [one["scopes"] for one in tokens.asked] == [["repository:app:pull,push"]]


async def test_a_redirected_upload_is_shown_no_credentials(room: Room) -> None:
    room.registry.push("1", [BASE])
    await room.pull("app:1")
    room.registry.blobs.clear()
    room.registry.guard = ask_password
    reached: list[str | None] = []

    async def elsewhere(request: web.Request) -> web.Response:
        reached.append(request.headers.get("Authorization"))
        return web.Response(status=400)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", elsewhere)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    room.registry.lies["/blobs/uploads/"] = lambda request: (
        web.Response(status=202, headers={"Location": f"http://127.0.0.1:{port}/upload"})
        if "Authorization" in request.headers
        else None
    )
    with pytest.raises(SampanError):
        await push(room, "app:1", ANN)
    await runner.cleanup()
    assert reached
    assert set(reached) == {None}


async def test_a_client_that_goes_away_ends_the_push(room: Room) -> None:
    room.registry.push("1", [LARGE])
    await room.pull("app:1")
    room.registry.blobs.clear()
    begun = asyncio.Event()

    def hold(request: web.Request) -> None:
        if request.method == "POST":
            begun.set()

    room.registry.lies["/blobs/uploads/"] = hold
    pushing = asyncio.ensure_future(push(room, "app:1"))
    await begun.wait()
    pushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pushing
    assert "1" in room.registry.manifests
    assert await room.pull("app:1")


@pytest.mark.parametrize("location", ["", "http://[::1", "http://a:99999/", "http://user@/x", "ftp://a/", "https:"])
async def test_a_wrong_location_is_told_of(room: Room, location: str) -> None:
    room.registry.push("1", [BASE])
    await room.pull("app:1")
    room.registry.blobs.clear()
    room.registry.lies["/blobs/uploads/"] = lambda _: web.Response(status=202, headers={"Location": location})
    with pytest.raises(SystemFailure, match="did not say where to upload to"):
        await push(room, "app:1")


async def test_an_image_removed_during_its_push_stays_removed(room: Room) -> None:
    room.registry.push("1", [BASE])
    image = await room.pull("app:1")
    name = room.reference("app:1")

    async def take(request: web.Request) -> web.Response:
        await room.store.remove(name.familiar, force=False, in_use=lambda _: [])
        return web.Response(status=201, headers={"Docker-Content-Digest": Digest.of(await request.read())})

    room.registry.streams["/manifests/1"] = take
    items = await push(room, "app:1")
    assert items.items[-2]["status"].startswith("1: digest: ")
    with pytest.raises(NotFound):
        room.store.get(image.id)
    assert room.is_empty()


async def test_docker_hubs_names_are_familiar(room: Room) -> None:
    with pytest.raises(NotFound, match="An image does not exist locally with the tag: ann/app"):
        await room.store.push(Reference.parse("ann/app:1"), auth=None, progress=Items())


async def test_a_loaded_image_that_was_also_pulled_is_pushed_with_the_digest_it_has_there(room: Room) -> None:
    await load(room, [BASE, LARGE], "mine:1")
    manifest = room.registry.push("1", [BASE, LARGE])
    for one in json.loads(manifest)["layers"]:
        room.registry.owners[one["digest"]] = {"app"}
    image = await room.pull("app:1")
    await room.store.tag(image, room.reference("other:2"))
    items = await push(room, "other:2")
    assert room.registry.manifests["2"][1] == manifest
    assert items.of(Digest.of(BASE).hex[:12])[-1] == "Layer already exists"
    assert not room.registry.uploads


async def test_the_manifest_of_an_archive_of_bare_tars_goes_to_no_registry(room: Room) -> None:
    await load(room, [BASE], "app:1")
    async with aclosing(room.store.save([f"{room.registry.host}/app:1"], platforms=())) as pieces:
        saved = [piece async for piece in pieces]

    async def body() -> AsyncIterator[bytes]:
        for piece in saved:
            yield piece

    await room.store.load(body(), progress=Items(), quiet=True)
    await push(room, "app:1")
    manifest = json.loads(room.registry.manifests["1"][1])
    assert [one["mediaType"] for one in manifest["layers"]] == ["application/vnd.oci.image.layer.v1.tar+gzip"]
