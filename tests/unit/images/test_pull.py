"""Pulls from an honest registry, including interrupted downloads.

Unpacking needs root, as the unpacker confines itself.
"""

import asyncio
import gzip
import json
from typing import Any

import pytest
from aiohttp import web

from sampan.digest import Digest, chain_ids
from sampan.errdefs import (
    Forbidden,
    NotFound,
    SystemFailure,
)
from sampan.images.reference import Reference
from tests.unit.images.conftest import Items, Room
from tests.unit.images.pulling import BASE, OTHER, UPPER, diff_ids, files, push_index

pytestmark = pytest.mark.root


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
