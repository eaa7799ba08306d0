"""A daemon's part in the life of cgroups: adopts existing ones, creates and removes the rest, in 16 threads.

    cgroups_churn.py STATE_DIR SLICE FIRST COUNT [KEPT…]

It prints a line before and after each step, before going on, so that whoever kills it knows what must exist.
KEPT are the groups that its predecessor had created and not begun to remove.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sampan.drivers import Cgroup, Placement, Resources, ResourceSettings
from sampan_cgroups_v2.driver import CgroupDriver
from sampan_cgroups_v2.host import find_host

CONCURRENCY = 16
BATCH = 5
INHABITED, NESTED = 10, 4
"""Every tenth group holds a process; every fourth is in one of three parents, which come and go with them."""


class Keeper:
    def __init__(self, state_dir: Path, slice: str) -> None:
        self._driver = CgroupDriver(ResourceSettings(state_dir, slice), deadline_s=60)
        self._mount = Path(str(find_host().mount))

    def adopt(self, kept: Collection[int]) -> None:
        """Report the existing groups, and remove those only partly created or removed."""
        for id in sorted(self._driver.list()):
            say("found", int(id), len(self._driver.processes(id)))
            if int(id) not in kept:
                self.remove(int(id))

    def live(self, numbers: Collection[int]) -> None:
        """Create all the groups, then remove them, so that several exist at once."""
        for number in numbers:
            self.make(number)
        for number in numbers:
            self.remove(number)

    def make(self, number: int) -> None:
        say("making", number)
        placement = Placement(parent=f"parent/{number % 3}" if number % NESTED == 0 else "")
        cgroup = self._driver.create(id_of(number), Resources(memory_max_bytes=64 << 20, pids_max=50), placement)
        if number % INHABITED == 0:
            self._inhabit(cgroup)
        say("made", number)

    def remove(self, number: int) -> None:
        say("removing", number)
        self._driver.kill(id_of(number))
        self._driver.remove(id_of(number))
        say("removed", number)

    def close(self) -> None:
        self._driver.close()

    def _inhabit(self, cgroup: Cgroup) -> None:
        """Return once a process that outlives this program is in the group."""
        script = f"echo 0 >{self._mount}{cgroup.path}/cgroup.procs; sleep 600 >&- 2>&- &"
        subprocess.run(["sh", "-c", script], stdin=subprocess.DEVNULL, check=True)


def id_of(number: int) -> str:
    """A group is named like a container, by a 64-digit ID."""
    return f"{number:064}"


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def main(state_dir: str, slice: str, first: str, count: str, *kept: str) -> None:
    keeper = Keeper(Path(state_dir), slice)
    keeper.adopt(set(map(int, kept)))
    say("adopted")
    end = int(first) + int(count)
    batches = [range(begin, min(begin + BATCH, end)) for begin in range(int(first), end, BATCH)]
    with ThreadPoolExecutor(CONCURRENCY) as threads:
        works = [threads.submit(keeper.remove, int(number)) for number in kept]
        works += [threads.submit(keeper.live, batch) for batch in batches]
        for work in works:
            work.result()
    keeper.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
