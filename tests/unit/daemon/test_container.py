"""A container's states, and which events wake which waiters."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from sampan.daemon.container import Status
from sampan.errdefs import Conflict, NotFound
from sampan.runtime.interface import Attached, ExitStatus
from tests.unit.daemon.making import container


@pytest.mark.parametrize(
    "life",
    [
        "created running exited removing",
        "created running exited running exited removing dead removing",
        "created running exited restarting running exited restarting exited removing",
        "created running paused running",
        "exited restarting removing",
        "created removing",
    ],
)
def test_the_lives_a_container_can_have(life: str) -> None:
    one = container()
    for before, after in pairwise(life.split()):
        one.state.status = Status(before)
        one.move(Status(after))
        assert one.state.status == after


@pytest.mark.parametrize(
    ("status", "next_"),
    [
        ("running", "removing"),
        ("running", "running"),
        ("removing", "running"),
        ("dead", "running"),
        ("created", "restarting"),
        ("paused", "removing"),
    ],
)
def test_the_lives_it_cannot_have(status: str, next_: str) -> None:
    one = container()
    one.state.status = Status(status)
    with pytest.raises(Conflict, match=f"is {status} and can't become {next_}"):
        one.move(Status(next_))
    assert one.state.status == status


@pytest.mark.parametrize(
    ("status", "running", "active"),
    [("created", False, False), ("running", True, True), ("paused", True, True), ("restarting", False, True)],
)
def test_running_means_a_process_and_active_means_more(status: str, running: bool, active: bool) -> None:
    one = container()
    one.state.status = Status(status)
    assert (one.running, one.active) == (running, active)


async def test_an_exit_is_for_those_who_waited_and_not_for_those_who_come_later() -> None:
    one = container()
    one.state.status = Status.RUNNING
    waiting = one.next_exit
    assert one.note_exit(ExitStatus(3, 7)) is waiting
    assert not waiting.is_set()
    assert not one.next_exit.is_set()
    assert (one.state.exit_code, one.state.finished_at_ns, one.state.pid) == (3, 7, 0)


async def test_those_who_wait_for_a_start_are_turned_away_once() -> None:
    one = container()
    futures: list[asyncio.Future[Attached]] = [asyncio.get_running_loop().create_future() for _ in range(2)]
    futures[0].cancel()
    one.awaiting_start = list(futures)
    one.turn_away(NotFound("gone"))
    with pytest.raises(NotFound):
        await futures[1]
    assert one.awaiting_start == []
