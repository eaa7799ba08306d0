"""Events of a group, by poll(2) on its event files."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sampan.drivers import GroupEvent
from sampan_cgroups_v2.group import Group

_FILES = ("cgroup.events", "memory.events")


class Watchers:
    """Who waits for events of which group, so that removing the group ends the waiting.

    The kernel wakes nobody who polls a file that goes away with its cgroup.
    """

    def __init__(self) -> None:
        self._wakers: dict[str, set[int]] = {}
        self._lock = threading.Lock()

    def end(self, id: str) -> None:
        """The group of `id` was removed: end all waiting for it."""
        with self._lock:
            for waker in self._wakers.get(id, ()):
                os.eventfd_write(waker, 1)

    def watch(self, id: str, group: Group) -> Iterator[GroupEvent]:
        """Events of the group since this call, until `end` or until the group is found removed."""
        return self._events(id, group, {**group.find_table("cgroup.events"), **group.find_table("memory.events")})

    def _events(self, id: str, group: Group, seen: dict[str, int]) -> Iterator[GroupEvent]:
        with ExitStack() as stack:
            poller = select.poll()
            waker = stack.enter_context(self._waker(id))
            poller.register(waker, select.POLLIN)
            files = stack.enter_context(_opened(group))
            for fd in files:
                poller.register(fd, select.POLLPRI)
            while (now := _read(files)) is not None:
                yield from _compare(id, seen, now)
                seen = now
                if waker in dict(poller.poll()):
                    break
        # Only an empty group can be removed, and a removed one can't be read any more.
        yield from _compare(id, seen, {**seen, "populated": 0})

    @contextmanager
    def _waker(self, id: str) -> Iterator[int]:
        waker = os.eventfd(0)
        with self._lock:
            self._wakers.setdefault(id, set()).add(waker)
        try:
            yield waker
        finally:
            with self._lock:
                self._wakers[id].discard(waker)
                if not self._wakers[id]:
                    del self._wakers[id]
            os.close(waker)


@contextmanager
def _opened(group: Group) -> Iterator[list[int]]:
    with ExitStack() as stack:
        files = []
        for file in filter(group.has, _FILES):
            files.append(os.open(group.path / file, os.O_RDONLY | os.O_CLOEXEC))
            stack.callback(os.close, files[-1])
        yield files


def _read(files: list[int]) -> dict[str, int] | None:
    """All counts, which also makes kernfs tell of the next change; `None` if the group is gone."""
    try:
        lines = [line for fd in files for line in os.pread(fd, 4096, 0).split(b"\n") if line]
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    words = (line.decode().split() for line in lines)
    return {key: int(number) for key, number in words} or None


def _compare(id: str, seen: dict[str, int], now: dict[str, int]) -> Iterator[GroupEvent]:
    if (kills := now.get("oom_kill", 0) - seen.get("oom_kill", 0)) > 0:
        yield GroupEvent(id, "oom_kill", kills)
    if seen.get("populated") == 1 and now.get("populated") == 0:
        yield GroupEvent(id, "empty")
