"""A group's statistics, read from its control files."""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from sampan.drivers import Pressure, Stats
from sampan.errdefs import NotFound, SystemFailure

_PRESSURES = ("cpu", "memory", "io")
_MOST_OPEN = 512
_READ_BYTES = 16384  # memory.stat has 2 KB, io.stat a line for each device
_UNREADABLE = (errno.ENOENT, errno.EOPNOTSUPP)


class Accounts:
    """Keeps the files of recently read groups open.

    Clients that follow statistics read them every second, and opening a file costs more than reading it.
    """

    def __init__(self) -> None:
        self._readers: OrderedDict[Path, _Reader] = OrderedDict()
        self._lock = threading.Lock()

    def stats(self, path: Path) -> Stats:
        """What the group at `path` has used. Raises `NotFound` if it is gone."""
        with self._lock:
            reader = self._readers.setdefault(path, _Reader(path))
            self._readers.move_to_end(path)
            if len(self._readers) > _MOST_OPEN:
                self._readers.popitem(last=False)[1].close()
            return reader.stats()

    def forget(self, path: Path) -> None:
        """Close the files of a group that was removed; one created later at `path` has new ones."""
        with self._lock:
            if reader := self._readers.pop(path, None):
                reader.close()

    def close(self) -> None:
        """Close all files."""
        for path in list(self._readers):
            self.forget(path)


class _Reader:
    """One group's files, opened at first use; `None` stands for one that the kernel does not have."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[str, int | None] = {}

    def stats(self) -> Stats:
        """Values of controllers that are not enabled are `None` or empty."""
        cpu = self._table("cpu.stat")
        return Stats(
            cpu_usage_us=cpu.get("usage_usec"),
            cpu_user_us=cpu.get("user_usec"),
            cpu_system_us=cpu.get("system_usec"),
            cpu_periods=cpu.get("nr_periods"),
            cpu_throttled_periods=cpu.get("nr_throttled"),
            cpu_throttled_us=cpu.get("throttled_usec"),
            memory_bytes=self._number("memory.current"),
            memory_peak_bytes=self._number("memory.peak"),
            memory_max_bytes=self._number("memory.max"),
            memory=self._table("memory.stat"),
            oom_kills=self._table("memory.events").get("oom_kill"),
            pids=self._number("pids.current"),
            pids_max=self._number("pids.max"),
            io=_io(self._read("io.stat") or ""),
            pressure=self._pressures(),
        )

    def close(self) -> None:
        """Close its files."""
        for fd in self._files.values():
            if fd is not None:
                os.close(fd)
        self._files.clear()

    def _read(self, file: str) -> str | None:
        """The content; `None` if the file does not exist or the kernel has disabled it."""
        if file not in self._files:
            self._files[file] = self._open(file)
        fd = self._files[file]
        try:
            return None if fd is None else _whole(fd).decode()
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise NotFound(f"cgroup {self._path} does not exist") from None
            if error.errno in _UNREADABLE:
                return None
            raise SystemFailure(f"can't read {self._path / file}: {error.strerror}") from error

    def _open(self, file: str) -> int | None:
        try:
            return os.open(self._path / file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise SystemFailure(f"can't read {self._path / file}: {error.strerror}") from error
        if not self._path.is_dir():
            raise NotFound(f"cgroup {self._path} does not exist")
        return None

    def _number(self, file: str) -> int | None:
        """The number in it; `None` if there is no such file or it says `max`."""
        content = self._read(file)
        return int(content) if content and content.strip() != "max" else None

    def _table(self, file: str) -> dict[str, int]:
        """Its `key number` lines."""
        words = (self._read(file) or "").split()
        return dict(zip(words[::2], map(int, words[1::2]), strict=True))

    def _pressures(self) -> Mapping[str, Mapping[str, Pressure]]:
        contents = {name: self._read(f"{name}.pressure") for name in _PRESSURES}
        return {name: _pressure(content) for name, content in contents.items() if content}


def _whole(fd: int) -> bytes:
    content = piece = os.pread(fd, _READ_BYTES, 0)
    while len(piece) == _READ_BYTES:
        piece = os.pread(fd, _READ_BYTES, len(content))
        content += piece
    return content


def _io(content: str) -> Mapping[str, Mapping[str, int]]:
    """Parse lines such as `8:0 rbytes=1 wbytes=2 …`; a device without I/O has no values."""
    devices = {}
    for line in content.splitlines():
        device, *words = line.split()
        pairs = (word.partition("=") for word in words)
        devices[device] = {key: int(number) for key, _, number in pairs}
    return devices


def _pressure(content: str) -> Mapping[str, Pressure]:
    """Parse `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` (kernel Documentation/accounting/psi.rst)."""
    lines = {}
    for line in content.splitlines():
        kind, *values = [word.partition("=")[2] or word for word in line.split()]
        lines[kind] = Pressure(float(values[0]), float(values[1]), float(values[2]), int(values[3]))
    return lines
