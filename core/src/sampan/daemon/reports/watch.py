"""system_events: current and past events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from sampan.daemon import filters
from sampan.daemon.clock import now_ns
from sampan.daemon.events import LOST, EventLog, Occurrence
from sampan.engine import Job
from sampan.errdefs import InvalidArgument
from sampan.images.reference import Reference
from sampan.models import Event, EventActor, WatchEvents

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_BY_NAME = ("config", "container", "daemon", "network", "node", "plugin", "secret", "service", "volume")


async def system_events(daemon: Daemon, job: Job[WatchEvents]) -> None:
    """Send events as they happen, and past ones since a time or a number; ends at `until`."""
    output, request, events = job.require_output(), job.request, daemon.events
    position = await events.position(after_seq=request.after_seq, since_ns=request.since_ns)
    until_ns = request.until_ns
    if until_ns is not None and request.since_ns is None and request.after_seq is None:
        position = await events.position(since_ns=0)  # Docker's rule: `until` alone asks for the past
    await output.open()
    try:
        async with asyncio.timeout(_seconds_left(until_ns)):
            async for occurrence in _told(events, position, until_ns):
                if is_wanted(request.filters, occurrence):
                    await output.write(_event(occurrence))
    except TimeoutError:
        return


def _told(events: EventLog, position: int, until_ns: int | None) -> AsyncIterator[Occurrence]:
    if until_ns is not None and until_ns <= now_ns():
        return events.past(position, until_ns)
    return events.follow(position)


def _seconds_left(until_ns: int | None) -> float | None:
    """How long to follow, in seconds; past events are sent without a time limit."""
    left_ns = 0 if until_ns is None else until_ns - now_ns()
    return left_ns / 1e9 if left_ns > 0 else None


def is_wanted(wanted: filters.Filters, one: Occurrence) -> bool:
    """Docker's rules (moby daemon/events/filter.go): a container's events also count as those of its image.

    As there, filters unknown to Docker match everything. `LOST` events concern everybody.
    """
    if one.action == LOST:
        return True
    names = (one.actor_id, one.attributes.get("name", ""))
    image = one.attributes.get("name" if one.type == "image" else "image", "")
    return (
        filters.equals(wanted, "type", one.type)
        and filters.equals(wanted, "event", one.action, one.action.partition(":")[0])
        and filters.equals(wanted, "scope", "local")
        and filters.matches_labels(wanted, one.attributes)
        and all(any(filters.starts(wanted, kind, name) for name in names) for kind in _BY_NAME)
        and filters.equals(wanted, "image", one.actor_id, image, _without_tag(one.actor_id), _without_tag(image))
    )


def _without_tag(image: str) -> str:
    try:
        return Reference.parse(image).familiar_name
    except InvalidArgument:  # an ID
        return image


def _event(one: Occurrence) -> Event:
    return Event(
        type=one.type,
        action=one.action,
        actor=EventActor(id=one.actor_id, attributes=dict(one.attributes)),
        scope="local",
        time=one.time_ns // 1_000_000_000,
        time_nano=one.time_ns,
        seq=one.seq,
    )
