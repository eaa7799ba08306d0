"""`sampan logs`."""

from __future__ import annotations

import time
from datetime import datetime

from sampan.cli.client.frames import Demultiplexer
from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.commands.each import segment
from sampan.cli.errors import CliError
from sampan.cli.human import duration_ns
from sampan.cli.session import Session
from sampan.cli.terminal import STDOUT, write_all


def logs(session: Session, options: Options) -> None:
    """Print a container's output, stdout to stdout and stderr to stderr."""
    document = session.client.call("GET", f"/containers/{segment(options.args[0])}/json")
    query = {
        "stdout": True,
        "stderr": True,
        "since": timestamp_of(options.text("since"), "since"),
        "until": timestamp_of(options.text("until"), "until"),
        "timestamps": options.on("timestamps"),
        "follow": options.on("follow"),
        "tail": options.text("tail"),
        "details": options.on("details"),
    }
    response = session.client.request("GET", f"/containers/{document['Id']}/logs", query=query)
    frames = None if document["Config"]["Tty"] else Demultiplexer()
    for content in response.chunks():
        if frames is None:
            write_all(STDOUT, content)
            continue
        for stream, payload in frames.feed(content):
            write_all(stream, payload)


def timestamp_of(text: str, name: str) -> str:
    """Convert a Go duration (ago), an RFC 3339 date or seconds to the API's format, seconds with a fraction.

    Raises `CliError`.
    """
    if not text:
        return ""
    try:
        if text != "0":  # which is the epoch
            return _fixed(time.time_ns() - duration_ns(text))
    except ValueError:
        pass  # not a duration
    try:
        seconds, _, fraction = text.partition(".")
        return f"{int(seconds)}.{int((fraction or '0')[:9].ljust(9, '0')):09}"
    except ValueError:
        pass  # not a number
    try:
        return _fixed(_nanoseconds(text))
    except ValueError:
        raise CliError(f'invalid value for "{name}": failed to parse value as time or duration: "{text}"') from None


def _nanoseconds(text: str) -> int:
    head, dot, tail = text.partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))] if dot else ""
    moment = datetime.fromisoformat(head + tail[len(digits) :])
    return int(moment.timestamp()) * 10**9 + int(digits[:9].ljust(9, "0") if digits else 0)


def _fixed(nanoseconds: int) -> str:
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"


LOGS = Command(
    "logs [OPTIONS] CONTAINER",
    "Fetch the logs of a container",
    logs,
    (
        Flag("details", "Show extra details provided to logs", SWITCH),
        Flag("follow", "Follow log output", SWITCH, "f"),
        Flag("since", 'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")'),
        Flag("tail", "Number of lines to show from the end of the logs", short="n", default="all"),
        Flag("timestamps", "Show timestamps", SWITCH, "t"),
        Flag("until", 'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")'),
    ),
    least=1,
    most=1,
)
