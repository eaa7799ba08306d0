"""Reading what containers use: once a second for all whom somebody watches, in one turn of one worker thread."""

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
_COUNTED = range(1, 8)  # user to softirq: what moby adds up (daemon/stats_unix.go, readSystemCPUUsage)
_OF_EVERY_NAMESPACE = frozenset({"lo", "tunl0", "gre0", "gretap0", "erspan0", "sit0", "ip6tnl0", "ip6gre0"})
"""The loopback and the fallback tunnels, which the kernel puts into each network namespace once it knows their kind
(Documentation/admin-guide/sysctl/net.rst, fb_tunnels_only_for_init_net)."""


@dataclass(frozen=True)
class Subject:
    """A container to be read. `pid` is that of its init, 0 if its network is not to be looked at."""

    id: str
    pid: int


Source: TypeAlias = Callable[[], Subject | None]
"""Tells who is to be read now; `None` while nobody is."""


@dataclass(frozen=True)
class Sample:
    """One reading of a container, and what the whole host had used by then."""

    at_ns: int
    stats: Stats
    interfaces: Mapping[str, tuple[int, ...]]
    host_cpu_ns: int
    host_cpus: int


def read_all(driver: ResourceDriver, subjects: Iterable[Subject]) -> dict[str, Sample]:
    """Samples by id; one that has just ended has none. Blocks."""
    host_cpu_ns, host_cpus = _host_cpu(Path("/proc/stat").read_text())
    samples = {}
    for subject in subjects:
        try:
            stats = driver.stats(subject.id)
            interfaces = read_interfaces(subject.pid) if subject.pid else {}
        except (SampanError, OSError):
            continue
        except Exception:  # the driver is somebody else's: what it raises for one is no matter of the others
            _log.exception("the statistics of container %s can't be read", subject.id)
            continue
        samples[subject.id] = Sample(now_ns(), stats, interfaces, host_cpu_ns, host_cpus)
    return samples


def read_interfaces(pid: int) -> dict[str, tuple[int, ...]]:
    """The sixteen counters of each interface that process `pid` sees, but for those that every namespace has.

    The file is opened each time: an open one would keep the network namespace from going away.
    """
    return interfaces_in(Path(f"/proc/{pid}/net/dev").read_text())


def interfaces_in(content: str) -> dict[str, tuple[int, ...]]:
    """What proc_pid_net_dev(5) says."""
    pairs = (line.partition(":") for line in content.splitlines()[2:])
    named = ((name.strip(), numbers) for name, _, numbers in pairs)
    return {name: tuple(map(int, numbers.split())) for name, numbers in named if name not in _OF_EVERY_NAMESPACE}


def _host_cpu(content: str) -> tuple[int, int]:
    """Nanoseconds of all CPUs together since boot, idle ones included, and how many CPUs there are."""
    lines = [line.split() for line in content.splitlines() if line.startswith("cpu")]
    return sum(int(lines[0][place]) for place in _COUNTED) * _CLOCK_TICK_NS, len(lines) - 1


class Watcher:
    """Gets the samples of one container; who is slow gets the newest. Made by `Sampler.watch`."""

    def __init__(self) -> None:
        self._sample: Sample | None = None
        self._told = asyncio.Event()

    def tell(self, sample: Sample | None) -> None:
        """What was read, `None` of a container that does not run."""
        self._sample = sample
        self._told.set()

    async def next(self) -> Sample | None:
        """The next reading."""
        await self._told.wait()
        self._told.clear()
        return self._sample


class Sampler:
    """Reads while somebody watches."""

    def __init__(self, driver: ResourceDriver) -> None:
        self._driver = driver
        self._watched: dict[Watcher, Source] = {}
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def watch(self, source: Source) -> Iterator[Watcher]:
        """Samples of what `source` says, the first one at once if nobody else watches, else with the others."""
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
