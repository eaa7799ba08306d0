"""What a hostile registry can do to a pull: each attack ends in a clear error and leaves nothing behind.

Lies about digests and sizes are in test_pull_lies.py, hostile layers in tests/integration/layer/.
"""

import asyncio
import dataclasses
import gzip
import json
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web

from sampan.digest import Digest
from sampan.errdefs import DataLoss, DeadlineExceeded, InvalidArgument, NotFound, SampanError, SystemFailure
from sampan.images import examine, refusal, registry
from sampan.images.layer.limits import Limits
from sampan.images.layer.pipeline import unhashed_blocks
from sampan.images.manifest import parse_document
from sampan.images.reference import Reference
from sampan.images.registry import RegistryClient
from sampan.images.web_file import web_file
from tests.support.images import Entry, layer
from tests.unit.images.conftest import FAST, Items, Room
from tests.unit.images.fake_registry import INDEX, LAYER, MANIFEST, descriptor, image_config

pytestmark = pytest.mark.root

BASE = layer([Entry("base", b"base\n")])


async def refuses(room: Room, kind: type[SampanError], message: str, name: str = "app:1") -> None:
    with pytest.raises(kind, match=message):
        await room.pull(name)
    assert room.is_empty()


def stream(*, head: bytes, again: bytes, pause_s: float = 0, **headers: str) -> Callable[[web.Request], Any]:
    """An endless response."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(head)
        try:
            while True:
                await response.write(again)
                await asyncio.sleep(pause_s)
        except ConnectionError:
            return response

    return answer


async def test_a_manifest_without_end_is_refused(room: Room) -> None:
    room.registry.streams["/manifests/1"] = stream(head=b"{", again=b" " * 100_000)
    await refuses(room, InvalidArgument, "the registry's answer is larger than 4194304 bytes")


async def test_a_blob_that_drips_is_given_up(room: Room) -> None:
    room.registry.push("1", [BASE])
    digest = room.registry.layer_digest(BASE)
    room.registry.streams[f"/blobs/{digest}"] = stream(head=b"", again=b"x", pause_s=0.01)
    client = RegistryClient(dataclasses.replace(FAST, read_timeout_s=1.0))
    repository = await client.repository(room.reference("app:1"))
    blob = next(iter((await _manifest(repository, room)).layers))
    with pytest.raises(DeadlineExceeded, match="too slow"):
        async for _ in repository.blob(dataclasses.replace(blob, size_bytes=1 << 20)):
            pass
    await client.close()


async def _manifest(repository: Any, room: Room) -> Any:
    return parse_document((await repository.document(room.reference("app:1"))).content)


async def test_a_document_that_drips_is_given_up(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal.read_bounded, "__defaults__", (0.1,))
    room.registry.streams["/manifests/1"] = stream(head=b"{", again=b" ", pause_s=0.01)
    await refuses(room, SystemFailure, "the registry took too long")


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def _hesitate(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("answer", [_drip, _hesitate])
async def test_headers_that_drip_or_never_come_are_given_up(
    answer: Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]],
) -> None:
    serving: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with suppress(ConnectionError):
            await answer(writer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = RegistryClient(dataclasses.replace(FAST, connect_timeout_s=0.2, read_timeout_s=0.3))
        async with asyncio.timeout(20):
            with pytest.raises(SystemFailure, match="the registry took too long"):
                await client.repository(Reference.parse(f"{host}/app:1"))
            with pytest.raises(SystemFailure, match="took too long"):
                async with web_file(f"http://{host}/root.tar", client.config):
                    pass
        await client.close()
        await asyncio.gather(*filter(None, serving))


@pytest.mark.parametrize("range_", ["0-\u00b2", "0-" + "9" * 5000, "0-x", "bytes"])
async def test_an_upload_that_got_nobody_knows_how_far_is_begun_anew(room: Room, range_: str) -> None:
    noise = layer([Entry("noise", os.urandom(3 << 20))])
    room.registry.push("1", [noise])
    blobs = dict(room.registry.blobs)
    await room.pull("app:1")
    room.registry.blobs.clear()
    room.registry.upload_bytes = 1 << 20
    puzzled = 0

    def puzzle(request: web.Request) -> web.Response | None:
        nonlocal puzzled
        if request.method != "GET" or "/uploads/" not in request.path:
            return None
        puzzled += 1
        room.registry.upload_bytes = None
        return web.Response(status=204, headers={"Range": range_})

    room.registry.guard = puzzle
    await room.store.push(room.reference("app:1"), auth=None, progress=Items())
    assert puzzled == 1
    assert room.registry.blobs == blobs


async def test_a_bomb_in_place_of_a_blob_that_was_lost_is_refused(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layer is unpacked and only its blob is missing: it is decompressed, but not unpacked again."""
    manifest = json.loads(room.registry.push("1", [BASE]))
    image = await room.pull("app:1")
    await room.store.repair(lambda _: False)
    (room.root / "images/content/blobs/sha256" / room.registry.layer_digest(BASE).hex).unlink()
    await room.store.repair(lambda _: False)
    bomb = gzip.compress(bytes(64 << 20))
    room.registry.blobs[Digest.of(bomb)] = bomb
    manifest["layers"] = [descriptor(bomb, LAYER)]
    room.registry.put("2", json.dumps(manifest).encode())
    read = 0

    def counted(*args: Any) -> Iterator[bytes]:
        nonlocal read
        for block in unhashed_blocks(*args):
            read += len(block)
            yield block

    monkeypatch.setattr(examine, "Limits", lambda: Limits(total_bytes=1 << 20))
    monkeypatch.setattr(examine, "unhashed_blocks", counted)
    with pytest.raises(DataLoss, match="layers from manifest don't match image configuration"):
        await room.pull("app:2")
    assert read <= 2 << 20
    assert (await room.pull("app:1")).id == image.id


async def test_tags_without_end_are_refused_in_the_end(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_TAG_PAGES_MAX", 5)
    room.registry.lies["/tags/list"] = lambda request: web.json_response(
        {"tags": ["1"]}, headers={"Link": '</v2/app/tags/list>; rel="next"'}
    )
    await refuses(room, InvalidArgument, "more than 5 pages of tags", "app")


@pytest.mark.parametrize("tags", ["x", 5, None, [5], ["../../etc"], ["a" * 200]])
async def test_tags_that_are_none_are_refused(room: Room, tags: Any) -> None:
    room.registry.lies["/tags/list"] = lambda _: web.json_response({"tags": tags})
    with pytest.raises(SampanError):
        await room.pull("app")
    assert room.is_empty()


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"{", b"\xff"])
async def test_a_list_of_tags_that_is_none_is_refused(room: Room, body: bytes) -> None:
    room.registry.lies["/tags/list"] = lambda _: web.Response(body=body)
    await refuses(room, InvalidArgument, "the list of tags is malformed", "app")


async def test_tags_on_another_host_are_not_asked_for(room: Room) -> None:
    room.registry.push("1", [BASE])
    room.registry.lies["/tags/list"] = lambda _: web.json_response(
        {"tags": ["1"]}, headers={"Link": '<http://127.0.0.1:1/v2/app/tags/list>; rel="next"'}
    )
    assert await room.pull("app")


@pytest.mark.parametrize("link", ["http://[::1", "http://a:99999/", "http://user@/x", "https:"])
async def test_tags_that_go_on_nowhere_are_refused(room: Room, link: str) -> None:
    room.registry.lies["/tags/list"] = lambda _: web.json_response(
        {"tags": ["1"]}, headers={"Link": f'<{link}>; rel="next"'}
    )
    await refuses(room, InvalidArgument, "the list of tags continues at an invalid URL", "app")


async def test_an_index_of_100000_entries_is_refused(room: Room) -> None:
    entry = descriptor(b"x", MANIFEST, platform={"os": "linux", "architecture": "arm64"})
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] * 100_000}).encode()
    room.registry.put("1", index, INDEX)
    await refuses(room, InvalidArgument, "larger than 4194304 bytes")


async def test_a_large_index_without_our_platform_says_so(room: Room) -> None:
    entry = descriptor(b"x", MANIFEST, platform={"os": "linux", "architecture": "arm64"})
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] * 15_000}).encode()
    room.registry.put("1", index, INDEX)
    await refuses(room, NotFound, "no matching manifest for linux/amd64 in the manifest list entries")


async def test_a_manifest_with_layers_and_manifests_is_refused(room: Room) -> None:
    document = json.loads(room.registry.push("1", [BASE])) | {"manifests": []}
    room.registry.put("1", json.dumps(document).encode())
    await refuses(room, InvalidArgument, 'should not have "manifests"')


async def test_an_index_that_names_itself_is_refused(room: Room) -> None:
    """It can't contain its own digest: the document served for the digest it names fails verification."""
    entry = descriptor(b"x", INDEX, platform={"os": "linux", "architecture": "amd64"})
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    room.registry.put("1", index, INDEX)
    room.registry.manifests[Digest.of(b"x")] = (INDEX, index)
    await refuses(room, DataLoss, "manifest verification failed for digest")


@pytest.mark.parametrize("digest", ["sha256:../../../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "a" * 32, ""])
async def test_a_digest_that_is_none_is_refused_before_it_is_used(room: Room, digest: str) -> None:
    document = json.loads(room.registry.push("1", [BASE]))
    document["layers"][0]["digest"] = digest
    room.registry.put("1", json.dumps(document).encode())
    await refuses(room, InvalidArgument, "invalid checksum digest format")


@pytest.mark.parametrize("size", [-1, 1 << 63, 1.5, "5", None, True])
async def test_a_size_that_is_none_is_refused(room: Room, size: Any) -> None:
    document = json.loads(room.registry.push("1", [BASE]))
    document["layers"][0]["size"] = size
    room.registry.put("1", json.dumps(document).encode())
    await refuses(room, InvalidArgument, "invalid size of blob")


async def test_a_layer_smaller_than_promised_is_given_up(room: Room) -> None:
    document = json.loads(room.registry.push("1", [BASE]))
    document["layers"][0]["size"] += 1
    room.registry.put("1", json.dumps(document).encode())
    with pytest.raises(SampanError):
        await room.pull("app:1")
    assert room.is_empty()


async def test_a_config_of_another_operating_system_is_refused(room: Room) -> None:
    room.registry.push("1", [BASE], os="windows")
    await refuses(room, InvalidArgument, "operating system is not supported")


async def test_a_registry_of_two_minds_leaves_nothing(room: Room) -> None:
    """Good layers, then a config that belongs to another image."""
    room.registry.push("1", [BASE])
    document = json.loads(room.registry.manifests["1"][1])
    other = image_config([BASE, BASE])
    document["config"] = descriptor(other, "application/vnd.oci.image.config.v1+json")
    room.registry.blobs[Digest.of(other)] = other
    room.registry.put("1", json.dumps(document).encode())
    items = Items()
    with pytest.raises(DataLoss, match="layers from manifest don't match image configuration"):
        await room.pull("app:1", items)
    assert room.is_empty()
