"""Reads what containers use: once a second for all that are watched, one after another in a worker thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sampan.daemon.clock import now_ns
from sampan.drivers import ResourceDriver, Stats
from sampan.errdefs import SampanError

_log = logging.getLogger(__name__)
_INTERVAL_S = 1.0
_CLOCK_TICK_NS = 10_000_000  # USER_HZ is 100 for every user of /proc (proc_stat(5))
_COUNTED = range(1, 8)  # user to softirq: what moby sums up (daemon/stats_unix.go, readSystemCPUUsage)
_OF_EVERY_NAMESPACE = frozenset({"lo", "tunl0", "gre0", "gretap0", "erspan0", "sit0", "ip6tnl0", "ip6gre0"})
"""The loopback and the fallback tunnels, which the kernel adds to each network namespace.

It does so once their modules are loaded (Documentation/admin-guide/sysctl/net.rst, fb_tunnels_only_for_init_net).
"""


@dataclass(frozen=True)
class Subject:
    """A container to be read. `pid` is that of its init, or 0 to skip its network."""

    id: str
    pid: int


Source: TypeAlias = Callable[[], Subject | None]
"""Returns what to read now; `None` if there is nothing."""


@dataclass(frozen=True)
class Sample:
    """One reading of a container, and what the whole host had used at that time."""

    at_ns: int
    stats: Stats
    interfaces: Mapping[str, tuple[int, ...]]
    host_cpu_ns: int
    host_cpus: int


def read_all(driver: ResourceDriver, subjects: Iterable[Subject]) -> dict[str, Sample]:
    """Samples by ID; containers that have just ended are left out. Blocks."""
    host_cpu_ns, host_cpus = _host_cpu(Path("/proc/stat").read_text())
    samples = {}
    for subject in subjects:
        try:
            stats = driver.stats(subject.id)
            interfaces = read_interfaces(subject.pid) if subject.pid else {}
        except (SampanError, OSError):
            continue
        except Exception:  # drivers are third-party code: an error for one must not affect the others
            _log.exception("the statistics of container %s can't be read", subject.id)
            continue
        samples[subject.id] = Sample(now_ns(), stats, interfaces, host_cpu_ns, host_cpus)
    return samples


def read_interfaces(pid: int) -> dict[str, tuple[int, ...]]:
    """The sixteen counters of each interface that process `pid` sees, except those that every namespace has.

    The file is opened each time, as an open one would keep the network namespace alive.
    """
    return interfaces_in(Path(f"/proc/{pid}/net/dev").read_text())


def interfaces_in(content: str) -> dict[str, tuple[int, ...]]:
    """Parse the format of proc_pid_net_dev(5)."""
    pairs = (line.partition(":") for line in content.splitlines()[2:])
    named = ((name.strip(), numbers) for name, _, numbers in pairs)
    return {name: tuple(map(int, numbers.split())) for name, numbers in named if name not in _OF_EVERY_NAMESPACE}


def _host_cpu(content: str) -> tuple[int, int]:
    """The CPU time of all CPUs since boot in nanoseconds, including idle time, and the number of CPUs."""
    lines = [line.split() for line in content.splitlines() if line.startswith("cpu")]
    return sum(int(lines[0][place]) for place in _COUNTED) * _CLOCK_TICK_NS, len(lines) - 1


class Watcher:
    """Receives the samples of one container; a slow reader gets only the latest. Created by `Sampler.watch`."""

    def __init__(self) -> None:
        self._sample: Sample | None = None
        self._told = asyncio.Event()

    def tell(self, sample: Sample | None) -> None:
        """Deliver a sample; `None` for a container that is not running."""
        self._sample = sample
        self._told.set()

    async def next(self) -> Sample | None:
        """Wait for the next sample."""
        await self._told.wait()
        self._told.clear()
        return self._sample


class Sampler:
    """Reads while there are watchers."""

    def __init__(self, driver: ResourceDriver) -> None:
        self._driver = driver
        self._watched: dict[Watcher, Source] = {}
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def watch(self, source: Source) -> Iterator[Watcher]:
        """Watch what `source` returns.

        The first sample comes at once if there are no other watchers, else with theirs.
        """
        watcher = Watcher()
        self._watched[watcher] = source
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="sampler")
        try:
            yield watcher
        finally:
            del self._watched[watcher]
            if not self._watched:
                self._task.cancel()
                self._task = None

    async def read(self, subject: Subject) -> Sample | None:
        """One sample, now."""
        samples = await asyncio.to_thread(read_all, self._driver, [subject])
        return samples.get(subject.id)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _INTERVAL_S
            try:
                await self._tick()
            except OSError:
                _log.exception("the statistics of the containers can't be read")
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _tick(self) -> None:
        asked = {watcher: source() for watcher, source in self._watched.items()}
        subjects = {subject for subject in asked.values() if subject}
        samples = await asyncio.to_thread(read_all, self._driver, subjects)
        for watcher, subject in asked.items():
            watcher.tell(samples.get(subject.id) if subject else None)
