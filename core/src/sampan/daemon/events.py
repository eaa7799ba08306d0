"""The events, in order: stored in SQLite with a sequence number, and delivered to followers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sampan.daemon.clock import now_ns
from sampan.errdefs import InvalidArgument, SystemFailure
from sampan.state import Database

_log = logging.getLogger(__name__)
_REMEMBERED = 1024
_GATHERED_S = 0.01
_BATCH = 256
LOST = "lost"
"""The action of an event that stands for others that are no longer stored."""


@dataclass(frozen=True)
class Occurrence:
    """One event. `seq` increases by one with each event of this data root, across restarts."""

    seq: int
    time_ns: int
    type: str
    action: str
    actor_id: str
    attributes: Mapping[str, str]


class EventLog:
    """The log of events.

    `publish` never waits: a background task first writes new events to the database and then delivers them to
    followers, so that nobody has seen a number that the successor of a killed daemon assigns again. Events that occur
    close together are written in one transaction: an exec or a start has several, and each commit would take the
    interpreter's lock from the event loop some twenty times. A follower reads at its own pace, from memory or, if it
    has fallen behind, from the database, so a slow reader loses nothing. The last `kept` events are kept; a follower
    that asks for an earlier one is told which are lost.
    """

    def __init__(self, database: Database, *, owner: str = "", kept: int = 100_000) -> None:
        """`owner` is the engine's ID, which is the actor of its own events."""
        self._database = database
        self._owner = owner
        self._kept = kept
        self._recent: deque[Occurrence] = deque(maxlen=_REMEMBERED)
        self._told_seq: int = database.read(
            lambda connection: connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
        )
        self._published_seq: int = self._told_seq
        self._unwritten: list[Occurrence] = []
        self._unkept: list[Occurrence] = []
        self.followers = 0
        self._changed = asyncio.Event()
        self._hurried = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def publish(self, type: str, action: str, actor_id: str, attributes: Mapping[str, str] | None = None) -> None:
        """Record that `action` happened to the `type` (container, image, network, volume…) with the ID `actor_id`."""
        self._published_seq += 1
        self._unwritten.append(
            Occurrence(self._published_seq, now_ns(), type, action, actor_id, dict(attributes or {}))
        )
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="events")

    async def position(self, *, after_seq: int | None = None, since_ns: int | None = None) -> int:
        """The number to start after: the one given, that of the last event before a time, or else of the last event.

        Raises `InvalidArgument` for a number that no event has had.
        """
        if after_seq is not None:
            if after_seq > self._published_seq:
                raise InvalidArgument(
                    f"there is no event number {after_seq} yet: the last one is {self._published_seq}. "
                    "Each data root has its own numbers"
                )
            return after_seq
        if since_ns is None:
            return self._published_seq
        await self.close()
        last = self._told_seq  # of those that the query looks at: what is published in the meantime comes after it
        query = "SELECT min(seq) - 1 FROM events WHERE time_ns >= ?"
        [[before]] = await self._select(query, (since_ns,))
        return last if before is None else int(before)

    async def follow(self, position: int) -> AsyncIterator[Occurrence]:
        """Events after `position`; never ends."""
        self.followers += 1
        try:
            while True:
                changed = self._changed
                for occurrence in await self._after(position):
                    yield occurrence
                    position = occurrence.seq
                if position >= self._told_seq:
                    await changed.wait()
        finally:
            self.followers -= 1

    async def past(self, position: int, until_ns: int) -> AsyncIterator[Occurrence]:
        """Events after `position` up to and including a time."""
        await self.close()
        while batch := await self._after(position):
            for occurrence in batch:
                if occurrence.time_ns > until_ns:
                    return
                yield occurrence
                position = occurrence.seq

    async def close(self) -> None:
        """Write the events that are not written yet."""
        if self._writer and not self._writer.done():
            self._hurried.set()
            await asyncio.shield(self._writer)

    async def _after(self, position: int) -> list[Occurrence]:
        """The next events, with a `LOST` event in place of those that are no longer stored."""
        if position >= self._told_seq:
            return []
        if self._recent and self._recent[0].seq <= position + 1:
            return [occurrence for occurrence in self._recent if occurrence.seq > position]
        query = "SELECT seq, time_ns, document FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        found = [_from_row(row) for row in await self._select(query, (position, _BATCH))]
        told: list[Occurrence] = []
        for one in found or self._recent:
            if one.seq > position + 1:
                told.append(self._lost(position + 1, one))
            told.append(one)
            position = one.seq
        return told

    def _lost(self, first: int, found: Occurrence) -> Occurrence:
        """An event that stands for those from `first` to the one before `found`, with the number of the last."""
        last = found.seq - 1
        said = {"first": str(first), "last": str(last), "count": str(found.seq - first)}
        return Occurrence(last, found.time_ns, "daemon", LOST, self._owner, said)

    async def _select(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return await asyncio.to_thread(
            self._database.read, lambda connection: connection.execute(query, values).fetchall()
        )

    async def _write(self) -> None:
        """Write and deliver.

        Events that a full disk rejects are delivered anyway, and retried with the next batch.
        """
        while self._unwritten:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), _GATHERED_S)
            self._hurried.clear()
            batch, self._unwritten = self._unwritten, []
            keep = [*self._unkept, *batch]
            try:
                await self._database.write(partial(_insert, batch=keep, kept=self._kept), durable=False)
                self._unkept = []
            except SystemFailure as error:
                _log.error("%d events can't be stored: %s", len(keep), error)
                self._unkept = keep[-_REMEMBERED:]
            self._tell(batch)

    def _tell(self, batch: list[Occurrence]) -> None:
        self._recent.extend(batch)
        self._told_seq = batch[-1].seq
        self._changed.set()
        self._changed = asyncio.Event()


def _insert(connection: sqlite3.Connection, batch: list[Occurrence], kept: int) -> None:
    connection.executemany(
        "INSERT INTO events (seq, time_ns, document) VALUES (?, ?, ?)",
        [(one.seq, one.time_ns, json.dumps([one.type, one.action, one.actor_id, one.attributes])) for one in batch],
    )
    connection.execute("DELETE FROM events WHERE seq <= ?", (batch[-1].seq - kept,))


def _from_row(row: tuple[Any, ...]) -> Occurrence:
    seq, time_ns, document = row
    return Occurrence(seq, time_ns, *json.loads(document))
