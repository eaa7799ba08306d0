"""Each kind of damage, done by hand: check finds it and repair fixes it, even amid other activity."""

import asyncio
import gzip
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from sampan.digest import Digest, chain_ids
from sampan.drivers import Snapshot
from sampan.errdefs import Conflict
from sampan.images.check import Fault, Problem
from sampan.images.init_snapshot import init_name
from sampan.images.layer_maker import KEY_PREFIX, Layer
from sampan.images.mend import Mended
from sampan.images.store import Image
from tests.support.images import Entry, directory, layer
from tests.unit.images.conftest import Items, Room
from tests.unit.images.pulling import files

pytestmark = pytest.mark.root

BASE = layer([directory("etc"), Entry("etc/base", b"base\n")])
UPPER = layer([directory("etc"), Entry("etc/upper", b"upper\n")])
CHAIN = chain_ids([Digest.of(BASE), Digest.of(UPPER)])


def nobody(snapshot: Snapshot) -> bool:
    return False


async def found(room: Room, owned: Callable[[Snapshot], bool] = nobody) -> list[tuple[Fault, str]]:
    problems = await room.store.check(owned)
    assert await room.store.check(owned) == problems  # a check changes nothing
    return [(problem.fault, problem.name) for problem in problems]


async def repaired(room: Room, owned: Callable[[Snapshot], bool] = nobody) -> list[Mended]:
    return await room.store.repair(owned)


async def pulled(room: Room) -> Image:
    room.registry.push("1", [BASE, UPPER])
    return await room.pull("app:1")


def blob_of(room: Room, digest: str) -> Path:
    return room.root / "images/content/blobs/sha256" / digest.removeprefix("sha256:")


def layer_blobs(room: Room) -> list[Path]:
    return [path for path in (room.root / "images/content/blobs/sha256").iterdir() if _is_gzip(path)]


def _is_gzip(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x1f\x8b")


def lose_files(room: Room, name: str) -> None:
    """Delete the directory of a committed snapshot, which views show."""
    mounts = room.storage._get(name).dir  # drivers don't expose where a committed snapshot lies
    shutil.rmtree(mounts)


async def test_a_store_in_order_has_no_problems(room: Room) -> None:
    image = await pulled(room)
    await room.store.init_snapshot(image)
    assert await found(room) == []
    assert await repaired(room) == []
    assert set(files(room, image)) == {"etc/base", "etc/upper"}


async def test_an_empty_store_has_no_problems(room: Room) -> None:
    assert await found(room) == []


async def test_a_blob_that_has_changed_is_thrown_away_and_a_pull_brings_it_back(room: Room) -> None:
    image = await pulled(room)
    broken = layer_blobs(room)[0]
    content = broken.read_bytes()
    broken.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert await found(room) == [(Fault.CORRUPT_BLOB, f"sha256:{broken.name}")]
    mended = await repaired(room)
    assert [one.is_mended for one in mended] == [False]
    assert mended[0].action == f"removed; pull or load {image.references[0]} again to get it back"
    assert await found(room) == [(Fault.MISSING_BLOB, f"sha256:{broken.name}")]
    items = Items()
    assert (await room.pull("app:1", items)).id == image.id
    assert broken.read_bytes() == content
    assert await found(room) == []


async def test_a_missing_blob_is_brought_back_by_a_pull_and_nothing_else_is_fetched(room: Room) -> None:
    image = await pulled(room)
    lost, kept = layer_blobs(room)
    lost.unlink()
    assert await found(room) == [(Fault.MISSING_BLOB, f"sha256:{lost.name}")]
    assert not (await repaired(room))[0].is_mended
    before = room.snapshots()
    items = Items()
    await room.pull("app:1", items)
    assert items.of(lost.name[:12])[-1] == "Pull complete"
    assert items.of(kept.name[:12]) == ["Already exists"]
    assert room.snapshots() == before
    assert await found(room) == []
    assert set(files(room, image)) == {"etc/base", "etc/upper"}


async def test_the_missing_blob_of_a_config_or_manifest_is_brought_back_by_a_pull(room: Room) -> None:
    image = await pulled(room)
    for digest in (image.id, image.documents[0]):
        blob_of(room, digest).unlink()
    assert sorted(await found(room)) == sorted(
        (Fault.MISSING_BLOB, digest) for digest in (image.id, image.documents[0])
    )
    await repaired(room)
    await room.pull("app:1")
    assert await found(room) == []


async def test_a_mended_blob_stays_mended_over_a_restart(room: Room) -> None:
    image = await pulled(room)
    layer_blobs(room)[0].unlink()
    await repaired(room)
    await room.pull("app:1")
    room.store = room.restarted()
    await room.store.open()
    assert await found(room) == []
    assert room.store.get(image.references[0]).layers == image.layers


async def test_a_blob_that_lies_about_its_layer_is_not_taken_for_it(room: Room) -> None:
    """The registry serves the requested digest, but the blob contains a different tar."""
    await pulled(room)
    [(chain_id, blob)] = room.database.read(
        lambda connection: connection.execute(
            "SELECT chain_id, json_extract(document, '$.blob') FROM layers WHERE parent IS NULL"
        ).fetchall()
    )
    other = gzip.compress(b"not the tar", mtime=0)
    room.registry.blobs[Digest.of(other)] = other
    assert chain_id == CHAIN[0]
    await room.database.write(
        lambda connection: connection.execute(
            "UPDATE layers SET document = json_set(document, '$.blob', ?, '$.blob_bytes', ?) WHERE chain_id = ?",
            (Digest.of(other), len(other), chain_id),
        )
    )
    blob_of(room, Digest.of(other)).write_bytes(other)
    blob_of(room, blob).unlink()
    room.store = room.restarted()
    await room.store.open()
    assert await found(room) == [(Fault.WRONG_LAYER, Digest.of(other))]
    mended = await repaired(room)
    assert [one.is_mended for one in mended] == [True]
    assert "pull or load it again" in mended[0].action
    assert room.store.list() == []
    assert await found(room) == []
    await room.pull("app:1")
    assert await found(room) == []


async def test_a_stray_blob_and_an_unfinished_ingest_are_removed(room: Room) -> None:
    image = await pulled(room)
    stray = blob_of(room, "0" * 64)
    unfinished = room.root / "images/content/ingest/left"
    for path in (stray, unfinished):
        path.write_bytes(b"left")
    assert await found(room) == [(Fault.STRAY_FILE, str(path)) for path in sorted((stray, unfinished))]
    assert all(one.is_mended for one in await repaired(room))
    assert not stray.exists() and not unfinished.exists()
    assert await found(room) == []
    assert room.store.list() == [image]


async def test_stray_snapshots_are_removed_and_owned_ones_stay(room: Room) -> None:
    image = await pulled(room)
    room.storage.prepare(KEY_PREFIX + "left", None)
    room.storage.prepare("container", image.snapshot, labels={"box": "1"})
    room.storage.prepare("orphan", image.snapshot)
    room.storage.prepare("making", None)
    room.storage.commit(Digest.of(b"nobody's"), "making")

    def owned(snapshot: Snapshot) -> bool:
        return "box" in snapshot.labels

    strays = {KEY_PREFIX + "left", "orphan", Digest.of(b"nobody's")}
    assert {name for fault, name in await found(room, owned) if fault is Fault.STRAY_SNAPSHOT} == strays
    assert all(one.is_mended for one in await repaired(room, owned))
    assert room.snapshots() == {*image.layers, "container"}
    assert await found(room, owned) == []


async def test_a_stray_below_a_stray_is_removed_too(room: Room) -> None:
    room.storage.prepare("making", None)
    room.storage.commit(Digest.of(b"lower"), "making")
    room.storage.prepare("upper", Digest.of(b"lower"))
    assert all(one.is_mended for one in await repaired(room))
    assert room.snapshots() == set()


@pytest.mark.parametrize("lost", [0, 1])
async def test_lost_files_of_a_layer_are_made_again_of_its_blob(room: Room, lost: int) -> None:
    image = await pulled(room)
    await room.store.init_snapshot(image)
    lose_files(room, image.layers[lost])
    assert (await found(room))[0] == (Fault.LOST_SNAPSHOT, image.layers[lost])
    mended = await repaired(room)
    assert mended[0].is_mended
    assert mended[0].action == f"made the files of {image.references[0]} again"
    assert await found(room) == []
    again = room.store.get(image.references[0])
    assert (again.id, again.layers, again.references, again.repo_digests) == (
        image.id,
        image.layers,
        image.references,
        image.repo_digests,
    )
    assert set(files(room, again)) == {"etc/base", "etc/upper"}


async def test_a_lost_snapshot_is_made_again(room: Room) -> None:
    image = await pulled(room)
    room.storage.remove(image.layers[1])
    assert await found(room) == [(Fault.LOST_SNAPSHOT, image.layers[1])]
    assert [one.is_mended for one in await repaired(room)] == [True]
    assert await found(room) == []
    assert set(files(room, image)) == {"etc/base", "etc/upper"}


async def test_an_image_whose_files_and_blob_are_lost_is_removed_and_pulled_again(room: Room) -> None:
    image = await pulled(room)
    room.storage.remove(image.layers[1])
    for path in layer_blobs(room):
        path.unlink()
    faults = [fault for fault, _ in await found(room)]
    assert faults == [Fault.MISSING_BLOB, Fault.MISSING_BLOB, Fault.LOST_SNAPSHOT]
    mended = await repaired(room)
    assert mended[-1].action.startswith(f"removed {image.references[0]}, pull or load it again: its blob sha256:")
    assert room.store.list() == []
    assert await found(room) == []
    assert room.is_empty()
    await room.pull("app:1")
    assert await found(room) == []


async def test_nothing_is_taken_from_under_a_container(room: Room) -> None:
    image = await pulled(room)
    init = await room.store.init_snapshot(image)
    room.storage.prepare("c" * 64, init, labels={"box": "1"})
    lose_files(room, image.layers[0])

    def owned(snapshot: Snapshot) -> bool:
        return bool(snapshot.labels)

    before = room.snapshots()
    mended = await repaired(room, owned)
    assert not mended[0].is_mended
    assert mended[0].action == f"containers stand on it: remove {'c' * 12}, and repair again"
    assert room.snapshots() == before
    room.storage.remove("c" * 64)
    assert all(one.is_mended for one in await repaired(room, owned))
    assert await found(room, owned) == []
    assert init_name(image.snapshot) not in room.snapshots()


async def test_a_layer_that_somebody_begins_to_use_meanwhile_stays_and_so_does_its_image(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = await pulled(room)
    lose_files(room, image.layers[0])
    remove = room.storage.remove

    def refuse(name: str) -> None:
        if name == image.layers[1]:
            raise Conflict("snapshot has children")
        remove(name)

    monkeypatch.setattr(room.storage, "remove", refuse)
    [mended] = await repaired(room)
    assert (mended.is_mended, mended.action) == (False, "something stands on it by now: repair again")
    assert [one.references for one in room.store.list()] == [image.references]
    monkeypatch.undo()
    assert [one.is_mended for one in await repaired(room)] == [True]
    assert set(files(room, room.store.get(image.references[0]))) == {"etc/base", "etc/upper"}


async def differing(room: Room) -> list[tuple[Fault, str, str]]:
    before = room.snapshots()
    problems = await room.store.check(nobody, files=True)
    assert room.snapshots() == before
    assert await found(room) == []  # only a check of the files finds it
    return [(problem.fault, problem.name, problem.detail) for problem in problems]


def tamper(root: Path, how: str) -> None:
    file = root / "etc/upper"
    match how:
        case "content":
            status = file.stat()
            file.write_bytes(b"UPPER\n")
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        case "mode":
            file.chmod(0o4755)
        case "owner":
            os.chown(file, 1, 1)
        case "attribute":
            os.setxattr(file, "user.x", b"y")
        case "kind":
            file.unlink()
            file.symlink_to("/bin/sh")
        case "odd":
            Path(os.fsdecode(bytes(root) + b"/etc/\xff")).touch()
        case "added":
            (root / "etc/new").touch()
        case "removed":
            file.unlink()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("content", "/etc/upper was changed"),
        ("mode", "/etc/upper was changed"),
        ("owner", "/etc/upper was changed"),
        ("attribute", "/etc/upper was changed"),
        ("kind", "/etc/upper was changed"),
        ("added", "/etc/new was added"),
        ("removed", "/etc/upper was removed"),
        ("odd", "/etc/\\ufffd was added"),
    ],
)
async def test_a_file_that_is_not_its_blobs_is_found_and_mended(room: Room, how: str, told: str) -> None:
    image = await pulled(room)
    assert await differing(room) == []
    tamper(room.storage._get(image.layers[1]).dir, how)
    [(fault, name, detail)] = await differing(room)
    assert (fault, name) == (Fault.CHANGED_SNAPSHOT, image.layers[1])
    assert detail.startswith(told)
    [mended] = await room.store.repair(nobody, files=True)
    assert (mended.is_mended, mended.action) == (True, f"made the files of {image.references[0]} again")
    assert await differing(room) == []
    assert set(files(room, room.store.get(image.references[0]))) == {"etc/base", "etc/upper"}


async def test_files_on_what_is_lost_are_not_compared(room: Room) -> None:
    image = await pulled(room)
    lose_files(room, image.layers[0])
    broken = blob_of(room, room.store._layers.get(Digest(image.layers[1])).blob)
    broken.write_bytes(b"other")
    problems = await room.store.check(nobody, files=True)
    assert [problem.fault for problem in problems] == [Fault.CORRUPT_BLOB, Fault.LOST_SNAPSHOT]


async def test_an_image_removed_while_its_files_are_compared_leaves_nothing(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = await pulled(room)
    made_again = room.store._layers.made_again

    def removed_meanwhile(layer: Layer) -> AbstractAsyncContextManager[tuple[Path, Path]]:
        if room.store.list():
            asyncio.get_running_loop().create_task(room.store.remove(image.id, force=True, in_use=lambda _: []))
        return made_again(layer)

    monkeypatch.setattr(room.store._layers, "made_again", removed_meanwhile)
    assert await room.store.check(nobody, files=True) == []
    assert room.is_empty()


async def test_rows_that_make_no_sense_are_removed(room: Room) -> None:
    image = await pulled(room)
    await room.database.write(
        lambda connection: [
            connection.execute("INSERT INTO images VALUES ('sha256:xx', '{}')"),
            connection.execute("INSERT INTO layers VALUES ('sha256:yy', 'no', NULL, 0, '{}')"),
            connection.execute("INSERT INTO image_references VALUES ('UPPER CASE', ?)", (image.id,)),
        ]
    )
    names = {"images sha256:xx", "layers sha256:yy", "image_references UPPER CASE"}
    assert set(await found(room)) == {(Fault.BAD_ROW, name) for name in names}
    assert all(one.is_mended for one in await repaired(room))
    assert await found(room) == []
    assert room.store.get(image.references[0]) == image


async def test_a_pull_goes_on_beside_checks_and_repairs(room: Room) -> None:
    """Repairs while layers, ingests and snapshots come and go never take a running pull's data for strays."""
    layers = [layer([Entry(f"file{number}", os.urandom(200_000))]) for number in range(6)]
    room.registry.push("1", layers)
    pull = asyncio.create_task(room.pull("app:1"))
    seen: list[Mended] = []
    while not pull.done():
        seen += await repaired(room)
    image = await pull
    assert seen == []
    assert await found(room) == []
    assert len(image.layers) == 6


async def test_a_problem_names_what_is_wrong(room: Room) -> None:
    await pulled(room)
    broken = layer_blobs(room)[0]
    broken.write_bytes(b"other")
    [problem] = await room.store.check(nobody)
    assert problem == Problem(
        Fault.CORRUPT_BLOB, f"sha256:{broken.name}", f"its content has the digest {Digest.of(b'other')}"
    )
