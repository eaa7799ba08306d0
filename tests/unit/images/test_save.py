"""Saving images as archives. Unpacking needs root."""

import io
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from sampan.digest import Digest
from sampan.errdefs import DataLoss, InvalidArgument, NotFound
from tests.support.images import Entry, directory, layer
from tests.unit.images.conftest import Items, Room
from tests.unit.images.test_push import load

pytestmark = pytest.mark.root

BASE = layer([directory("etc"), Entry("etc/base", b"base\n")])
UPPER = layer([directory("etc"), Entry("etc/upper", b"upper\n")])


async def save(room: Room, *names: str, platforms: tuple[str, ...] = ()) -> bytes:
    async with aclosing(
        room.store.save([f"{room.registry.host}/{name}" for name in names], platforms=platforms)
    ) as it:
        return b"".join([piece async for piece in it])


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = [member for member in tar if member.isfile()]
        assert len({member.name for member in files}) == len(files)
        return {member.name: tar.extractfile(member).read() for member in files}  # type: ignore[union-attr]


async def body(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_an_archive_has_the_manifest_and_the_blobs_that_were_pulled(room: Room) -> None:
    manifest = room.registry.push("1", [BASE, UPPER])
    image = await room.pull("app:1")
    found = members(await save(room, "app:1"))
    for name, content in found.items():
        if name.startswith("blobs/"):
            assert Digest.of(content).hex == name.rpartition("/")[2]
    digest = Digest.of(manifest)
    assert found[f"blobs/sha256/{digest.hex}"] == manifest
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert entry == {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": len(manifest),
        "annotations": {
            "io.containerd.image.name": f"{room.registry.host}/app:1",
            "org.opencontainers.image.ref.name": "1",
        },
    }
    (docker,) = json.loads(found["manifest.json"])
    assert docker["Config"] == f"blobs/sha256/{image.id.hex}"
    assert docker["RepoTags"] == [f"{room.registry.host}/app:1"]
    assert [name.rpartition("/")[2] for name in docker["Layers"]] == [
        one["digest"].partition(":")[2] for one in json.loads(manifest)["layers"]
    ]


async def test_what_is_saved_is_loaded_again_and_pushed_with_its_digest(room: Room) -> None:
    manifest = room.registry.push("1", [BASE, UPPER])
    image = await room.pull("app:1")
    archive = await save(room, "app:1")
    blobs = room.blobs()
    await room.store.remove(image.id, force=True, in_use=lambda _: [])
    (loaded,) = await room.store.load(body(archive), progress=Items(), quiet=True)
    assert (loaded.id, loaded.references) == (image.id, image.references)
    assert room.blobs() == blobs
    room.registry.manifests.clear()
    await room.store.push(room.reference("app:1"), auth=None, progress=Items())
    assert room.registry.manifests["1"][1] == manifest
    assert await save(room, "app:1") == archive


async def test_a_loaded_image_is_saved_with_a_manifest_of_our_own(room: Room) -> None:
    await load(room, [BASE, UPPER], "app:1")
    found = members(await save(room, "app:1"))
    (entry,) = json.loads(found["index.json"])["manifests"]
    manifest = json.loads(found[f"blobs/sha256/{Digest(entry['digest']).hex}"])
    assert [one["mediaType"] for one in manifest["layers"]] == ["application/vnd.oci.image.layer.v1.tar"] * 2
    assert [found[f"blobs/sha256/{Digest(one['digest']).hex}"] for one in manifest["layers"]] == [BASE, UPPER]


async def test_several_images_and_tags_share_what_they_have_in_common(room: Room) -> None:
    room.registry.push("1", [BASE])
    room.registry.push("2", [BASE, UPPER])
    first, second = await room.pull("app:1"), await room.pull("app:2")
    await room.store.tag(first, room.reference("app:first"))
    await room.store.tag(first, room.reference("other:3"))
    found = members(await save(room, "app", "other:3", "app:1"))
    tags = {one["Config"].rpartition("/")[2]: one["RepoTags"] for one in json.loads(found["manifest.json"])}
    host = room.registry.host
    assert tags == {
        first.id.hex: [f"{host}/app:1", f"{host}/app:first", f"{host}/other:3"],
        second.id.hex: [f"{host}/app:2"],
    }
    assert len(json.loads(found["index.json"])["manifests"]) == 4
    assert set(json.loads(found["repositories"])) == {f"{host}/app", f"{host}/other"}


async def test_an_image_saved_by_its_id_has_no_tags(room: Room) -> None:
    room.registry.push("1", [BASE])
    image = await room.pull("app:1")
    async with aclosing(room.store.save([image.id.hex[:12]], platforms=())) as pieces:
        found = members(b"".join([piece async for piece in pieces]))
    assert json.loads(found["manifest.json"])[0]["RepoTags"] is None
    assert "annotations" not in json.loads(found["index.json"])["manifests"][0]
    assert "repositories" not in found


async def test_a_blob_that_changed_on_the_disk_is_not_given_on(room: Room) -> None:
    room.registry.push("1", [BASE])
    await room.pull("app:1")
    blob = room.root / "images/content/blobs/sha256" / room.registry.layer_digest(BASE).hex
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(DataLoss, match="has changed on the disk"):
        await save(room, "app:1")


async def test_what_is_not_here_is_not_found_before_the_first_byte(room: Room) -> None:
    room.registry.push("1", [BASE])
    await room.pull("app:1")
    with pytest.raises(NotFound, match="No such image: "):
        await anext(room.store.save([f"{room.registry.host}/app:1", f"{room.registry.host}/app:9"], platforms=()))
    with pytest.raises(NotFound, match=r"does not provide the specified platform \(linux/s390x\)"):
        await save(room, "app:1", platforms=("linux/s390x",))
    with pytest.raises(InvalidArgument):
        await anext(room.store.save(["No Name"], platforms=()))


async def test_what_is_being_saved_is_not_thrown_away(room: Room) -> None:
    room.registry.push("1", [BASE])
    image = await room.pull("app:1")
    async with aclosing(room.store.save([image.id], platforms=())) as pieces:
        first = await anext(pieces)
        await room.store.remove(image.id, force=True, in_use=lambda _: [])
        rest = b"".join([piece async for piece in pieces])
    assert f"blobs/sha256/{image.id.hex}" in members(first + rest)
    await room.store.collect_garbage()
    assert room.is_empty()


async def test_history_tells_sizes_of_the_steps_that_made_layers(room: Room) -> None:
    history = [
        {"created": "2020-01-01T00:00:00Z", "created_by": "ADD base", "comment": "first"},
        {"created": "2020-01-02T00:00:00Z", "created_by": "CMD x", "empty_layer": True},
        {"created": None, "created_by": "ADD upper"},
        {"created_by": "one layer too many"},
    ]
    room.registry.push("1", [BASE, UPPER], history=history)
    image = await room.pull("app:1")
    told = [(step.created_by, step.size_bytes, step.comment) for step in room.store.history(image)]
    assert told == [("one layer too many", 0, ""), ("ADD upper", 6, ""), ("CMD x", 0, ""), ("ADD base", 5, "first")]
