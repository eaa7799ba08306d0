"""Ensures one daemon per data root, and writes its pid file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sampan.errdefs import Conflict


@contextmanager
def lock_data_root(data_root: Path) -> Iterator[None]:
    """Lock the data root exclusively. Raises `Conflict` if another sampand holds the lock.

    The kernel releases it when this process dies.
    """
    fd = os.open(data_root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another sampand runs on the data root {data_root}") from None
        yield
    finally:
        os.close(fd)


@contextmanager
def pid_file(path: Path) -> Iterator[None]:
    """Keep this process's pid in `path`. Raises `Conflict` with Docker's message if the process named there runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    other = _read(path)
    if other is not None and other != os.getpid() and _is_sampand(other):
        raise Conflict(
            f"failed to start daemon, ensure sampan is not running or delete {path}: "
            f"process with PID {other} is still running"
        )
    path.write_text(f"{os.getpid()}\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _is_sampand(pid: int) -> bool:
    """Whether `pid` is a running sampand; after a crash, the pid may belong to another program."""
    try:
        return b"sampand" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
