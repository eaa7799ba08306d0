"""Exercises a storage driver and SIGKILLs itself at the N-th line of the driver's own code.

    storage_crash.py DRIVER STATE_DIR N

It prints each completed step on a line before going on. With N = 0 it does not kill itself and finally prints the
number of lines run.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from sampan.drivers import Mount, StorageDriver
from sampan.drivers.loader import load

OURS = ("sampan_overlayfs", "sampan/storage")


class Fuse:
    """A trace function that counts lines run in the driver's packages, and kills the process at a given one."""

    def __init__(self, fatal: int) -> None:
        self.fatal = fatal
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        if not any(package in frame.f_code.co_filename for package in OURS):
            return None
        if event == "line":
            self.count += 1
            if self.count == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


def say(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


def make(driver: StorageDriver, name: str, key: str, parent: str | None) -> None:
    """Make a layer on top of another, detached until committed if the driver supports that."""
    is_detached = driver.capabilities.detached_layers is not None
    mounts = driver.prepare(key, None if is_detached else parent)
    if parent is None:
        (driver.detached_dir(key) if is_detached else bound(mounts)).joinpath("file").write_text("content")
    say("prepared", key)
    driver.commit(name, key, parent=parent if is_detached else None)
    say("committed", name)


def bound(mounts: list[Mount]) -> Path:
    return Path(mounts[0].source)


def work(name: str, state_dir: Path) -> None:
    driver = load().storage_factory(name)(state_dir)
    say("opened")
    make(driver, "base", "unpacking", None)
    make(driver, "top", "second", "base")
    driver.prepare("container", "top")
    say("prepared", "container")
    driver.prepare("doomed", "top")
    say("prepared", "doomed")
    driver.remove("doomed")
    say("removed", "doomed")


def main() -> None:
    fuse = Fuse(int(sys.argv[3]))
    sys.settrace(fuse)
    work(sys.argv[1], Path(sys.argv[2]))
    sys.settrace(None)
    say("lines", str(fuse.count))


if __name__ == "__main__":
    main()
