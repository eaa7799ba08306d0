"""The event log."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sampan.daemon.clock import now_ns
from sampan.daemon.events import LOST, EventLog, Occurrence
from sampan.errdefs import InvalidArgument, SystemFailure
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
    following = asyncio.create_task(take(log.follow(await log.position()), 2))
    await asyncio.sleep(0)
    log.publish("container", "one", "x")
    log.publish("container", "two", "x")
    assert await following == ["one", "two"]
    await log.close()


async def test_what_happens_while_a_time_is_looked_up_is_not_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(database)
    select = log._select

    async def select_meanwhile(query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        found = await select(query, values)
        log.publish("container", "meanwhile", "x")
        return found

    monkeypatch.setattr(log, "_select", select_meanwhile)
    assert await take(log.follow(await log.position(since_ns=now_ns())), 1) == ["meanwhile"]
    await log.close()


async def test_what_happens_once_the_earlier_events_are_written_is_not_lost(database: Database) -> None:
    log = EventLog(database)
    log.publish("container", "before", "x")
    since_ns = now_ns()
    [writing] = [task for task in asyncio.all_tasks() if task.get_name() == "events"]
    writing.add_done_callback(lambda _: log.publish("container", "meanwhile", "x"))
    assert await take(log.follow(await log.position(since_ns=since_ns)), 1) == ["meanwhile"]
    await log.close()


async def test_numbers_go_on_over_a_restart_and_nothing_is_lost(database: Database) -> None:
    log = EventLog(database)
    log.publish("container", "one", "x", {"name": "web"})
    await log.close()
    again = EventLog(database)
    again.publish("container", "two", "x")
    follower = again.follow(0)
    first, second = [await anext(follower) for _ in range(2)]
    assert (first.seq, first.action, first.attributes) == (1, "one", {"name": "web"})
    assert (second.seq, second.action) == (2, "two")
    await again.close()


async def test_a_slow_follower_reads_from_the_database_what_memory_has_lost(database: Database) -> None:
    log = EventLog(database)
    for number in range(3000):
        log.publish("container", str(number), "x")
    assert await take(log.follow(0), 3000) == [str(number) for number in range(3000)]
    await log.close()


async def test_the_past_ends_at_its_bound(database: Database) -> None:
    log = EventLog(database)
    start = now_ns()
    log.publish("container", "one", "x")
    end = now_ns()
    log.publish("container", "two", "x")
    position = await log.position(since_ns=start)
    assert [one.action async for one in log.past(position, end)] == ["one"]
    assert [one.action async for one in log.past(position, now_ns())] == ["one", "two"]
    assert await log.position(since_ns=now_ns() + 10**12) == 2
    await log.close()


async def test_who_asks_for_what_is_dropped_is_told_so_and_gets_the_rest(database: Database) -> None:
    log = EventLog(database, owner="engine", kept=2000)
    for number in range(1, 3001):
        log.publish("container", str(number), "x")
    [lost, first, *_] = told = [one async for one in log.past(10, now_ns())]
    assert (lost.type, lost.action, lost.actor_id, lost.seq) == ("daemon", LOST, "engine", 1000)
    assert lost.attributes == {"first": "11", "last": "1000", "count": "990"}
    assert (first.seq, told[-1].seq, len(told)) == (1001, 3000, 2001)
    assert await log.position(since_ns=0) == 1000  # a time asks for no particular number
    await log.close()


async def test_a_number_that_no_event_has_had_is_refused(database: Database) -> None:
    log = EventLog(database)
    log.publish("container", "one", "x")
    assert await log.position(after_seq=1) == 1
    with pytest.raises(InvalidArgument, match="there is no event number 2 yet: the last one is 1"):
        await log.position(after_seq=2)
    await log.close()


async def test_nobody_is_told_of_an_event_before_it_is_kept(database: Database) -> None:
    log = EventLog(database)
    follower = log.follow(0)
    for number in range(1, 50):
        log.publish("container", "one", "x")
        assert (await anext(follower)).seq == number
        assert database.read(lambda connection: connection.execute("SELECT max(seq) FROM events").fetchone()) == (
            number,
        )
    await log.close()


class Counted(Database):
    """Counts its transactions."""

    written = 0

    async def write(self, change: Callable[[sqlite3.Connection], Any], *, durable: bool = True) -> Any:
        self.written += 1
        return await super().write(change, durable=durable)


@pytest.fixture
async def counted(tmp_path: Path) -> AsyncIterator[Counted]:
    counted = Counted(tmp_path / "counted")
    yield counted
    counted.close()


async def test_what_happens_within_a_moment_is_written_in_one_transaction(counted: Counted) -> None:
    log = EventLog(counted)
    for action in ("exec_create", "exec_start", "exec_die"):
        log.publish("container", action, "x")
        await asyncio.sleep(0)
    assert await take(log.follow(0), 3) == ["exec_create", "exec_start", "exec_die"]
    assert counted.written == 1


async def test_who_closes_does_not_wait_for_what_may_come(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.daemon.events._GATHERED_S", 3600)
    log = EventLog(counted)
    for number in (1, 2):
        log.publish("container", "one", "x")
        await log.close()
        assert counted.written == number


class FullDisk(Database):
    """Refuses changes while `full` is set."""

    full = False

    async def write(self, change: Callable[[sqlite3.Connection], Any], *, durable: bool = True) -> Any:
        if self.full:
            raise SystemFailure("the disk is full")
        return await super().write(change, durable=durable)


async def test_what_a_full_disk_refuses_is_told_and_kept_later(tmp_path: Path) -> None:
    database = FullDisk(tmp_path / "db")
    log = EventLog(database)
    database.full = True
    log.publish("container", "one", "x")
    assert await take(log.follow(0), 1) == ["one"]
    database.full = False
    log.publish("container", "two", "x")
    await log.close()
    assert await take(EventLog(database).follow(0), 2) == ["one", "two"]
    database.close()


async def test_a_follower_that_gives_up_while_waiting_costs_nothing(database: Database) -> None:
    log = EventLog(database)
    log.publish("container", "one", "x")
    waiting = asyncio.create_task(log.position(since_ns=0))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await take(log.follow(0), 1) == ["one"]
    await log.close()
