"""Pulls from a registry that is honest, and from one that is not.

Unpacking takes root, as the unpacker confines itself.
"""

import asyncio
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sampan.digest import Digest, chain_ids
from sampan.errdefs import (
    DataLoss,
    Forbidden,
    InvalidArgument,
    NotFound,
    SampanError,
    SystemFailure,
    Unavailable,
)
from sampan.images.reference import Reference
from sampan.images.store import Image
from tests.support.images import Entry, directory, layer
from tests.unit.images.conftest import Items, Room
from tests.unit.images.fake_registry import INDEX, LAYER, MANIFEST, descriptor, image_config, refusal

pytestmark = pytest.mark.root

BASE = layer([directory("etc"), Entry("etc/base", b"base\n")])
UPPER = layer([directory("etc"), Entry("etc/upper", b"upper\n")])
OTHER = layer([Entry("other", b"other\n" * 50_000)])


def diff_ids(*layers: bytes) -> list[Digest]:
    return [Digest.of(one) for one in layers]


def files(room: Room, image: Image) -> dict[str, bytes]:
    """The files of an image, seen through a snapshot of its own."""
    mounts = room.storage.prepare("look", image.snapshot)
    try:
        root = Path(mounts[0].source)
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    finally:
        room.storage.remove("look")


async def test_a_pull_makes_an_image(room: Room) -> None:
    manifest = room.registry.push("1", [BASE, UPPER], config={"Cmd": ["x"]}, created="2020-01-01T00:00:00Z")
    image = await room.pull("app:1")
    assert image.id == json.loads(manifest)["config"]["digest"]
    assert image.config["config"] == {"Cmd": ["x"]}
    assert image.created == "2020-01-01T00:00:00Z"
    assert image.references == (f"{room.registry.host}/app:1",)
    assert image.repo_digests == (f"{room.registry.host}/app@{Digest.of(manifest)}",)
    assert list(image.layers) == chain_ids(diff_ids(BASE, UPPER))
    assert image.size_bytes == len(b"base\n" + b"upper\n")
    assert files(room, image) == {"etc/base": b"base\n", "etc/upper": b"upper\n"}
    assert room.store.get(f"{room.registry.host}/app:1") == image


async def test_the_client_sees_dockers_items(room: Room) -> None:
    manifest = room.registry.push("1", [BASE])
    items = Items()
    await room.pull("lib/app:1", items)
    id = room.registry.layer_digest(BASE).hex[:12]
    assert items.items[0] == {"status": "Pulling from lib/app", "id": "1"}
    assert items.items[1] == {"status": "Pulling fs layer", "progressDetail": {}, "id": id}
    assert items.of(id)[-1] == "Pull complete"
    size = len(gzip.compress(BASE, 1, mtime=0))
    assert {"status": "Downloading", "progressDetail": {"current": size, "total": size}, "id": id} in items.items
    for line in ("Verifying Checksum", "Download complete", "Extracting"):
        assert line in items.of(id)
    assert items.lines[-2:] == [
        f"Digest: {Digest.of(manifest)}",
        f"Status: Downloaded newer image for {room.registry.host}/lib/app:1",
    ]


async def test_a_second_pull_fetches_no_content_and_says_so(room: Room) -> None:
    room.registry.push("1", [BASE])
    image = await room.pull("app:1")
    before = room.registry.requests.copy()
    items = Items()
    assert await room.pull("app:1", items) == image
    assert items.lines[-1] == f"Status: Image is up to date for {room.registry.host}/app:1"
    assert room.registry.requests[image.id] == before[image.id]


async def test_layers_that_are_here_are_not_fetched_again(room: Room) -> None:
    room.registry.push("1", [BASE])
    room.registry.push("2", [BASE, UPPER])
    await room.pull("app:1")
    items = Items()
    image = await room.pull("app:2", items)
    assert room.registry.requests[room.registry.layer_digest(BASE)] == 1
    assert items.of(room.registry.layer_digest(BASE).hex[:12]) == ["Already exists"]
    assert set(files(room, image)) == {"etc/base", "etc/upper"}


async def test_a_layer_on_another_parent_is_unpacked_from_the_blob_that_is_here(room: Room) -> None:
    room.registry.push("1", [BASE, UPPER])
    room.registry.push("2", [UPPER])
    await room.pull("app:1")
    await room.pull("app:2")
    assert room.registry.requests[room.registry.layer_digest(UPPER)] == 1


async def test_two_pulls_of_one_layer_at_once_fetch_it_once(room: Room) -> None:
    room.registry.push("1", [BASE, UPPER])
    room.registry.push("2", [BASE, OTHER])
    digest = room.registry.layer_digest(BASE)
    room.registry.held[digest], room.registry.asked[digest] = asyncio.Event(), asyncio.Event()
    first = asyncio.ensure_future(room.pull("app:1"))
    await room.registry.asked[digest].wait()
    late, joined = Items(), asyncio.Event()

    async def progress(item: dict[str, Any]) -> None:
        await late(item)
        if item.get("id") == digest.hex[:12]:
            joined.set()

    second = asyncio.ensure_future(
        room.store.pull(room.reference("app:2"), platform="linux/amd64", auth=None, progress=progress)
    )
    await joined.wait()
    room.registry.held[digest].set()
    assert {(await first).references, (await second).references} == {
        (f"{room.registry.host}/app:1",),
        (f"{room.registry.host}/app:2",),
    }
    assert room.registry.requests[digest] == 1
    assert late.of(digest.hex[:12])[-1] == "Pull complete"


async def test_a_cancelled_pull_leaves_the_shared_layer_to_the_other(room: Room) -> None:
    room.registry.push("1", [BASE, OTHER])
    room.registry.push("2", [BASE])
    digest, other = room.registry.layer_digest(BASE), room.registry.layer_digest(OTHER)
    for one in (digest, other):
        room.registry.held[one], room.registry.asked[one] = asyncio.Event(), asyncio.Event()
    first = asyncio.ensure_future(room.pull("app:1"))
    await room.registry.asked[digest].wait()
    await room.registry.asked[other].wait()
    joined = asyncio.Event()

    async def progress(item: dict[str, Any]) -> None:
        if item.get("id") == digest.hex[:12]:
            joined.set()

    second = asyncio.ensure_future(
        room.store.pull(room.reference("app:2"), platform="linux/amd64", auth=None, progress=progress)
    )
    await joined.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    room.registry.held[digest].set()
    image = await second
    assert room.snapshots() == {image.snapshot}
    assert room.registry.requests[digest] == 1
    await room.store.remove(image.id, force=True, in_use=lambda _: [])
    assert room.is_empty()


async def test_a_cancelled_pull_leaves_nothing(room: Room) -> None:
    room.registry.push("1", [BASE, OTHER])
    other = room.registry.layer_digest(OTHER)
    room.registry.held[other], room.registry.asked[other] = asyncio.Event(), asyncio.Event()
    pull = asyncio.ensure_future(room.pull("app:1"))
    await room.registry.asked[other].wait()
    pull.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pull
    assert room.is_empty()


async def test_a_client_that_goes_away_ends_the_pull(room: Room) -> None:
    room.registry.push("1", [BASE])

    async def gone(item: dict[str, Any]) -> None:
        raise ConnectionError("the client is gone")

    with pytest.raises(ConnectionError):
        await room.store.pull(room.reference("app:1"), platform="linux/amd64", auth=None, progress=gone)
    assert room.is_empty()


async def test_an_image_removed_during_its_second_pull_is_whole_in_the_end(room: Room) -> None:
    room.registry.push("1", [BASE, UPPER])
    first = await room.pull("app:1")

    async def remove_in_between(item: dict[str, Any]) -> None:
        if str(item.get("status", "")).startswith("Pulling from"):
            await room.store.remove(first.id, force=True, in_use=lambda _: [])

    image = await room.store.pull(
        room.reference("app:1"), platform="linux/amd64", auth=None, progress=remove_in_between
    )
    await room.store.collect_garbage()
    assert set(files(room, image)) == {"etc/base", "etc/upper"}
    store = room.restarted()
    await store.open()
    assert store.get(image.id) == image


async def test_a_pull_without_a_tag_pulls_all(room: Room) -> None:
    room.registry.push("1", [BASE])
    room.registry.push("2", [UPPER])
    await room.pull("app")
    assert {image.references for image in room.store.list()} == {
        (f"{room.registry.host}/app:1",),
        (f"{room.registry.host}/app:2",),
    }


async def test_a_pull_by_digest_names_no_tag(room: Room) -> None:
    digest = Digest.of(room.registry.push("1", [BASE]))
    items = Items()
    image = await room.pull(f"app@{digest}", items)
    assert image.references == ()
    assert image.repo_digests == (f"{room.registry.host}/app@{digest}",)
    assert items.items[0]["id"] == f"{room.registry.host}/app@{digest}"
    assert room.store.get(f"{room.registry.host}/app@{digest}") == image


async def test_a_tag_that_moved_leaves_the_old_image_without_it(room: Room) -> None:
    room.registry.push("1", [BASE])
    old = await room.pull("app:1")
    room.registry.push("1", [UPPER])
    new = await room.pull("app:1")
    assert room.store.get(old.id).references == ()
    assert new.references == (f"{room.registry.host}/app:1",)


def push_index(room: Room, **more: Any) -> bytes:
    manifest = room.registry.push("amd64", [BASE])
    arm = room.registry.push("arm64", [UPPER], architecture="arm64")
    document = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                descriptor(arm, MANIFEST, platform={"os": "linux", "architecture": "arm64"}),
                descriptor(manifest, MANIFEST, platform={"os": "linux", "architecture": "amd64"}, **more),
            ],
        }
    ).encode()
    room.registry.put("multi", document, INDEX)
    return document


async def test_the_platform_asked_for_is_pulled_from_an_index(room: Room) -> None:
    digest = Digest.of(push_index(room))
    items = Items()
    image = await room.pull("app:multi", items)
    assert image.layers == tuple(diff_ids(BASE))
    assert image.repo_digests == (f"{room.registry.host}/app@{digest}",)
    arm = await room.pull("app:multi", platform="linux/arm64")
    assert arm.layers == tuple(diff_ids(UPPER))
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest list entries"):
        await room.pull("app:multi", platform="linux/s390x")


async def test_scratch_is_a_reserved_name(room: Room) -> None:
    with pytest.raises(Forbidden, match="'scratch' is a reserved name"):
        await room.store.pull(Reference.parse("scratch"), platform=None, auth=None, progress=Items())


# ---- a registry that breaks off


async def test_a_download_that_breaks_off_goes_on_where_it_did(room: Room) -> None:
    room.registry.push("1", [OTHER])
    digest = room.registry.layer_digest(OTHER)
    room.registry.truncate[digest] = len(room.registry.blobs[digest]) // 3
    image = await room.pull("app:1")
    assert room.registry.requests[digest] == 4
    assert files(room, image) == {"other": b"other\n" * 50_000}


async def test_a_registry_without_ranges_is_read_from_the_start_again(room: Room) -> None:
    room.registry.push("1", [OTHER])
    digest = room.registry.layer_digest(OTHER)
    room.registry.truncate[digest] = len(room.registry.blobs[digest]) // 2
    room.registry.ranges = False

    def whole_again(request: web.Request) -> None:
        if room.registry.requests[digest] > 1:
            room.registry.truncate.clear()

    room.registry.lies[digest] = whole_again
    assert await room.pull("app:1")


async def test_a_registry_that_never_gets_further_is_given_up(room: Room) -> None:
    room.registry.push("1", [OTHER])
    digest = room.registry.layer_digest(OTHER)
    room.registry.truncate[digest] = 100
    room.registry.ranges = False
    with pytest.raises(SystemFailure):
        await room.pull("app:1")
    assert room.registry.requests[digest] == 3
    assert room.is_empty()


async def test_a_server_error_is_tried_again(room: Room) -> None:
    room.registry.push("1", [BASE])
    room.registry.lies["/manifests/1"] = lambda request: (
        web.Response(status=503) if room.registry.requests["1"] < 3 else None
    )
    assert await room.pull("app:1")
    room.registry.lies["/manifests/1"] = lambda request: web.Response(status=503)
    with pytest.raises(SystemFailure, match="received unexpected HTTP status: 503"):
        await room.pull("app:1")


# ---- a registry that says no


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


# ---- a registry that lies


async def refuses(room: Room, kind: type[SampanError], message: str) -> None:
    with pytest.raises(kind) as refused:
        await room.pull("app:1")
    assert message in str(refused.value)
    assert room.is_empty()


async def test_a_layer_of_another_digest_is_refused(room: Room) -> None:
    room.registry.push("1", [BASE, OTHER])
    digest = room.registry.layer_digest(OTHER)
    good = room.registry.blobs[digest]
    room.registry.blobs[digest] = good[:-20] + bytes(byte ^ 1 for byte in good[-20:])
    await refuses(room, DataLoss, f"filesystem layer verification failed for digest {digest}")


async def test_what_a_full_disk_keeps_from_being_removed_goes_as_soon_as_it_can(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.registry.push("1", [BASE])
    digest = room.registry.layer_digest(BASE)
    room.registry.blobs[digest] = bytes(len(room.registry.blobs[digest]))
    remove, failures = room.storage.remove, [SystemFailure("disk full")]

    def fail_once(name: str) -> None:
        if failures:
            raise failures.pop()
        remove(name)

    monkeypatch.setattr(room.storage, "remove", fail_once)
    with pytest.raises((DataLoss, SystemFailure)):
        await room.pull("app:1")
    assert not failures or not room.storage.capabilities.detached_layers
    assert room.is_empty()


async def test_a_good_tar_under_another_digest_is_refused(room: Room) -> None:
    room.registry.push("1", [OTHER])
    digest = room.registry.layer_digest(OTHER)
    evil = gzip.compress(UPPER, 1)
    room.registry.blobs[digest] = evil + bytes(len(room.registry.blobs[digest]) - len(evil))
    await refuses(room, DataLoss, "verification failed")


async def test_a_layer_that_is_longer_than_promised_is_refused(room: Room) -> None:
    room.registry.push("1", [BASE])
    room.registry.blobs[room.registry.layer_digest(BASE)] += b"more"
    await refuses(room, DataLoss, "is larger than")


async def test_a_config_of_another_digest_is_refused(room: Room) -> None:
    digest = json.loads(room.registry.push("1", [BASE]))["config"]["digest"]
    room.registry.blobs[digest] = room.registry.blobs[digest].replace(b"linux", b"LINUX")
    await refuses(room, DataLoss, f"image config verification failed for digest {digest}")


async def test_a_config_of_other_layers_is_refused(room: Room) -> None:
    manifest = json.loads(room.registry.push("1", [BASE]))
    room.registry.push("2", [UPPER])
    config = image_config([UPPER])
    manifest["config"] = descriptor(config, manifest["config"]["mediaType"])
    room.registry.put("1", json.dumps(manifest).encode())
    await refuses(room, DataLoss, "layers from manifest don't match image configuration")


async def test_a_config_of_more_layers_is_refused(room: Room) -> None:
    manifest = json.loads(room.registry.push("1", [BASE]))
    manifest["layers"].append(descriptor(b"x", LAYER))
    room.registry.put("1", json.dumps(manifest).encode())
    await refuses(room, DataLoss, "layers from manifest don't match image configuration")


async def test_a_manifest_of_another_digest_is_refused(room: Room) -> None:
    digest = Digest.of(room.registry.push("1", [BASE]))
    other = room.registry.push("2", [UPPER])
    room.registry.manifests[digest] = (MANIFEST, other)
    with pytest.raises(DataLoss, match=f"manifest verification failed for digest {digest}"):
        await room.pull(f"app@{digest}")
    assert room.is_empty()


async def test_an_index_that_lies_about_a_manifests_size_is_refused(room: Room) -> None:
    push_index(room, size=3)
    with pytest.raises(DataLoss, match="manifest verification failed"):
        await room.pull("app:multi")
    assert room.is_empty()


async def test_a_manifest_served_as_an_index_is_refused(room: Room) -> None:
    manifest = room.registry.push("1", [BASE])
    room.registry.put("1", manifest, INDEX)
    await refuses(room, InvalidArgument, "says that it is of type")


@pytest.mark.parametrize("kind", ["tar", "tar+zstd", "tar+gzip+encrypted", "tar+nonsense"])
async def test_a_layer_goes_by_its_bytes_whatever_its_media_type_says(room: Room, kind: str) -> None:
    manifest = json.loads(room.registry.push("1", [BASE]))
    manifest["layers"][0]["mediaType"] = f"application/vnd.oci.image.layer.v1.{kind}"
    room.registry.put("1", json.dumps(manifest).encode())
    assert files(room, await room.pull("app:1")) == {"etc/base": b"base\n"}


async def test_a_manifest_that_is_too_large_is_refused(room: Room) -> None:
    room.registry.put("1", b" " * (5 << 20))
    await refuses(room, InvalidArgument, "larger than")


async def test_a_layer_that_climbs_out_is_refused_or_stays_inside(room: Room) -> None:
    room.registry.push("1", [layer([Entry("../../../../../../climbed", b"x")])])
    try:
        await room.pull("app:1")
    except SampanError:
        assert room.is_empty()
    assert not list(room.root.rglob("climbed")) or all(
        room.root / "storage" in path.parents for path in room.root.rglob("climbed")
    )


# ---- redirects


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
