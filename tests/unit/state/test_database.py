"""The database: transactions, migrations, and what happens when the disk or the file is bad."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from sampan.errdefs import Conflict, SystemFailure
from sampan.state import Database
from sampan.state.schema import MIGRATIONS

INSERT = "INSERT INTO volumes VALUES (?, ?)"


def names(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM volumes ORDER BY name")]


async def test_what_is_written_is_there_after_opening_again(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    await database.write(lambda c: c.execute(INSERT, ("a", "{}")))
    await database.write(lambda c: c.execute(INSERT, ("b", "{}")), durable=False)
    database.close()
    again = Database(tmp_path / "db")
    assert again.read(names) == ["a", "b"]
    again.close()


def test_a_path_may_hold_what_means_something_in_a_uri(tmp_path: Path) -> None:
    (tmp_path / "100%?#").mkdir()
    database = Database(tmp_path / "100%?#" / "db")
    assert database.read(names) == []
    database.close()


async def test_only_its_owner_reads_its_files(tmp_path: Path) -> None:
    (tmp_path / "db").touch(mode=0o644)
    database = Database(tmp_path / "db")
    await database.write(lambda c: c.execute(INSERT, ("a", "{}")))
    for name in ("db", "db-wal", "db-shm"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    database.close()


def test_a_database_that_can_not_be_made_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(SystemFailure, match="can't be opened"):
        Database(tmp_path / "nowhere" / "db")


async def test_a_change_that_raises_leaves_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")

    def change(connection: sqlite3.Connection) -> None:
        connection.execute(INSERT, ("a", "{}"))
        raise KeyError("half way")

    with pytest.raises(KeyError):
        await database.write(change)
    assert database.read(names) == []
    await database.write(lambda c: c.execute(INSERT, ("b", "{}")))
    assert database.read(names) == ["b"]
    database.close()


async def test_a_broken_constraint_is_a_conflict(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    await database.write(lambda c: c.execute(INSERT, ("a", "{}")))
    with pytest.raises(Conflict):
        await database.write(lambda c: c.execute(INSERT, ("a", "{}")))
    database.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(b"this is not SQLite" * 100)
    with pytest.raises(SystemFailure, match=str(path)):
        Database(path)


def test_a_database_of_a_newer_sampan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(SystemFailure, match="supports schemas up to"):
        Database(path)


def test_a_database_of_an_older_sampan_is_brought_to_the_newest_schema(tmp_path: Path) -> None:
    path = tmp_path / "db"
    connection = sqlite3.connect(path)
    connection.executescript(f"{MIGRATIONS[0]}; INSERT INTO volumes VALUES ('a', '{{}}'); PRAGMA user_version = 1;")
    connection.close()
    database = Database(path)
    assert database.read(names) == ["a"]
    assert database.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (len(MIGRATIONS),)
    database.close()


def test_an_endpoints_ports_become_ranges(tmp_path: Path) -> None:
    path = tmp_path / "db"
    port = {"protocol": "tcp", "host_ip": "0.0.0.0", "host_port": 8080, "container_port": 80}
    connection = sqlite3.connect(path)
    for script in MIGRATIONS[:3]:
        connection.executescript(script)
    connection.execute("INSERT INTO networks VALUES ('n', 'net', 'bridge', '{}')")
    for id, ports in (("a", [port, port | {"host_port": 8081}]), ("b", [])):
        row = (id, "n", id, json.dumps({"id": id, "ports": ports}))
        connection.execute("INSERT INTO endpoints VALUES (?, ?, ?, ?)", row)
    connection.commit()
    connection.executescript("PRAGMA user_version = 3;")
    connection.close()
    database = Database(path)
    told = database.read(lambda c: [json.loads(text) for (text,) in c.execute("SELECT document FROM endpoints")])
    assert told == [
        {"id": "a", "ports": [["tcp", "0.0.0.0", 8080, 80, 1], ["tcp", "0.0.0.0", 8081, 80, 1]]},
        {"id": "b", "ports": []},
    ]
    database.close()
