"""Loading valid and hostile archives."""

import asyncio
import bz2
import gzip
import hashlib
import json
import lzma
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from sampan.digest import Digest
from sampan.errdefs import DataLoss, InvalidArgument, NotFound, SampanError
from sampan.images import archive_reader
from sampan.images.layer import decompress
from sampan.images.layer.limits import Limits
from sampan.images.platform import host_platform
from sampan.images.store import Image
from tests.support.images import Entry, directory, hard_link, image_config, layer, symlink
from tests.unit.images.conftest import Items, Room
from tests.unit.images.fake_registry import CONFIG, INDEX, LAYER, MANIFEST, descriptor

pytestmark = pytest.mark.root

BASE = layer([directory("etc"), Entry("etc/base", b"base\n")])
UPPER = layer([directory("etc"), Entry("etc/upper", b"upper\n")])


async def chunks(content: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def load(room: Room, archive: bytes, items: Items | None = None, *, quiet: bool = False) -> list[Image]:
    return await room.store.load(chunks(archive), progress=items or Items(), quiet=quiet)


def docker_archive(*images: tuple[list[bytes], list[str]], beside: Sequence[Entry] = ()) -> bytes:
    """What dockerd 20.10 writes, preceded by the files `beside`; repeated layers are links."""
    members = list(beside)
    manifest = []
    seen: dict[bytes, str] = {}
    for number, (layers, tags) in enumerate(images):
        config = image_config(layers, {})
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        members.append(Entry(name, config))
        paths = []
        for index, content in enumerate(layers):
            path = f"{number}-{index}/layer.tar"
            paths.append(path)
            members.append(directory(f"{number}-{index}"))
            if content in seen:
                members.append(symlink(path, f"../{seen[content]}"))
            else:
                members += [Entry(path, content), Entry(f"{number}-{index}/VERSION", b"1.0")]
                seen[content] = path
        manifest.append({"Config": name, "RepoTags": tags or None, "Layers": paths})
    members.append(Entry("manifest.json", json.dumps(manifest).encode()))
    return layer(members)


def oci_archive(layers: list[bytes], annotations: dict[str, str] | None = None) -> bytes:
    config = image_config(layers, {})
    blobs = [gzip.compress(one, 1, mtime=0) for one in layers]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(config, CONFIG),
            "layers": [descriptor(blob, LAYER) for blob in blobs],
        }
    ).encode()
    index = {"schemaVersion": 2, "manifests": [descriptor(manifest, MANIFEST, annotations=annotations or {})]}
    members = [
        Entry("index.json", json.dumps(index).encode()),
        *(Entry(f"blobs/sha256/{Digest.of(blob).hex}", blob) for blob in (config, manifest, *blobs)),
        Entry("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
    ]
    return layer(members)


async def test_a_docker_archive_is_loaded_under_its_names(room: Room) -> None:
    items = Items()
    (image,) = await load(room, docker_archive(([BASE, UPPER], ["app:1", "app:2"])), items)
    assert image.references == ("app:1", "app:2")
    assert items.lines[-2:] == ["Loaded image: app:1\n", "Loaded image: app:2\n"]
    assert "Loading layer" in items.lines
    assert len(image.layers) == 2


async def test_a_quiet_load_tells_only_the_names(room: Room) -> None:
    items = Items()
    await load(room, docker_archive(([BASE], ["app:1"])), items, quiet=True)
    assert items.items == [{"stream": "Loaded image: app:1\n"}]


async def test_several_images_share_a_linked_layer(room: Room) -> None:
    images = await load(room, docker_archive(([BASE], ["one:1"]), ([BASE, UPPER], ["two:1"])))
    assert images[0].layers[0] == images[1].layers[0]
    assert {image.references for image in room.store.list()} == {("one:1",), ("two:1",)}


async def test_an_image_without_a_name_is_told_by_its_id(room: Room) -> None:
    items = Items()
    (image,) = await load(room, docker_archive(([BASE], [])), items)
    assert items.lines[-1] == f"Loaded image ID: {image.id}\n"
    assert image.is_dangling


async def test_a_name_moves_to_the_loaded_image(room: Room) -> None:
    (old,) = await load(room, docker_archive(([BASE], ["app:1"])))
    items = Items()
    await load(room, docker_archive(([UPPER], ["app:1"])), items)
    assert items.lines[-2] == (
        f"The image app:1 already exists, renaming the old one with ID {old.id} to empty string\n"
    )
    assert room.store.get(old.id).is_dangling


@pytest.mark.parametrize(
    ("annotations", "names"),
    [
        ({}, ()),
        ({"org.opencontainers.image.ref.name": "latest"}, ()),
        ({"org.opencontainers.image.ref.name": "app:7"}, ("app:7",)),
        ({"io.containerd.image.name": "docker.io/library/app:8"}, ("app:8",)),
    ],
)
async def test_an_oci_archive_is_loaded(room: Room, annotations: dict[str, str], names: tuple[str, ...]) -> None:
    (image,) = await load(room, oci_archive([BASE, UPPER], annotations))
    assert image.references == names
    assert len(image.documents) == 1


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
async def test_a_compressed_archive_is_decompressed_by_another_process(
    room: Room, compress: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(decompress, "_members", None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(os.listdir("/proc/self/fd"))
    assert await load(room, compress(docker_archive(([BASE], ["app:1"]))))
    with pytest.raises(DataLoss):
        await load(room, compress(docker_archive(([UPPER], ["app:2"])))[:-30])
    assert not list(tmp_path.glob("sampan-expand-*"))
    assert set(os.listdir("/proc/self/fd")) == before


async def test_a_compressed_archive_is_loaded(room: Room) -> None:
    assert await load(room, gzip.compress(docker_archive(([BASE], ["app:1"]))))


async def test_only_the_blobs_of_images_stay(room: Room) -> None:
    (image,) = await load(room, docker_archive(([BASE], ["app:1"])))
    assert room.blobs() == {image.id, Digest.of(BASE)}


async def test_a_layer_that_is_here_keeps_the_blob_it_came_with(room: Room) -> None:
    room.registry.push("1", [BASE])
    await room.pull("app:1")
    (image,) = await load(room, docker_archive(([BASE], ["app:2"])))
    assert Digest.of(BASE) not in room.blobs()
    assert room.registry.layer_digest(BASE) in room.blobs()
    assert image.layers == (Digest.of(BASE),)


GOOD = docker_archive(([BASE], ["app:1"]))


def archive_of(manifest: object, *members: Entry) -> bytes:
    return layer([*members, Entry("manifest.json", json.dumps(manifest).encode())])


@pytest.mark.parametrize(
    ("archive", "kind", "message"),
    [
        (b"", InvalidArgument, "does not contain a manifest.json"),
        (b"no tar at all" * 100, InvalidArgument, ""),
        (GOOD[: len(GOOD) // 3], DataLoss, "unexpected EOF"),
        (gzip.compress(GOOD)[:-100], DataLoss, ""),
        (layer([Entry("x", b"y")]), InvalidArgument, "invalid archive: does not contain a manifest.json"),
        (archive_of(None), InvalidArgument, "manifest cannot be null (but can be [])"),
        (archive_of({"a": 1}), InvalidArgument, "failed to decode manifest.json"),
        (archive_of([1]), InvalidArgument, "failed to decode manifest.json"),
        (archive_of([{"Config": 5}]), InvalidArgument, "failed to decode manifest.json"),
        (archive_of([{"Config": "nowhere.json"}]), NotFound, "there is no 'nowhere.json' in it"),
        (archive_of([{"Config": "/etc/passwd", "Layers": []}]), NotFound, "there is no '/etc/passwd' in it"),
        (archive_of([{"Config": "../../../../etc/passwd"}]), NotFound, "there is no"),
        (
            archive_of([{"Config": "c"}], symlink("c", "/etc/passwd")),
            NotFound,
            "there is no 'c' in it",
        ),
        (archive_of([{"Config": "c"}], symlink("c", "d"), symlink("d", "c")), NotFound, "there is no 'c' in it"),
        (archive_of([{"Config": "c"}], hard_link("c", "/etc/hostname")), NotFound, "there is no 'c' in it"),
        (archive_of([{"Config": "c"}], Entry("c", b"[]")), InvalidArgument, "not a JSON object"),
        (archive_of([{"Config": "c"}], Entry("c", b"{}")), InvalidArgument, "no RootFS key"),
        (
            archive_of([{"Config": "c", "Layers": []}], Entry("c", image_config([BASE], {}))),
            InvalidArgument,
            "layers length mismatch: expected 0, got 1",
        ),
        (
            archive_of([{"Config": "c", "Layers": ["l"]}], Entry("c", image_config([BASE], {})), Entry("l", UPPER)),
            DataLoss,
            "layers from manifest don't match image configuration",
        ),
        (
            archive_of(
                [{"Config": "c", "Layers": ["l"], "RepoTags": ["UP:1"]}],
                Entry("c", image_config([BASE], {})),
                Entry("l", BASE),
            ),
            InvalidArgument,
            "must be lowercase",
        ),
        (
            archive_of(
                [{"Config": "c", "Layers": ["l"], "RepoTags": ["notag"]}],
                Entry("c", image_config([BASE], {})),
                Entry("l", BASE),
            ),
            InvalidArgument,
            'invalid tag "notag"',
        ),
        (
            archive_of(
                [{"Config": "c", "Layers": ["l", "l"]}],
                Entry("c", image_config([BASE, b"x" * 512], {})),
                Entry("l", BASE),
            ),
            SampanError,
            "",
        ),
    ],
)
async def test_a_bad_archive_is_refused_and_leaves_nothing(
    room: Room, archive: bytes, kind: type[SampanError], message: str
) -> None:
    with pytest.raises(kind) as refused:
        await load(room, archive)
    assert message in str(refused.value)
    assert room.is_empty()


async def test_a_bomb_of_an_archive_is_refused_before_it_fills_the_disk(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_reader, "Limits", partial(Limits, ratio_from_bytes=1 << 20))
    bomb = gzip.compress(archive_of([], Entry("zeros", bytes(64 << 20))))
    with pytest.raises(InvalidArgument, match="more than 200 times as large"):
        await load(room, bomb)
    assert room.is_empty()


async def test_an_oci_archive_whose_blob_is_another_is_refused(room: Room) -> None:
    good = oci_archive([BASE])
    blob = gzip.compress(BASE, 1, mtime=0)
    with pytest.raises(DataLoss, match="verification failed for digest"):
        await load(room, good.replace(blob, blob[:-1] + bytes([blob[-1] ^ 1])))
    assert room.is_empty()


async def test_an_index_that_nests_without_end_is_refused(room: Room) -> None:
    members: list[Entry] = []
    inner = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    for _ in range(6):
        members.append(Entry(f"blobs/sha256/{Digest.of(inner).hex}", inner))
        entry = descriptor(inner, INDEX, platform={"os": "linux", "architecture": os.uname().machine})
        inner = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    with pytest.raises(InvalidArgument, match="nested"):
        await load(room, layer([*members, Entry("index.json", inner)]))
    assert room.is_empty()


async def test_a_failure_in_the_second_image_leaves_nothing_of_the_first(room: Room) -> None:
    config = image_config([BASE], {})
    manifest = [
        {"Config": "c", "Layers": ["l"], "RepoTags": ["app:1"]},
        {"Config": "c", "Layers": ["missing"], "RepoTags": ["app:2"]},
    ]
    with pytest.raises(NotFound):
        await load(room, archive_of(manifest, Entry("c", config), Entry("l", BASE)))
    assert room.is_empty()


async def test_a_load_that_is_cancelled_while_the_client_says_nothing_leaves_nothing(room: Room) -> None:
    stalled = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield GOOD[:5000]
        stalled.set()
        await asyncio.Event().wait()

    loading = asyncio.ensure_future(room.store.load(body(), progress=Items(), quiet=False))
    await stalled.wait()
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert room.is_empty()


async def test_a_body_that_breaks_off_is_told_of(room: Room) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield GOOD[:5000]
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await room.store.load(body(), progress=Items(), quiet=False)
    assert room.is_empty()


async def test_no_path_of_an_archive_is_a_path_of_the_host(room: Room, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    await load(room, docker_archive(([BASE], ["app:1"])))
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(SampanError):
        await load(
            room,
            layer(
                [Entry(f"../../../..{outside}", b"x"), symlink("link", str(tmp_path)), Entry("link/outside", b"x")]
            ),
        )
    assert sorted(path for path in tmp_path.rglob("*")) == before


async def test_only_images_for_a_platform_asked_for_are_loaded(room: Room) -> None:
    archive = docker_archive(([BASE], ["base:1"]))
    with pytest.raises(NotFound, match=r"requested platform \(linux/s390x\) not found in the archive"):
        await room.store.load(chunks(archive), progress=Items(), quiet=True, platforms=["linux/s390x"])
    assert room.is_empty()
    (image,) = await room.store.load(chunks(archive), progress=Items(), quiet=True, platforms=[str(host_platform())])
    assert room.store.get("base:1", platform=str(host_platform())) == image
    with pytest.raises(NotFound, match=r"image with reference base:1 was found but does not provide the specified"):
        room.store.get("base:1", platform="linux/s390x")
