"""One cgroup: its control files and its life.

Source: kernel Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from sampan.errdefs import Conflict, DeadlineExceeded, InvalidArgument, NotFound, SystemFailure, Unsupported

CORE = "cgroup"
"""What the names of those control files begin with that every group has, with and without controllers."""

_GONE = (errno.ENOENT, errno.ENODEV)
"""ENODEV is what reading or writing an open file of a removed cgroup answers."""


class Group:
    """The cgroup at `path`; it need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def require(self) -> None:
        """Raise `NotFound` if there is no such cgroup."""
        if not self.path.is_dir():
            raise NotFound(f"cgroup {self.path} does not exist")

    def has(self, file: str) -> bool:
        """Whether this kernel, with the controllers enabled above, offers `file` here."""
        return (self.path / file).exists()

    def find(self, file: str) -> str | None:
        """The content of `file`; `None` if the kernel does not offer it, or has it switched off."""
        try:
            return (self.path / file).read_text()
        except OSError as error:
            if error.errno in (*_GONE, errno.EOPNOTSUPP):
                return None
            raise SystemFailure(f"can't read {self.path / file}: {error.strerror}") from error

    def find_number(self, file: str) -> int | None:
        """The one number in `file`; `None` also for `max`."""
        content = self.find(file)
        return int(content) if content and content.strip() != "max" else None

    def find_table(self, file: str) -> dict[str, int]:
        """The `key number` lines of `file`, such as `memory.stat`; empty if there is no such file."""
        lines = (line.split() for line in (self.find(file) or "").splitlines())
        return {line[0]: int(line[1]) for line in lines}

    def write(self, file: str, value: str) -> None:
        """Write one value. Raises `NotFound` if the group is gone, `InvalidArgument` if the kernel refuses it."""
        try:
            # A write system call is one value to the kernel; an empty one it would not see at all.
            (self.path / file).write_text(f"{value}\n")
        except OSError as error:
            self.require()
            raise InvalidArgument(f"can't set {file} to {value!r}: {error.strerror}") from error

    def is_populated(self) -> bool:
        """Whether a living process is in it or below."""
        return self.find_table("cgroup.events").get("populated", 0) == 1

    def wait_for(self, key: str, value: int, deadline_s: float) -> bool:
        """Block until `key` of `cgroup.events` is `value`; whether it came to that. A group gone is all at rest."""
        end = time.monotonic() + deadline_s
        try:
            fd = os.open(self.path / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            return _wait_on(fd, f"{key} {value}".encode(), end)
        finally:
            os.close(fd)

    def freeze(self, deadline_s: float) -> None:
        """Stop all processes; raises `DeadlineExceeded`, and lets them go on, if some would not stop."""
        self._require_file("cgroup.freeze")
        self.write("cgroup.freeze", "1")
        if not self.wait_for("frozen", 1, deadline_s):
            self.write("cgroup.freeze", "0")
            raise DeadlineExceeded(f"processes of cgroup {self.path} did not freeze within {deadline_s:g} s")

    def thaw(self, deadline_s: float) -> None:
        """Let all processes go on."""
        self._require_file("cgroup.freeze")
        self.write("cgroup.freeze", "0")
        if not self.wait_for("frozen", 0, deadline_s):
            raise Conflict(f"cgroup {self.path} is kept frozen from above")

    def kill(self, deadline_s: float) -> None:
        """SIGKILL all processes."""
        if self.has("cgroup.kill"):
            try:
                self.write("cgroup.kill", "1")
            except NotFound:
                return
        else:
            self._kill_one_by_one(deadline_s)

    def processes(self) -> Iterator[int]:
        """Pids in it and below. A process outside of our PID namespace reads as 0, and is left out."""
        for directory in self._bottom_up():
            for word in (Group(directory).find("cgroup.procs") or "").split():
                if word != "0":
                    yield int(word)

    def remove(self, deadline_s: float) -> None:
        """Remove it with all below it; waits for processes that are dying. Raises `Conflict` if some live on."""
        if self._removed():
            return
        self.wait_for("populated", 0, deadline_s)
        if not self._removed():
            raise Conflict(f"cgroup {self.path} has processes")

    def _removed(self) -> bool:
        """Remove what can be removed; whether that was all."""
        for directory in self._bottom_up():
            try:
                directory.rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno == errno.EBUSY:
                    return False
                raise SystemFailure(f"can't remove cgroup {directory}: {error.strerror}") from error
        return True

    def _bottom_up(self) -> Iterator[Path]:
        for directory, _, _ in os.walk(self.path, topdown=False):
            yield Path(directory)

    def _kill_one_by_one(self, deadline_s: float) -> None:
        """Linux before 5.14 has no cgroup.kill. A process may fork between the reading and the signal: go round."""
        end = time.monotonic() + deadline_s
        while self.is_populated():
            for pid in self.processes():
                _kill(pid)
            if time.monotonic() > end:
                raise DeadlineExceeded(f"processes of cgroup {self.path} did not die within {deadline_s:g} s")
            self.wait_for("populated", 0, deadline_s=0.05)

    def _require_file(self, file: str) -> None:
        self.require()
        if not self.has(file):
            raise Unsupported(f"this kernel has no {file}")


def _wait_on(fd: int, line: bytes, end: float) -> bool:
    """Kernfs tells of a change to a reader of its file by POLLPRI."""
    poller = select.poll()
    poller.register(fd, select.POLLPRI)
    while True:
        try:
            content = os.pread(fd, 4096, 0)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return True
            raise
        if line in content.splitlines():
            return True
        left_s = end - time.monotonic()
        if left_s <= 0:
            return False
        poller.poll(left_s * 1000)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
