"""SQLite in WAL mode, with one writer thread, transactions and migrations."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias, TypeVar

from sampan.errdefs import Conflict, SystemFailure
from sampan.state.schema import MIGRATIONS

RESERVE_BYTES = 512 * 1024
"""Reserved next to the database for a full disk, as a change that frees space must first be recorded."""

_log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")
Change: TypeAlias = Callable[[sqlite3.Connection], object]
"""The body of a transaction."""


class Database:
    """The single source of truth about the engine's intended state.

    Changes run one at a time in a dedicated thread, each as one transaction: even if the process is killed, it has
    either happened or not.
    """

    def __init__(self, path: Path) -> None:
        """Open the database at `path`, creating it if it does not exist, and migrate it to the newest schema.

        Raises `SystemFailure` if it can't be read, or was written by a newer sampan.
        """
        self.path = path
        self._reserve = path.with_name(f"{path.name}-reserve")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._durable: bool | None = None
        try:
            self._connection = self._writer.submit(self._open).result()
        except (sqlite3.Error, OSError) as error:
            raise SystemFailure(f"the database {path} can't be opened: {error}") from error

    def _open(self) -> sqlite3.Connection:
        self.path.touch(mode=0o600)
        # Containers' environments may hold secrets. SQLite gives its other files the mode of this one.
        self.path.chmod(0o600)
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA cache_size = -256")  # KiB: lookups are served from memory, not from here
            connection.execute("PRAGMA foreign_keys = ON")
            _migrate(connection)
            self._keep_reserve()
        except BaseException:
            connection.close()
            raise
        return connection

    async def write(self, change: Callable[[sqlite3.Connection], ResultT], *, durable: bool = True) -> ResultT:
        """Run `change` in one transaction and return its result. On a full disk it is tried twice.

        A durable change is on disk before this returns; any other survives a crash of the daemon, but perhaps not of
        the machine. Raises `Conflict` if it violates a constraint, `SystemFailure` on a full or broken disk.
        Cancelling the caller does not interrupt it.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, self._write, change, durable)

    def read(self, query: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """Run `query` on a separate read-only connection, in the calling thread."""
        with contextlib.closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return query(connection)

    def close(self) -> None:
        """Finish queued changes and close."""
        self._writer.submit(self._connection.close).result()
        self._writer.shutdown()

    def _write(self, change: Callable[[sqlite3.Connection], ResultT], durable: bool) -> ResultT:
        try:
            try:
                return self._transaction(change, durable)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                    raise
                return self._transaction_on_full_disk(change, durable)
        except sqlite3.IntegrityError as error:
            raise Conflict(str(error)) from error
        except sqlite3.Error as error:
            raise SystemFailure(f"the database {self.path} can't be written: {error}") from error

    def _transaction_on_full_disk(self, change: Callable[[sqlite3.Connection], ResultT], durable: bool) -> ResultT:
        """Retry, with the WAL restarted from its beginning and the reserved space released."""
        self._reserve.unlink(missing_ok=True)
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)")
        result = self._transaction(change, durable)
        self._keep_reserve()
        return result

    def _keep_reserve(self) -> None:
        """Reserve space for a later change, if there is any."""
        with contextlib.suppress(OSError), self._reserve.open("wb") as reserve:
            os.posix_fallocate(reserve.fileno(), 0, RESERVE_BYTES)

    def _transaction(self, change: Callable[[sqlite3.Connection], ResultT], durable: bool) -> ResultT:
        connection = self._connection
        self._sync(durable)
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = change(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite rolls back by itself if the disk is full
                connection.execute("ROLLBACK")
            raise
        return result

    def _sync(self, durable: bool) -> None:
        """Set when the WAL is synced: FULL at each commit, NORMAL at checkpoints (sqlite.org, PRAGMA synchronous)."""
        if durable is not self._durable:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable


def _migrate(connection: sqlite3.Connection) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise SystemFailure(
            f"the database has schema {version}; this version of sampan supports schemas up to {len(MIGRATIONS)}"
        )
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")
        _log.info("database migrated to schema %d", number)
