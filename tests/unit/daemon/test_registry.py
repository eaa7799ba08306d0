"""Containers by id and name, and their database rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.daemon.container import Status
from sampan.daemon.registry import Containers
from sampan.errdefs import Conflict, InvalidArgument, NotFound
from sampan.state import Database
from tests.unit.daemon.making import record

ONE, TWO = "ab" * 32, "ac" * 32


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db")
    yield database
    database.close()


def make(database: Database) -> Containers:
    return Containers(database, Path("/data"), Path("/exec"))


@pytest.fixture
async def containers(database: Database) -> Containers:
    made = make(database)
    for id, name in ((ONE, "one"), (TWO, "two")):
        made.reserve(name, id)
        await made.add(made.make(record(id, name)), also=lambda _: None)
    return made


@pytest.mark.parametrize("name", [ONE, "one", "/one", ONE[:12], "ab"])
def test_a_container_is_found_by_name_and_by_the_beginning_of_its_id(containers: Containers, name: str) -> None:
    assert containers.get(name).id == ONE


def test_a_name_comes_before_the_beginning_of_an_id(database: Database, containers: Containers) -> None:
    containers.reserve("ac", ONE)
    assert containers.get("ac").id == ONE


def test_a_doubtful_beginning_is_refused(containers: Containers) -> None:
    with pytest.raises(InvalidArgument, match="multiple IDs found with provided prefix: a"):
        containers.get("a")


@pytest.mark.parametrize("name", ["three", "/", "ad"])
def test_what_is_not_there_is_not_found(containers: Containers, name: str) -> None:
    with pytest.raises(NotFound, match=f"No such container: {name}"):
        containers.get(name)


def test_no_name_at_all_is_refused(containers: Containers) -> None:
    with pytest.raises(InvalidArgument, match='invalid name or ID supplied: ""'):
        containers.get("")


def test_a_name_belongs_to_one(containers: Containers) -> None:
    containers.reserve("one", ONE)
    with pytest.raises(Conflict, match=f'"/one" is already in use by container "{ONE}"'):
        containers.reserve("one", TWO)


def test_a_container_that_is_being_made_is_not_found_by_its_name(containers: Containers) -> None:
    containers.reserve("three", "c" * 64)
    with pytest.raises(NotFound, match="No such container: three"):
        containers.get("three")
    assert containers.find("three") is None


async def test_rows_follow_the_records(database: Database, containers: Containers) -> None:
    one = containers.get("one")
    one.move(Status.RUNNING)
    await containers.save(one)
    await containers.delete(containers.get("two"), also=lambda _: None)
    again = make(database)
    again.load()
    assert [(found.id, found.state.status) for found in again] == [(ONE, Status.RUNNING)]
    assert not again.taken("two")
    assert (one.dir, one.bundle_dir) == (Path("/data") / ONE, Path("/exec") / ONE)


async def test_a_row_that_cannot_be_read_is_a_dead_container(database: Database, containers: Containers) -> None:
    await database.write(lambda c: c.execute("UPDATE containers SET document = '{' WHERE name = 'one'"))
    again = make(database)
    again.load()
    assert again.get("one").state.status is Status.DEAD
    assert again.get("two").state.status is Status.CREATED
