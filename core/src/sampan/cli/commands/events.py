"""`sampan events`."""

from __future__ import annotations

import time
from typing import Any

from sampan.cli.client.client import filters_of
from sampan.cli.command import FILTER, Command, Flag, Options
from sampan.cli.commands.logs import timestamp_of
from sampan.cli.output import checked_template, render
from sampan.cli.session import Session


def events(session: Session, options: Options) -> None:
    """Print events until `--until` or until interrupted."""
    if template := options.text("format"):
        checked_template(template)
    query = {
        "since": _since(options.text("since")),
        "until": timestamp_of(options.text("until"), "until"),
        "filters": filters_of(options.texts("filter")),
    }
    for event in session.client.stream("GET", "/events", query=query):
        session.say(render(template, event) if template else _line(event))


def _since(text: str) -> str:
    """A time, or `seq:NUMBER`, which is parsed by the daemon."""
    return text if text.startswith("seq:") else timestamp_of(text, "since")


def _line(event: dict[str, Any]) -> str:
    actor = event.get("Actor") or {}
    attributes = ", ".join(f"{name}={value}" for name, value in sorted((actor.get("Attributes") or {}).items()))
    nanoseconds = event.get("timeNano") or event.get("time", 0) * 10**9
    line = f"{_moment(nanoseconds)} {event['Type']} {event['Action']} {actor.get('ID', '')}"
    return f"{line} ({attributes})" if attributes else line


def _moment(nanoseconds: int) -> str:
    local = time.localtime(nanoseconds // 10**9)
    zone = time.strftime("%z", local)
    zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{nanoseconds % 10**9:09}{zone}"


EVENTS = Command(
    "events [OPTIONS]",
    "Get real time events from the server",
    events,
    (
        Flag("filter", "Filter output based on conditions provided", FILTER, "f"),
        Flag("format", "Format output: json, or a Go template"),
        Flag("since", "Show all events created since timestamp, or after seq:NUMBER"),
        Flag("until", "Stream events until this timestamp"),
    ),
)
