"""The daemon gives back memory it no longer needs."""

import asyncio
import gc

import pytest

from sampan import memory
from sampan.engine import Job


async def test_memory_is_given_back_once_all_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    given = asyncio.Event()
    times: list[float] = []
    loop = asyncio.get_running_loop()

    def give_back() -> None:
        times.append(loop.time())
        given.set()

    monkeypatch.setattr(memory, "give_back", give_back)
    hook = memory.GiveBack(quiet_s=0.05)
    began = loop.time()
    for name in ("a", "b"):
        hook.finished(Job(name, None))
    await asyncio.wait_for(given.wait(), 10)
    assert times[0] - began >= 0.05
    given.clear()
    hook.finished(Job("c", None))
    await asyncio.wait_for(given.wait(), 10)
    assert len(times) == 2


def test_what_a_start_leaves_is_looked_at_no_more() -> None:
    before = gc.get_freeze_count()
    memory.limit_arenas()
    memory.settle()
    try:
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
