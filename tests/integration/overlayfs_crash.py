"""Works on an overlayfs driver and kills itself with SIGKILL at the N-th line of the driver's own code.

    overlayfs_crash.py STATE_DIR N

What has happened for certain it prints, a line each, before it goes on. With N = 0 it does not kill itself and
prints at the end how many lines there were.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from sampan_overlayfs.driver import OverlayDriver


class Fuse:
    """A trace function that counts the lines of the driver's package, and kills the process at one of them."""

    def __init__(self, fatal: int) -> None:
        self.fatal = fatal
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        if "sampan_overlayfs" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.count += 1
            if self.count == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


def say(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


def work(state_dir: Path) -> None:
    driver = OverlayDriver(state_dir)
    say("opened")
    driver.prepare("unpacking", None)
    (driver.detached_dir("unpacking") / "file").write_text("content")
    say("prepared", "unpacking")
    driver.commit("base", "unpacking")
    say("committed", "base")
    driver.prepare("second", None)
    say("prepared", "second")
    driver.commit("top", "second", parent="base")
    say("committed", "top")
    driver.prepare("container", "top")
    say("prepared", "container")
    driver.prepare("doomed", "top")
    say("prepared", "doomed")
    driver.remove("doomed")
    say("removed", "doomed")


def main() -> None:
    fuse = Fuse(int(sys.argv[2]))
    sys.settrace(fuse)
    work(Path(sys.argv[1]))
    sys.settrace(None)
    say("lines", str(fuse.count))


if __name__ == "__main__":
    main()
