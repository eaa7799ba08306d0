"""One reading a second, however many watch; what the host can't account is omitted."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from sampan.daemon.reports import sampler
from sampan.daemon.reports.sampler import Sampler, Subject, interfaces_in, read_all, read_interfaces
from sampan.drivers import Resources, ResourceSettings, Stats
from sampan.testing.memory_resource import MemoryResource


class CountingResource(MemoryResource):
    """Counts how often each group is read."""

    def __init__(self, root: Path) -> None:
        super().__init__(ResourceSettings(root, "/test"))
        self.reads: list[str] = []

    def stats(self, id: str) -> Stats:
        self.reads.append(id)
        return super().stats(id)


@pytest.fixture
def driver(tmp_path: Path) -> CountingResource:
    driver = CountingResource(tmp_path)
    for id in ("one", "two"):
        driver.create(id, Resources())
    return driver


def test_a_group_that_is_gone_has_no_sample(driver: CountingResource) -> None:
    samples = read_all(driver, [Subject("one", os.getpid()), Subject("gone", 0)])
    assert list(samples) == ["one"]
    assert samples["one"].host_cpus == os.cpu_count()
    assert samples["one"].host_cpu_ns > 0


def test_a_process_that_is_gone_has_no_sample(driver: CountingResource) -> None:
    assert read_all(driver, [Subject("one", 2**22 + 1)]) == {}


def test_a_drivers_own_trouble_with_one_is_no_matter_of_the_others(
    driver: CountingResource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stats(id: str) -> Stats:
        if id == "one":
            raise ValueError("no number")
        return MemoryResource.stats(driver, id)

    monkeypatch.setattr(driver, "stats", stats)
    assert list(read_all(driver, [Subject("one", 0), Subject("two", 0)])) == ["two"]
    assert "no number" in caplog.text


def test_what_every_namespace_has_is_no_interface_of_a_containers() -> None:
    content = "Inter-| Receive\n face |bytes\n    lo: {0}\n  sit0: {0}\n eth0:{1}\n tunl1: {0}\n"
    zeros, ones = (" ".join([digit] * 16) for digit in "01")
    assert interfaces_in(content.format(zeros, ones)) == {"eth0": (1,) * 16, "tunl1": (0,) * 16}
    assert "lo" not in read_interfaces(os.getpid())


async def test_many_watchers_of_one_container_cost_one_reading(
    driver: CountingResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "_INTERVAL_S", 3600)
    watched = Sampler(driver)
    one, two = Subject("one", 0), Subject("two", 0)
    with (
        watched.watch(lambda: one) as first,
        watched.watch(lambda: one) as second,
        watched.watch(lambda: two) as other,
    ):
        a, b, c = await asyncio.wait_for(asyncio.gather(first.next(), second.next(), other.next()), 30)
    assert a is b
    assert a and c
    assert sorted(driver.reads) == ["one", "two"]


async def test_who_does_not_run_is_told_so(driver: CountingResource) -> None:
    with Sampler(driver).watch(lambda: None) as watcher:
        assert await asyncio.wait_for(watcher.next(), 30) is None
    assert driver.reads == []


async def test_nothing_runs_while_nobody_watches(driver: CountingResource) -> None:
    watched = Sampler(driver)
    with watched.watch(lambda: None):
        assert any(task.get_name() == "sampler" for task in asyncio.all_tasks())
    await asyncio.sleep(0)
    assert not any(task.get_name() == "sampler" for task in asyncio.all_tasks())


async def test_one_reading_does_not_wait_for_a_tick(driver: CountingResource) -> None:
    assert await Sampler(driver).read(Subject("one", 0)) is not None
    assert await Sampler(driver).read(Subject("gone", 0)) is None
