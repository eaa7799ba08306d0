"""Pulls from a lying registry: content that isn't what was requested is refused, and none of it stays."""

import gzip
import json

import pytest

from sampan.digest import Digest
from sampan.errdefs import (
    DataLoss,
    InvalidArgument,
    SampanError,
    SystemFailure,
)
from tests.support.images import Entry, layer
from tests.unit.images.conftest import Room
from tests.unit.images.fake_registry import INDEX, LAYER, MANIFEST, descriptor, image_config
from tests.unit.images.pulling import BASE, OTHER, UPPER, files, push_index, refuses

pytestmark = pytest.mark.root


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
