"""Publishes the kernel's events about containers' cgroups: `oom`, and our own `memory_high` and `pressure`."""

from __future__ import annotations

import asyncio
import logging
import time
from threading import Thread
from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.drivers import GroupEvent

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)
_NOT_OFTENER_THAN_S = 1.0


class GroupEvents:
    """Follows the resource driver's events, in its own thread, until the driver is closed."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._told_at: dict[tuple[str, str], float] = {}

    def start(self) -> None:
        """Publish events from now on."""
        loop, events = asyncio.get_running_loop(), self._daemon.resources.events()

        def listen() -> None:
            try:
                for event in events:
                    loop.call_soon_threadsafe(self._take, event)
            except Exception:  # drivers are third-party code, and nobody would see what a thread raises
                if not loop.is_closed():  # otherwise nobody is interested any more
                    _log.exception("events of the containers' cgroups are no longer reported")

        Thread(target=listen, name="events of groups", daemon=True).start()

    def _take(self, event: GroupEvent) -> None:
        container = self._daemon.containers.find(event.id)
        if container is None:
            return
        match event.action:
            case "oom_kill":
                note_oom_kills(self._daemon, container, event.count)
            case "memory_high" if self._is_due(event):
                self._daemon.publish(container, "memory_high", count=str(event.count))
            case "pressure" if self._is_due(event):
                resource, _, kind = event.detail.partition(" ")
                self._daemon.publish(container, "pressure", resource=resource, kind=kind)

    def _is_due(self, event: GroupEvent) -> bool:
        """Whether to publish again: the kernel may count thousands per second under pressure, but one is enough."""
        now, key = time.monotonic(), (event.id, event.action + event.detail)
        if now - self._told_at.get(key, -_NOT_OFTENER_THAN_S) < _NOT_OFTENER_THAN_S:
            return False
        self._told_at = {one: at for one, at in self._told_at.items() if now - at < _NOT_OFTENER_THAN_S} | {key: now}
        return True


def note_oom_kills(daemon: Daemon, container: Container, count: int) -> None:
    """Publish an `oom` event if the OOM kills since the container's start, now `count`, have increased."""
    if count > container.state.oom_kills:
        container.state.oom_kills, container.state.oom_killed = count, True
        daemon.publish(container, "oom")
