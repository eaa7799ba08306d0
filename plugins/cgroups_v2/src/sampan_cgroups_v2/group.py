"""One cgroup: its control files and its life cycle.

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
"""The prefix of the control files that every cgroup has, whatever its controllers."""

_GONE = (errno.ENOENT, errno.ENODEV)
"""Reading or writing an open file of a removed cgroup fails with ENODEV."""


class Group:
    """The cgroup at `path`, which need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def require(self) -> None:
        """Raise `NotFound` if there is no such cgroup."""
        if not self.path.is_dir():
            raise NotFound(f"cgroup {self.path} does not exist")

    def has(self, file: str) -> bool:
        """Whether the cgroup has `file`: that depends on the kernel and on the controllers enabled in the parent."""
        return (self.path / file).exists()

    def find(self, file: str) -> str | None:
        """The content of `file`; `None` if it does not exist or the kernel has disabled it."""
        try:
            return (self.path / file).read_text()
        except OSError as error:
            if error.errno in (*_GONE, errno.EOPNOTSUPP):
                return None
            raise SystemFailure(f"can't read {self.path / file}: {error.strerror}") from error

    def find_number(self, file: str) -> int | None:
        """The number in `file`; `None` if there is no such file or it says `max`."""
        content = self.find(file)
        return int(content) if content and content.strip() != "max" else None

    def find_table(self, file: str) -> dict[str, int]:
        """The `key number` lines of `file`, such as `memory.stat`; empty if there is no such file."""
        lines = (line.split() for line in (self.find(file) or "").splitlines())
        return {line[0]: int(line[1]) for line in lines}

    def write(self, file: str, value: str) -> None:
        """Write one value. Raises `NotFound` if the cgroup is gone, `InvalidArgument` if the kernel rejects it."""
        try:
            # Each write(2) is one value to the kernel. Without the newline an empty value would not be written.
            (self.path / file).write_text(f"{value}\n")
        except OSError as error:
            self.require()
            raise InvalidArgument(f"can't set {file} to {value!r}: {error.strerror}") from error

    def is_populated(self) -> bool:
        """Whether there is a live process in it or in a cgroup below."""
        return self.find_table("cgroup.events").get("populated", 0) == 1

    def wait_for(self, key: str, value: int, deadline_s: float) -> bool:
        """Block until `key` in `cgroup.events` is `value`. False on timeout; true if the cgroup is gone."""
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
        """Stop all processes. If some don't stop in time, thaws them and raises `DeadlineExceeded`."""
        self._require_file("cgroup.freeze")
        self.write("cgroup.freeze", "1")
        if not self.wait_for("frozen", 1, deadline_s):
            self.write("cgroup.freeze", "0")
            raise DeadlineExceeded(f"processes of cgroup {self.path} did not freeze within {deadline_s:g} s")

    def thaw(self, deadline_s: float) -> None:
        """Resume all processes. Raises `Conflict` if a cgroup above keeps them frozen."""
        self._require_file("cgroup.freeze")
        self.write("cgroup.freeze", "0")
        if not self.wait_for("frozen", 0, deadline_s):
            raise Conflict(f"cgroup {self.path} is kept frozen by a cgroup above")

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
        """The pids in it and below, except processes outside of our PID namespace, which the kernel lists as 0."""
        for directory in self._bottom_up():
            for word in (Group(directory).find("cgroup.procs") or "").split():
                if word != "0":
                    yield int(word)

    def remove(self, deadline_s: float) -> None:
        """Remove it with all cgroups below, after waiting for exiting processes. Raises `Conflict` if some remain."""
        if self._removed():
            return
        self.wait_for("populated", 0, deadline_s)
        if not self._removed():
            raise Conflict(f"cgroup {self.path} has processes")

    def _removed(self) -> bool:
        """Remove the cgroups without processes; whether that was all of them."""
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
        """For Linux before 5.14, without cgroup.kill. Repeats, as processes may fork before they are signalled."""
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
    """Wait until `line` is in the file. Kernfs signals a change to those who have the file open by POLLPRI."""
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
