"""A daemon's part in the life of cgroups: takes over those that are there, makes and removes the rest, 16 at a time.

    cgroups_churn.py STATE_DIR SLICE FIRST COUNT [KEPT…]

What is about to happen and what has happened it prints, a line each, before it goes on: whoever kills it knows what
there must be. KEPT are the groups that the one before it had made and not begun to remove.
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
"""In every tenth group lives a process; every fourth lies in one of three parents, which come and go with them."""


class Keeper:
    def __init__(self, state_dir: Path, slice: str) -> None:
        self._driver = CgroupDriver(ResourceSettings(state_dir, slice), deadline_s=60)
        self._mount = Path(str(find_host().mount))

    def adopt(self, kept: Collection[int]) -> None:
        """Say what is there, and remove what had not been made wholly, or not removed wholly."""
        for id in sorted(self._driver.list()):
            say("found", int(id), len(self._driver.processes(id)))
            if int(id) not in kept:
                self.remove(int(id))

    def live(self, numbers: Collection[int]) -> None:
        """Several are there at once."""
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
        """Return when a process, which outlives this program, is in the group."""
        script = f"echo 0 >{self._mount}{cgroup.path}/cgroup.procs; sleep 600 >&- 2>&- &"
        subprocess.run(["sh", "-c", script], stdin=subprocess.DEVNULL, check=True)


def id_of(number: int) -> str:
    """A group has a container's id."""
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
