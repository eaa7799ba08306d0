"""The table of snapshots: a small SQLite database next to their directories.

Durability: every change is one transaction of a write-ahead log with `synchronous=NORMAL`. A killed daemon loses
nothing; a power failure may lose the newest changes, but never leaves a partial one. The files of a layer are no
safer until syncfs(2) is called, so whoever records a layer as complete calls it on the state directory, which makes
the layers' files and these rows durable together.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sampan.drivers import Snapshot, SnapshotKind, Usage
from sampan.errdefs import Conflict, DataLoss, InvalidArgument, NotFound, SystemFailure

_SCHEMA = """
CREATE TABLE IF NOT EXISTS snapshots (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    parent INTEGER REFERENCES snapshots (number),
    labels TEXT NOT NULL,
    size_bytes INTEGER,
    inodes INTEGER
);
CREATE INDEX IF NOT EXISTS snapshots_parent ON snapshots (parent);
"""
_SELECT = """
SELECT s.number, s.name, s.kind, p.name, s.labels, s.parent, s.size_bytes, s.inodes
FROM snapshots s LEFT JOIN snapshots p ON p.number = s.parent
"""
_ANCESTORS = """
WITH RECURSIVE chain (number, parent, depth) AS (
    SELECT number, parent, 0 FROM snapshots WHERE number = ?
    UNION ALL
    SELECT s.number, s.parent, chain.depth + 1 FROM snapshots s JOIN chain ON s.number = chain.parent
)
SELECT number FROM chain WHERE depth > 0 ORDER BY depth
"""


@dataclass(frozen=True)
class Row:
    """A snapshot and the number of its directory. `usage` is set for committed ones, once it has been counted."""

    number: int
    parent: int | None
    snapshot: Snapshot
    usage: Usage | None


class Metadata:
    """The table of snapshots. Thread-safe: one thread at a time reads or writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._connection.close)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA cache_size = -256")  # KiB; the default of 2 MiB is of no use here
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            raise SystemFailure(f"can't open {path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise DataLoss(f"{path} is damaged: {error}") from error

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Apply all changes made within the context, or none; other threads are kept out.

        Raises `SystemFailure` if they can't be written.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except BaseException as error:
                if self._connection.in_transaction:  # SQLite rolls back by itself if the disk is full
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise SystemFailure(f"can't write {self._path}: {error}") from error
                raise

    def get(self, name: str) -> Row:
        """The snapshot `name`. Raises `NotFound`."""
        row = self.find(name)
        if row is None:
            raise NotFound(f"snapshot {name} does not exist")
        return row

    def get_active(self, key: str) -> Row:
        """A writable snapshot. Raises `NotFound`, or `InvalidArgument` if it is a view or committed."""
        row = self.get(key)
        if row.snapshot.kind is not SnapshotKind.ACTIVE:
            raise InvalidArgument(f"snapshot {key} is not active")
        return row

    def get_mountable(self, key: str) -> Row:
        """An active snapshot or a view. Raises `NotFound`, or `InvalidArgument` if it is committed."""
        row = self.get(key)
        if row.snapshot.kind is SnapshotKind.COMMITTED:
            raise InvalidArgument(f"snapshot {key} is committed")
        return row

    def find(self, name: str) -> Row | None:
        """The snapshot `name`, or `None`."""
        with self._lock:
            found = self._connection.execute(f"{_SELECT} WHERE s.name = ?", (name,)).fetchone()
        return None if found is None else _row(found)

    def get_parent(self, name: str) -> Row:
        """A snapshot that may be a parent. Raises `NotFound`, or `InvalidArgument` if it is not committed."""
        row = self.get(name)
        if row.snapshot.kind is not SnapshotKind.COMMITTED:
            raise InvalidArgument(f"parent snapshot {name} is not committed")
        return row

    def list(self) -> Iterator[Row]:
        """All snapshots, in order of creation."""
        with self._lock:
            found = self._connection.execute(f"{_SELECT} ORDER BY s.number").fetchall()
        return map(_row, found)

    def ancestors(self, number: int) -> tuple[int, ...]:
        """The numbers of the parent, its parent and so on."""
        with self._lock:
            return tuple(number for (number,) in self._connection.execute(_ANCESTORS, (number,)))

    def insert(self, snapshot: Snapshot, parent: int | None) -> int:
        """Add a snapshot and return its number. Raises `Conflict` if the name exists."""
        values = (snapshot.name, snapshot.kind, parent, json.dumps(snapshot.labels))
        with self._refusing_existing(snapshot.name):
            added = self._connection.execute(
                "INSERT INTO snapshots (name, kind, parent, labels) VALUES (?, ?, ?, ?)", values
            )
        number = added.lastrowid
        assert number is not None  # noqa: S101  (set by an INSERT into a rowid table)
        return number

    def commit(self, number: int, name: str, parent: int | None) -> None:
        """Turn snapshot `number` into the committed one `name`. Raises `Conflict` if the name exists."""
        with self._refusing_existing(name):
            self._connection.execute(
                "UPDATE snapshots SET name = ?, kind = ?, parent = ? WHERE number = ?",
                (name, SnapshotKind.COMMITTED, parent, number),
            )

    def usage_of(self, row: Row, count: Callable[[], Usage]) -> Usage:
        """The disk usage of a snapshot. A committed one doesn't change, so it is counted only once."""
        if row.usage is not None:
            return row.usage
        usage = count()
        if row.snapshot.kind is SnapshotKind.COMMITTED:
            self._keep_usage(row.number, usage)
        return usage

    def _keep_usage(self, number: int, usage: Usage) -> None:
        """Store a usage. This only saves counting again, so a full disk is not an error."""
        with self._lock, suppress(sqlite3.OperationalError):
            self._connection.execute(
                "UPDATE snapshots SET size_bytes = ?, inodes = ? WHERE number = ?",
                (usage.size_bytes, usage.inodes, number),
            )

    def delete(self, row: Row) -> None:
        """Delete a snapshot's row. Raises `Conflict` if it has children."""
        try:
            self._connection.execute("DELETE FROM snapshots WHERE number = ?", (row.number,))
        except sqlite3.IntegrityError as error:
            raise Conflict(f"snapshot {row.snapshot.name} has children") from error

    @contextmanager
    def _refusing_existing(self, name: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise Conflict(f"snapshot {name} already exists") from error


def _row(found: tuple[int, str, str, str | None, str, int | None, int | None, int | None]) -> Row:
    number, name, kind, parent_name, labels, parent, size_bytes, inodes = found
    usage = Usage(size_bytes, inodes) if size_bytes is not None and inodes is not None else None
    return Row(number, parent, Snapshot(name, SnapshotKind(kind), parent_name, json.loads(labels)), usage)
