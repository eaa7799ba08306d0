"""Names, removal, garbage, and what a killed daemon leaves behind."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sampan.digest import Digest
from sampan.errdefs import Conflict, DataLoss, InvalidArgument, NotFound
from sampan.images.commit import Committed
from sampan.images.image import Image
from sampan.images.layers import DEPTH_MAX
from sampan.images.reference import Reference
from sampan.images.store import ImageUser, Removed
from tests.support.images import Entry, directory, layer, symlink
from tests.unit.images.conftest import Room

pytestmark = pytest.mark.root

BASE = layer([directory("etc"), Entry("etc/base", b"base\n")])
UPPER = layer([Entry("upper", b"upper\n")])


def nobody(image: Image) -> list[ImageUser]:
    return []


async def body(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def import_(room: Room, content: bytes, name: str = "", changes: tuple[str, ...] = ()) -> Image:
    return await room.store.import_(
        body(content),
        reference=Reference.parse(name) if name else None,
        changes=changes,
        message="made",
        platform="linux/arm64",
    )


async def test_an_import_makes_an_image_of_one_layer(room: Room) -> None:
    image = await import_(room, BASE, "app:1", ('CMD ["a"]', "ENV A=b"))
    assert image.references == ("app:1",)
    assert image.layers == (Digest.of(BASE),)
    assert image.config["config"] == {"Cmd": ["a"], "Env": ["A=b"]}
    assert (image.config["architecture"], image.config["comment"]) == ("arm64", "made")
    assert image.config["history"][0]["comment"] == "made"
    assert room.blobs() == {image.id, Digest.of(BASE)}


async def test_the_same_tar_twice_is_one_layer(room: Room) -> None:
    first, second = await import_(room, BASE), await import_(room, BASE)
    assert first.layers == second.layers
    assert room.snapshots() == {first.snapshot}


async def test_a_broken_tar_is_not_imported(room: Room) -> None:
    with pytest.raises((DataLoss, InvalidArgument)):
        await import_(room, BASE[:700], "app:1")
    assert room.is_empty()


async def test_a_bad_change_is_refused_before_the_body_is_read(room: Room) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    with pytest.raises(InvalidArgument, match="run is not a valid change command"):
        await room.store.import_(unread(), reference=None, changes=["RUN x"], message="", platform=None)


async def test_an_image_is_found_by_name_and_by_the_beginning_of_its_id(room: Room) -> None:
    image = await import_(room, BASE, "app")
    for name in (
        "app",
        "app:latest",
        "docker.io/library/app",
        image.id,
        image.id.hex,
        image.id.hex[:5],
        image.id[:20],
    ):
        assert room.store.get(name) == image


async def test_what_is_not_there_is_not_found_in_dockers_words(room: Room) -> None:
    for name, shown in (("app", "app:latest"), ("x/y:1", "x/y:1"), ("ab" * 32, f"sha256:{'ab' * 32}")):
        with pytest.raises(NotFound) as missing:
            room.store.get(name)
        assert str(missing.value) == f"No such image: {shown}"
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        room.store.get("a b")


async def test_the_beginning_of_two_ids_is_ambiguous(room: Room) -> None:
    by_first: dict[str, Image] = {}
    for number in range(17):
        image = await import_(room, layer([Entry(f"f{number}")]))
        if image.id.hex[0] in by_first:
            break
        by_first[image.id.hex[0]] = image
    with pytest.raises(NotFound, match="ambiguous reference"):
        room.store.get(image.id.hex[0])


async def test_a_tag_moves_from_image_to_image(room: Room) -> None:
    first, second = await import_(room, BASE, "a:1"), await import_(room, UPPER)
    await room.store.tag(second, Reference.parse("a:1"))
    assert room.store.get("a:1").id == second.id
    assert room.store.get(first.id).is_dangling
    assert room.store.get(second.id).tagged_at
    with pytest.raises(InvalidArgument, match="refusing to create a tag with a digest reference"):
        await room.store.tag(first, Reference.parse("a").with_digest(first.id))


async def test_the_last_name_takes_the_image_along(room: Room) -> None:
    image = await import_(room, BASE, "a:1")
    await room.store.tag(image, Reference.parse("b:1"))
    assert await room.store.remove("a:1", force=False, in_use=nobody) == [Removed(untagged="a:1")]
    assert await room.store.remove("b:1", force=False, in_use=nobody) == [
        Removed(untagged="b:1"),
        Removed(deleted=image.id),
        Removed(deleted=image.layers[0]),
    ]
    assert room.is_empty()


async def test_the_last_tag_of_a_repository_takes_its_digests_along(room: Room) -> None:
    manifest = room.registry.push("1", [BASE])
    image = await room.pull("app:1")
    await room.store.tag(image, Reference.parse("other:1"))
    removed = await room.store.remove(f"{room.registry.host}/app:1", force=False, in_use=nobody)
    assert removed == [
        Removed(untagged=f"{room.registry.host}/app:1"),
        Removed(untagged=f"{room.registry.host}/app@{Digest.of(manifest)}"),
    ]


async def test_an_id_of_several_repositories_must_be_forced(room: Room) -> None:
    image = await import_(room, BASE, "a:1")
    await room.store.tag(image, Reference.parse("b:1"))
    with pytest.raises(Conflict) as conflict:
        await room.store.remove(image.id, force=False, in_use=nobody)
    assert str(conflict.value) == (
        f"conflict: unable to delete {image.id.hex[:12]} (must be forced) - "
        "image is referenced in multiple repositories"
    )
    removed = await room.store.remove(image.id.hex[:12], force=True, in_use=nobody)
    assert removed[:3] == [Removed(untagged="a:1"), Removed(untagged="b:1"), Removed(deleted=image.id)]


@pytest.mark.parametrize(
    ("by_id", "running", "force", "message"),
    [
        (False, False, False, 'unable to remove repository reference "a:1" (must force) - container c0ffeec0ffee is'),
        (False, True, False, 'unable to remove repository reference "a:1" (must force) - container c0ffeec0ffee is'),
        (True, False, False, "(must be forced) - image is being used by stopped container c0ffeec0ffee"),
        (True, True, False, "(cannot be forced) - image is being used by running container c0ffeec0ffee"),
        (True, True, True, "(cannot be forced) - image is being used by running container c0ffeec0ffee"),
    ],
)
async def test_an_image_in_use_is_a_conflict(
    room: Room, by_id: bool, running: bool, force: bool, message: str
) -> None:
    image = await import_(room, BASE, "a:1")
    with pytest.raises(Conflict) as conflict:
        await room.store.remove(
            image.id if by_id else "a:1", force=force, in_use=lambda _: [ImageUser("c0ffee" * 10, running)]
        )
    assert message in str(conflict.value)
    assert room.store.get("a:1") == image


async def test_a_forced_untag_of_an_image_that_runs_leaves_the_image(room: Room) -> None:
    image = await import_(room, BASE, "a:1")
    removed = await room.store.remove("a:1", force=True, in_use=lambda _: [ImageUser("c", True)])
    assert removed == [Removed(untagged="a:1")]
    assert room.store.get(image.id).is_dangling


async def test_a_layer_under_a_container_stays_until_the_container_is_gone(room: Room) -> None:
    image = await import_(room, BASE, "a:1")
    room.storage.prepare("container", await room.store.init_snapshot(image))
    removed = await room.store.remove("a:1", force=True, in_use=lambda _: [ImageUser("c", False)])
    assert removed == [Removed(untagged="a:1"), Removed(deleted=image.id)]
    assert image.snapshot in room.snapshots()
    room.storage.remove("container")
    assert await room.store.collect_garbage() == [image.snapshot]
    assert room.is_empty()


async def test_no_image_has_more_layers_than_can_be_mounted(room: Room) -> None:
    layers = [layer([Entry(f"{number}", b"")]) for number in range(DEPTH_MAX + 1)]
    room.registry.push("high", layers)
    with pytest.raises(InvalidArgument, match=r"^max depth exceeded$"):
        await room.pull("app:high")
    assert room.is_empty()
    room.registry.push("highest", layers[:-1])
    image = await room.pull("app:highest")
    with pytest.raises(InvalidArgument, match=r"^max depth exceeded$"):
        await room.store.commit(image, body(UPPER), Committed({}), None)
    assert len(room.snapshots()) == DEPTH_MAX


async def test_shared_layers_are_counted_and_kept(room: Room) -> None:
    room.registry.push("1", [BASE])
    room.registry.push("2", [BASE, UPPER])
    one, two = await room.pull("app:1"), await room.pull("app:2")
    assert room.store.shared_bytes(one) == room.store.shared_bytes(two) == len(b"base\n")
    await room.store.remove(two.id, force=True, in_use=nobody)
    assert room.snapshots() == set(one.layers)
    assert room.registry.layer_digest(BASE) in room.blobs()
    assert room.registry.layer_digest(UPPER) not in room.blobs()


async def test_the_init_snapshot_has_the_mount_points(room: Room) -> None:
    hostile = layer(
        [
            symlink("dev", "/nowhere"),
            symlink("proc", "etc"),
            directory("etc"),
            symlink("etc/hosts", "/nowhere"),
            Entry("etc/hostname", b"image's"),
            Entry("sys", b"a file"),
        ]
    )
    image = await import_(room, hostile)
    name = await room.store.init_snapshot(image)
    assert name == await room.store.init_snapshot(image)
    root = Path(room.storage.prepare("look", name)[0].source)
    for path in ("dev/pts", "dev/shm", "proc", "sys"):
        assert (root / path).is_dir()
        assert not (root / path).is_symlink()
    assert not (root / "dev").is_symlink()
    for path in (".dockerenv", "etc/resolv.conf", "etc/hosts", "etc/hostname", "dev/console"):
        assert (root / path).read_bytes() == b""
        assert not (root / path).is_symlink()
    assert (root / "etc/mtab").readlink() == Path("/proc/mounts")


async def test_everything_is_there_after_a_restart(room: Room) -> None:
    room.registry.push("1", [BASE, UPPER])
    image = await room.pull("app:1")
    again = room.restarted()
    await again.open()
    assert again.list() == [image]
    assert again.get(f"{room.registry.host}/app:1") == image
    await again.remove(image.id, force=True, in_use=nobody)
    assert room.blobs() == room.snapshots() == set()


async def test_what_a_killed_daemon_left_is_thrown_away(room: Room) -> None:
    image = await import_(room, BASE, "a:1")
    lonely = Digest.of(b"lonely")
    room.storage.prepare("layer-half", None)
    room.storage.prepare("layer-whole", image.snapshot)
    room.storage.commit(lonely, "layer-whole")
    room.storage.prepare("layer-init", lonely)
    room.storage.commit(f"init-{lonely}", "layer-init")
    room.storage.prepare("container", image.snapshot)
    content = room.root / "images/content"
    (content / "ingest/half").write_bytes(b"half")
    (content / f"blobs/sha256/{lonely.hex}").write_bytes(b"lonely")
    again = room.restarted()
    await again.open()
    assert room.snapshots() == {image.snapshot, "container"}
    assert room.blobs() == {image.id, Digest.of(BASE)}
    assert not list((content / "ingest").iterdir())


async def test_an_image_that_lost_a_layer_is_left_out_and_can_be_pulled_again(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.registry.push("1", [BASE, UPPER])
    image = await room.pull("app:1")
    assert image.snapshot
    room.storage.remove(image.snapshot)
    again = room.restarted()
    await again.open()
    assert again.list() == []
    assert f"image {image.id} is left out: its layer {image.snapshot} is lost" in caplog.text
    room.store = again
    assert (await room.pull("app:1")).id == image.id
    await again.close()


async def test_a_row_that_makes_no_sense_is_left_out(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    image = await import_(room, BASE, "a:1")
    await room.database.write(
        lambda connection: connection.execute("INSERT INTO images VALUES ('sha256:x', 'no json')") and None
    )
    again = room.restarted()
    await again.open()
    assert again.list() == [image]
    assert "an invalid row of the database" in caplog.text


async def test_a_stored_image_whose_config_is_broken_is_listed_and_can_be_removed(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    image = await import_(room, BASE, "a:1")
    await room.database.write(
        lambda connection: (
            connection.execute(
                """UPDATE images SET document = json_set(document, '$.config.config', json('{"Labels": "x"}'))"""
            )
            and None
        )
    )
    again = room.restarted()
    await again.open()
    assert again.list() == [replace(image, config={})]
    assert f"image {image.id} is shown without its configuration: invalid config.Labels" in caplog.text
    await again.remove("a:1", force=False, in_use=nobody)
    assert not room.snapshots()


async def test_a_blob_cut_short_by_a_power_failure_is_dropped(room: Room) -> None:
    image = await import_(room, BASE, "a:1")
    blob = room.root / f"images/content/blobs/sha256/{Digest.of(BASE).hex}"
    blob.write_bytes(b"")
    again = room.restarted()
    await again.open()
    assert not blob.exists()
    assert again.get("a:1") == image
