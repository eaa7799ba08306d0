"""Volumes: their directories and rows, even after a crash between any two steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.daemon.volumes.volumes import ANONYMOUS_LABEL, Volumes
from sampan.errdefs import Conflict, InvalidArgument, NotFound
from sampan.state import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db")
    yield database
    database.close()


@pytest.fixture
def volumes(database: Database, tmp_path: Path) -> Volumes:
    (tmp_path / "volumes").mkdir()
    return Volumes(database, tmp_path / "volumes")


async def restarted(volumes: Volumes) -> Volumes:
    """The volumes as the next daemon finds them."""
    again = Volumes(volumes._database, volumes._dir)
    again.load()
    await again.reconcile()
    return again


def directories(volumes: Volumes) -> set[str]:
    return {entry.name for entry in volumes._dir.iterdir()}


async def test_a_volume_is_a_directory_and_a_row(volumes: Volumes) -> None:
    record, is_new = await volumes.create("cargo", labels={"a": "b"})
    assert (is_new, record.labels, record.anonymous) == (True, {"a": "b"}, False)
    (volumes.path("cargo") / "file").write_text("kept")
    assert await volumes.create("cargo", labels={"c": "d"}) == (record, False)
    again = await restarted(volumes)
    assert again.get("cargo") == record
    assert (again.path("cargo") / "file").read_text() == "kept"


async def test_an_anonymous_volume_has_a_name_of_its_own_and_dockers_label(volumes: Volumes) -> None:
    record, _ = await volumes.create()
    assert len(record.name) == 64
    assert (record.anonymous, ANONYMOUS_LABEL in record.labels) == (True, True)


@pytest.mark.parametrize("name", ["a/b", "../up", ".hidden", "x", "sp ace", "-dash", "ü-boot"])
async def test_bad_names_are_refused_and_make_nothing(volumes: Volumes, name: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^create {name}: "):
        await volumes.create(name)
    assert directories(volumes) == set()


async def test_what_local_volumes_cannot_do_is_said(volumes: Volumes) -> None:
    with pytest.raises(NotFound, match='plugin "nfs" not found'):
        await volumes.create("cargo", driver="nfs")
    with pytest.raises(InvalidArgument, match='missing required option: "device"'):
        await volumes.create("cargo", options={"type": "tmpfs"})


async def test_a_removed_volume_is_gone_for_good(volumes: Volumes) -> None:
    await volumes.create("cargo")
    (volumes.path("cargo") / "deep").mkdir()
    await volumes.remove("cargo")
    with pytest.raises(NotFound, match="get cargo: no such volume"):
        volumes.get("cargo")
    assert directories(volumes) == set()
    assert list(await restarted(volumes)) == []


async def test_a_volume_that_is_used_stays(volumes: Volumes) -> None:
    await volumes.create("cargo")
    with pytest.raises(Conflict, match=r"remove cargo: volume is in use - \[one, two\]"):
        await volumes.remove("cargo", lambda: ("one", "two"))
    assert (await restarted(volumes)).get("cargo")


@pytest.mark.parametrize("made", ["half", "half/_data"])
async def test_a_death_after_a_directory_was_made_leaves_nothing(volumes: Volumes, made: str) -> None:
    (volumes._dir / made).mkdir(parents=True)
    assert list(await restarted(volumes)) == []
    assert directories(volumes) == set()


async def test_content_that_has_no_row_is_left_alone(volumes: Volumes) -> None:
    (volumes._dir / "foreign" / "_data").mkdir(parents=True)
    (volumes._dir / "foreign" / "_data" / "dear").write_text("do not lose me")
    assert list(await restarted(volumes)) == []
    assert (volumes._dir / "foreign" / "_data" / "dear").exists()


@pytest.mark.parametrize("with_row", [True, False])
@pytest.mark.parametrize("with_content", [True, False])
async def test_a_death_in_the_middle_of_a_removal_is_a_removal(
    volumes: Volumes, database: Database, with_row: bool, with_content: bool
) -> None:
    await volumes.create("cargo")
    (volumes.path("cargo") / "file").write_text("x")
    (volumes._dir / "cargo").rename(volumes._dir / ".removing-cargo")
    if not with_content:
        (volumes._dir / ".removing-cargo/_data/file").unlink()
        (volumes._dir / ".removing-cargo/_data").rmdir()
    if not with_row:
        await database.write(lambda c: c.execute("DELETE FROM volumes"))
    again = await restarted(volumes)
    assert list(again) == []
    assert directories(volumes) == set()
    assert (await again.create("cargo"))[1]


async def test_a_row_that_cannot_be_read_costs_the_labels_only(volumes: Volumes, database: Database) -> None:
    await volumes.create("cargo", labels={"a": "b"})
    (volumes.path("cargo") / "file").write_text("x")
    await database.write(lambda c: c.execute("UPDATE volumes SET document = '{'"))
    [found] = await restarted(volumes)
    assert (found.name, found.labels) == ("cargo", {})
    assert (volumes.path("cargo") / "file").exists()
