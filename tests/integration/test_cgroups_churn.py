"""Many cgroups created and removed concurrently by a repeatedly killed daemon: none leaked, none lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sampan.drivers import ResourceSettings
from sampan_cgroups_v2.driver import CgroupDriver
from tests.integration.cgroups_churn import INHABITED

pytestmark = pytest.mark.root
CHURN = Path(__file__).with_name("cgroups_churn.py")
GROUPS = 1000
LINES, LINES_OF_A_LIFE = 400, 4
"""A daemon is killed at one of its first 400 lines of output; a group's life cycle prints four."""
HALF = ("making", "removing")


@pytest.fixture
def slice(tmp_path: Path, cgroups: Path) -> Iterator[str]:
    slice = f"/sampan-churn-{os.getpid()}"
    yield slice
    driver = CgroupDriver(ResourceSettings(tmp_path, slice))
    for id in list(driver.list()):
        driver.kill(id)
        driver.remove(id)
    driver.close()


class Ledger:
    """The last thing reported of each group, and what the current daemon found."""

    def __init__(self) -> None:
        self.last: dict[int, str] = {}
        self.found: dict[int, int] = {}
        self.kept: set[int] = set()

    def arguments(self) -> list[str]:
        """Arguments for the next daemon."""
        self.found = {}
        self.kept = {number for number, word in self.last.items() if word == "made"}
        first = max(self.last, default=-1) + 1
        return [str(number) for number in (first, GROUPS - len(self.last), *sorted(self.kept))]

    def note(self, word: str, *numbers: int) -> None:
        if word == "adopted":
            self.check()
        elif word == "found":
            self.found[numbers[0]] = numbers[1]
        else:
            self.last[numbers[0]] = word

    def check(self) -> None:
        """Everything created must exist, with its process; groups half done that are missing count as removed."""
        there = {number: self.found.get(number) for number in self.kept}
        assert there == {number: int(number % INHABITED == 0) for number in self.kept}
        for number in {number for number, word in self.last.items() if word in HALF} - self.found.keys():
            self.last[number] = "removed"


def test_a_thousand_groups_sixteen_at_a_time_with_a_daemon_that_dies_again_and_again(
    tmp_path: Path, slice: str, cgroups: Path
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice, ledger, deaths = random.Random(seed), Ledger(), 0
    while _dies([str(tmp_path), slice, *ledger.arguments()], ledger, dice.randrange(LINES)):
        deaths += 1
    assert deaths >= GROUPS * LINES_OF_A_LIFE // LINES
    assert len(ledger.last) == GROUPS
    assert set(ledger.last.values()) == {"removed"}
    assert not Path(f"{cgroups}{slice}").exists()


def _dies(arguments: Sequence[str], ledger: Ledger, fatal: int) -> bool:
    """Run a daemon, note its output and kill it at a given line; returns whether it was killed."""
    with subprocess.Popen([sys.executable, CHURN, *arguments], stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout
        for count, line in enumerate(daemon.stdout):
            word, *numbers = line.split()
            ledger.note(word, *map(int, numbers))
            if count == fatal:
                daemon.kill()
    assert daemon.returncode in (0, -signal.SIGKILL)
    return daemon.returncode != 0
