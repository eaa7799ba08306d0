"""Events of all groups, from one epoll(7) set on their event files.

The kernel signals a change to a control file by POLLPRI until the file is read again
(Documentation/admin-guide/cgroup-v2.rst), and an alert by POLLPRI on its pressure file
(Documentation/accounting/psi.rst).
"""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from sampan.drivers import GroupEvent, PressureAlert
from sampan.errdefs import InvalidArgument
from sampan_cgroups_v2.group import Group

_FILES = ("cgroup.events", "memory.events")
_COUNTED = {"oom_kill": "oom_kill", "high": "memory_high"}


@dataclass
class _Watched:
    """An open event file of a group, with the values read last or, for a pressure file, its alert."""

    id: str
    alert: PressureAlert | None = None
    seen: Mapping[str, int] = field(default_factory=dict)


class Watchers:
    """The files that are watched for each group.

    Event files are open only while there is a listener. Alerts are registered at once, as the kernel may reject one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoll: select.epoll | None = None
        self._waker = -1
        self._watched: dict[int, _Watched] = {}
        self._listened_to = False

    def listen(self, groups: Iterable[tuple[str, Group]]) -> Iterator[GroupEvent]:
        """Events of `groups`, which exist already, and of those added later, until `close`."""
        with self._lock:
            self._waker = os.eventfd(0, os.EFD_CLOEXEC)
            self._epoll_set().register(self._waker, select.EPOLLIN)
            self._listened_to = True
        for id, group in groups:
            self.add(id, group)
        return self._events()

    def add(self, id: str, group: Group) -> None:
        """Watch a group if there is a listener."""
        if self._listened_to:
            for file in filter(group.has, _FILES):
                with suppress(FileNotFoundError):  # removed meanwhile
                    self._watch(os.open(group.path / file, os.O_RDONLY | os.O_CLOEXEC), _Watched(id))

    def alert(self, id: str, group: Group, alerts: Iterable[PressureAlert]) -> None:
        """Replace the group's alerts by these. Raises `InvalidArgument` if the kernel rejects one."""
        self._forget(id, only_alerts=True)
        for alert in alerts:
            self._watch(_armed(group, alert), _Watched(id, alert))

    def remove(self, id: str) -> None:
        """Stop watching a group that is being removed."""
        self._forget(id)

    def close(self) -> None:
        """End `listen`, and close all files."""
        with self._lock:
            if self._listened_to:
                os.eventfd_write(self._waker, 1)
            else:
                self._release()

    def _events(self) -> Iterator[GroupEvent]:
        epoll, waker = self._epoll_set(), self._waker
        try:
            while waker not in (ready := dict(epoll.poll())):
                for fd in ready:
                    yield from self._events_of(fd)
        finally:
            with self._lock:
                self._listened_to = False
                self._release()

    def _epoll_set(self) -> select.epoll:
        self._epoll = self._epoll or select.epoll()
        return self._epoll

    def _release(self) -> None:
        for fd in (*self._watched, *([self._waker] if self._waker >= 0 else [])):
            os.close(fd)
        if self._epoll:
            self._epoll.close()
        self._epoll, self._waker = None, -1
        self._watched.clear()

    def _events_of(self, fd: int) -> list[GroupEvent]:
        with self._lock:
            watched = self._watched.get(fd)
            if watched is None:
                return []
            if watched.alert:
                return [GroupEvent(watched.id, "pressure", detail=f"{watched.alert.resource} {watched.alert.kind}")]
            before, watched.seen = watched.seen, _read(fd)
            return list(_compare(watched.id, before, watched.seen))

    def _watch(self, fd: int, watched: _Watched) -> None:
        with self._lock:
            if watched.alert is None:
                watched.seen = _read(fd)
            self._watched[fd] = watched
            self._epoll_set().register(fd, select.EPOLLPRI)

    def _forget(self, id: str, *, only_alerts: bool = False) -> None:
        with self._lock:
            fds = [fd for fd, one in self._watched.items() if one.id == id and (one.alert or not only_alerts)]
            for fd in fds:
                del self._watched[fd]
                os.close(fd)  # which removes it from the epoll set too


def _armed(group: Group, alert: PressureAlert) -> int:
    """A pressure file with the alert registered: it is active as long as the file is open."""
    words = f"{alert.kind} {alert.stall_us} {alert.window_us}"
    file = group.path / f"{alert.resource}.pressure"
    fd = -1
    try:
        fd = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        os.write(fd, words.encode() + b"\0")
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        group.require()
        raise InvalidArgument(f"can't set an alert of {words!r} on {file.name}: {error.strerror}") from error
    return fd


def _read(fd: int) -> Mapping[str, int]:
    """All counters. Reading re-arms the notification. A group that is gone counts as empty."""
    try:
        lines = [line.split() for line in os.pread(fd, 4096, 0).decode().splitlines()]
    except OSError as error:
        if error.errno == errno.ENODEV:
            return {"populated": 0}
        raise
    return {key: int(number) for key, number in lines}


def _compare(id: str, seen: Mapping[str, int], now: Mapping[str, int]) -> Iterator[GroupEvent]:
    for key, action in _COUNTED.items():
        if now.get(key, 0) > seen.get(key, 0):
            yield GroupEvent(id, action, now[key])
    if seen.get("populated") == 1 and now.get("populated") == 0:
        yield GroupEvent(id, "empty")
