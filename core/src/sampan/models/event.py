"""What happened in the engine."""

from __future__ import annotations

from pydantic import Field

from sampan.models.base import Int64, Model, Request, omitempty


class EventActor(Model):
    """What it happened to."""

    id: str = Field(alias="ID")
    attributes: dict[str, str] = Field(default_factory=dict)


class Event(Model):
    """One event. `status`, `id` and `from` are what clients before API 1.22 read; `seq` is ours, and grows by one."""

    status: str = omitempty("", alias="status")
    id: str = omitempty("", alias="id")
    from_: str = omitempty("", alias="from")
    type: str
    action: str
    actor: EventActor
    scope: str = omitempty("local", alias="scope")
    time: Int64 = omitempty(0, alias="time")
    time_nano: Int64 = omitempty(0, alias="timeNano")
    seq: Int64 | None = omitempty(alias="sampanSeq")


class WatchEvents(Request):
    """system_events; the bounds are nanoseconds since the epoch, `None` is no bound.

    `after_seq`, instead of `since_ns`, is the number of the last event that the caller has seen.
    """

    since_ns: int | None = None
    after_seq: int | None = None
    until_ns: int | None = None
    filters: dict[str, list[str]] = Field(default_factory=dict)
