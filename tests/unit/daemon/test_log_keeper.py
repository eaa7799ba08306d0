"""The keeper requests a new file when one is full, numbers it, and removes the oldest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan.daemon.streams.log_keeper import LogKeeper
from sampan.errdefs import Conflict
from sampan.runtime.log_files import LogFiles, LogLimits


class Monitor:
    """Reopens the log on request, as conmon does."""

    def __init__(self, files: LogFiles) -> None:
        self.files = files
        self.asked = asyncio.Event()
        self.gone = False

    async def reopen(self, id: str) -> None:
        self.asked.set()
        if self.gone:
            raise Conflict(f"Container {id} is not running")
        new = self.files.path.with_name("log.tmp")
        new.touch()
        new.replace(self.files.path)

    def write(self, count: int) -> None:
        with self.files.path.open("ab") as file:
            file.write(b"x" * (count - 1) + b"\n")


@pytest.fixture
def monitor(tmp_path: Path) -> Monitor:
    files = LogFiles(tmp_path / "log", LogLimits(100, 2))
    files.begin()
    return Monitor(files)


@pytest.fixture
async def keeper(monitor: Monitor) -> AsyncIterator[LogKeeper]:
    keeper = LogKeeper(monitor.reopen)
    await keeper.keep("c1", monitor.files)
    yield keeper
    await keeper.close()


async def numbered(files: LogFiles, last: int) -> None:
    """Wait until the current file is number `last`."""
    async with asyncio.timeout(30):
        while not (files.numbers()[-1] == last and files.path.samefile(files.numbered(last))):
            await asyncio.sleep(0.01)  # the keeper sends no notification


async def test_a_full_file_is_followed_by_another(monitor: Monitor, keeper: LogKeeper) -> None:
    for number in range(2, 6):
        monitor.write(120)
        await numbered(monitor.files, number)
    assert monitor.files.numbers() == [4, 5]


async def test_a_file_that_is_not_full_is_left_alone(monitor: Monitor, keeper: LogKeeper) -> None:
    monitor.write(50)
    await asyncio.sleep(0)
    await keeper.forget("c1")
    assert monitor.files.numbers() == [1]
    assert not monitor.asked.is_set()


async def test_what_the_monitor_begins_by_itself_is_numbered(monitor: Monitor, keeper: LogKeeper) -> None:
    await monitor.reopen("c1")
    await numbered(monitor.files, 2)


async def test_what_was_begun_last_is_numbered_at_the_end(monitor: Monitor, keeper: LogKeeper) -> None:
    await monitor.reopen("c1")
    await keeper.forget("c1")
    assert monitor.files.numbers() == [1, 2]


async def test_a_file_that_was_full_before_is_noticed_at_once(monitor: Monitor, keeper: LogKeeper) -> None:
    await keeper.forget("c1")
    monitor.write(200)
    await keeper.keep("c1", monitor.files)
    await numbered(monitor.files, 2)


async def test_a_monitor_that_is_gone_is_no_trouble(monitor: Monitor, keeper: LogKeeper) -> None:
    monitor.gone = True
    monitor.write(200)
    await asyncio.wait_for(monitor.asked.wait(), 30)
    await keeper.forget("c1")
    assert monitor.files.numbers() == [1]


async def test_a_log_whose_directory_is_gone_is_no_trouble(tmp_path: Path, keeper: LogKeeper) -> None:
    await keeper.keep("c2", LogFiles(tmp_path / "gone" / "log", LogLimits(100, 2)))
    await keeper.forget("c2")
    await keeper.forget("c2")
