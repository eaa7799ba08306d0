"""What the resource driver adds to the kernel's time: a cgroup's life with limits, and one reading of its accounts.

    .venv/bin/python -m bench.cgroups [--rounds N]
    .venv/bin/python -m tools.guest -- .venv/bin/python -m bench.cgroups

Each is set against the same calls of the kernel without the driver: in a guest, where the kernel is slow, only the
ratio says something.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sampan.drivers import Resources, ResourceSettings
from sampan_cgroups_v2.driver import CgroupDriver
from sampan_cgroups_v2.host import find_host

LIVING, READ = "a" * 64, "b" * 64
LIMITS = Resources(
    memory_max_bytes=64 << 20,
    swap_max_bytes=0,
    memory_low_bytes=32 << 20,
    cpu_quota_us=50_000,
    cpu_period_us=100_000,
    cpu_weight=100,
    pids_max=100,
)
LIMIT_FILES = {
    "memory.max": str(64 << 20),
    "memory.swap.max": "0",
    "memory.low": str(32 << 20),
    "cpu.max": "50000 100000",
    "cpu.weight": "100",
    "pids.max": "100",
}
ACCOUNT_FILES = (
    *("cpu.stat", "memory.current", "memory.peak", "memory.max", "memory.stat", "memory.events", "pids.current"),
    *("pids.max", "io.stat", "cpu.pressure", "memory.pressure", "io.pressure"),
)


@dataclass(frozen=True)
class Work:
    """A work, its bare kernel calls for comparison, and its budget in milliseconds on the host's own kernel."""

    title: str
    driver: Callable[[], object]
    bare: Callable[[], object]
    limit_ms: float


class Works:
    """The works, on the driver's groups and on a bare one next to them."""

    def __init__(self, driver: CgroupDriver, slice: Path) -> None:
        self._driver = driver
        self._bare, self._read = slice / "bare", slice / READ
        driver.create(READ, LIMITS)
        self._files = [
            os.open(self._read / file, os.O_RDONLY) for file in ACCOUNT_FILES if (self._read / file).exists()
        ]

    def all(self) -> list[Work]:
        return [
            Work("create with limits, remove", self._life, self._bare_life, 1.5),
            Work("read the accounts", lambda: self._driver.stats(READ), self._bare_reading, 0.3),
        ]

    def _life(self) -> None:
        self._driver.create(LIVING, LIMITS)
        self._driver.remove(LIVING)

    def _bare_life(self) -> None:
        self._bare.mkdir()
        for file, value in LIMIT_FILES.items():
            if (self._bare / file).exists():
                (self._bare / file).write_text(value)
        self._bare.rmdir()

    def _bare_reading(self) -> None:
        for fd in self._files:
            os.pread(fd, 16384, 0)


def median_ms(function: Callable[[], object], rounds: int) -> float:
    samples = []
    for _ in range(rounds):
        began = time.perf_counter()
        function()
        samples.append(time.perf_counter() - began)
    return statistics.median(samples) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.cgroups",
        description=sys.modules[__name__].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    host = find_host()
    if host.mount is None:
        sys.exit(f"no cgroup v2 here: {host.why_not()}")
    name = f"sampan-bench-{os.getpid()}"
    with tempfile.TemporaryDirectory() as directory:
        driver = CgroupDriver(ResourceSettings(Path(directory), f"/{name}"))
        try:
            works = Works(driver, host.mount / name)
            controllers = ", ".join(sorted(driver.capabilities().controllers)) or "none"
            print(f"{host.kind}, controllers: {controllers}; median of {rounds}")
            for work in works.all():
                took, bare = median_ms(work.driver, rounds), median_ms(work.bare, rounds)
                verdict = "within" if took <= work.limit_ms else "over"
                print(
                    f"{work.title}: {took:.3f} ms, {verdict} {work.limit_ms:g} ms; "
                    f"the bare calls {bare:.3f} ms, ratio {took / bare:.2f}"
                )
        finally:
            driver.remove(READ)
            driver.close()


if __name__ == "__main__":
    main()
