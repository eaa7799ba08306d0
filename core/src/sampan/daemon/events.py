"""What happened, in order: kept in SQLite with a sequence number, and told to those who follow."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sampan.daemon.clock import now_ns
from sampan.errdefs import SystemFailure
from sampan.state import Database

_log = logging.getLogger(__name__)
_REMEMBERED = 1024
_KEPT = 100_000
_BATCH = 256


@dataclass(frozen=True)
class Occurrence:
    """One event. `seq` grows by one with each event of this data root, over restarts too."""

    seq: int
    time_ns: int
    type: str
    action: str
    actor_id: str
    attributes: Mapping[str, str]


class EventLog:
    """The log of events.

    `publish` never waits: the last events are in memory, and a task of the log writes them to the database. A
    follower reads at its own pace, from memory or, when it has fallen behind, from the database, so that none is
    lost to a slow reader.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: deque[Occurrence] = deque(maxlen=_REMEMBERED)
        self._last_seq: int = database.read(
            lambda connection: connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
        )
        self._unwritten: list[Occurrence] = []
        self.followers = 0
        self._changed = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def publish(self, type: str, action: str, actor_id: str, attributes: Mapping[str, str] | None = None) -> None:
        """Note that `action` happened to the `type` (container, image, network, volume…) of id `actor_id`."""
        self._last_seq += 1
        occurrence = Occurrence(self._last_seq, now_ns(), type, action, actor_id, dict(attributes or {}))
        self._recent.append(occurrence)
        self._unwritten.append(occurrence)
        self._changed.set()
        self._changed = asyncio.Event()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="events")

    async def follow(self, after_seq: int | None = None, since_ns: int | None = None) -> AsyncIterator[Occurrence]:
        """Events after `after_seq`, or since `since_ns`, or else from now on; never ends."""
        position = await self._position(after_seq, since_ns)
        self.followers += 1
        try:
            while True:
                changed = self._changed
                for occurrence in await self._after(position):
                    yield occurrence
                    position = occurrence.seq
                if position == self._last_seq:
                    await changed.wait()
        finally:
            self.followers -= 1

    async def past(self, since_ns: int, until_ns: int) -> AsyncIterator[Occurrence]:
        """Events from `since_ns` to `until_ns`, both counted in."""
        position = await self._position(None, since_ns)
        while batch := await self._after(position):
            for occurrence in batch:
                if occurrence.time_ns > until_ns:
                    return
                yield occurrence
                position = occurrence.seq

    async def close(self) -> None:
        """Write what is not written yet."""
        if self._writer:
            await self._writer

    async def _position(self, after_seq: int | None, since_ns: int | None) -> int:
        if after_seq is not None:
            return after_seq
        if since_ns is None:
            return self._last_seq
        await self.close()
        query = "SELECT coalesce(max(seq), 0) FROM events WHERE time_ns < ?"
        rows = await self._select(query, (since_ns,))
        return int(rows[0][0])

    async def _after(self, position: int) -> list[Occurrence]:
        if position >= self._last_seq:
            return []
        if self._recent and self._recent[0].seq <= position + 1:
            return [occurrence for occurrence in self._recent if occurrence.seq > position]
        await self.close()
        query = "SELECT seq, time_ns, document FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        return [_from_row(row) for row in await self._select(query, (position, _BATCH))]

    async def _select(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return await asyncio.to_thread(
            self._database.read, lambda connection: connection.execute(query, values).fetchall()
        )

    async def _write(self) -> None:
        while self._unwritten:
            batch, self._unwritten = self._unwritten, []
            try:
                await self._database.write(partial(_insert, batch=batch), durable=False)
            except SystemFailure as error:
                _log.error("%d events are not kept: %s", len(batch), error)


def _insert(connection: sqlite3.Connection, batch: list[Occurrence]) -> None:
    connection.executemany(
        "INSERT INTO events (seq, time_ns, document) VALUES (?, ?, ?)",
        [(one.seq, one.time_ns, json.dumps([one.type, one.action, one.actor_id, one.attributes])) for one in batch],
    )
    connection.execute("DELETE FROM events WHERE seq <= ?", (batch[-1].seq - _KEPT,))


def _from_row(row: tuple[Any, ...]) -> Occurrence:
    seq, time_ns, document = row
    return Occurrence(seq, time_ns, *json.loads(document))
