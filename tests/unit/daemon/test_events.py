"""The log of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan.daemon.clock import now_ns
from sampan.daemon.events import EventLog, Occurrence
from sampan.state import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "db")
    yield database
    database.close()


async def take(events: AsyncIterator[Occurrence], count: int) -> list[str]:
    return [(await anext(events)).action for _ in range(count)]


async def test_a_follower_sees_what_happens_after_it_came(database: Database) -> None:
    log = EventLog(database)
    log.publish("container", "before", "x")
    following = asyncio.create_task(take(log.follow(), 2))
    await asyncio.sleep(0)
    log.publish("container", "one", "x")
    log.publish("container", "two", "x")
    assert await following == ["one", "two"]
    await log.close()


async def test_numbers_go_on_over_a_restart_and_nothing_is_lost(database: Database) -> None:
    log = EventLog(database)
    log.publish("container", "one", "x", {"name": "web"})
    await log.close()
    again = EventLog(database)
    again.publish("container", "two", "x")
    follower = again.follow(after_seq=0)
    first, second = [await anext(follower) for _ in range(2)]
    assert (first.seq, first.action, first.attributes) == (1, "one", {"name": "web"})
    assert (second.seq, second.action) == (2, "two")
    await again.close()


async def test_a_slow_follower_reads_from_the_database_what_memory_has_lost(database: Database) -> None:
    log = EventLog(database)
    for number in range(3000):
        log.publish("container", str(number), "x")
    assert await take(log.follow(after_seq=0), 3000) == [str(number) for number in range(3000)]
    await log.close()


async def test_the_past_ends_at_its_bound(database: Database) -> None:
    log = EventLog(database)
    start = now_ns()
    log.publish("container", "one", "x")
    end = now_ns()
    log.publish("container", "two", "x")
    assert [one.action async for one in log.past(start, end)] == ["one"]
    assert [one.action async for one in log.past(start, now_ns())] == ["one", "two"]
    await log.close()
