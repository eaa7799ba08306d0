"""`sampan stats`."""

from __future__ import annotations

import time
from typing import Any

from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.commands.each import segment
from sampan.cli.errors import DaemonError
from sampan.cli.output import print_rows, rows_text
from sampan.cli.session import Session
from sampan.cli.terminal import STDOUT, write_text
from sampan.cli.usage import Usage

HEADERS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
    "History": "CPU HISTORY",
}
_TABLE = (
    "table {{.ID}}\\t{{.Name}}\\t{{.CPUPerc}}\\t{{.MemUsage}}\\t{{.MemPerc}}\\t{{.NetIO}}\\t{{.BlockIO}}\\t{{.PIDs}}"
)
_LIVE_TABLE = _TABLE + "\\t{{.History}}"
_INTERVAL_S = 1.0
_FIRST_INTERVAL_S = 0.5
_HOME, _CLEAR, _LINE_END, _REST = "\033[H", "\033[2J", "\033[K", "\033[J"


def stats(session: Session, options: Options) -> None:
    """Show the resource usage of containers, continuously or once."""
    live = not options.on("no-stream")
    template = options.text("format") or session.setting("statsFormat") or "table"
    if template == "table":
        template = _LIVE_TABLE if live else _TABLE
    watched = _Watched(session, options)
    watched.read()
    time.sleep(_FIRST_INTERVAL_S if live else _INTERVAL_S)
    watched.read()
    if not live:
        print_rows(watched.rows(), HEADERS, template)
        return
    first = True
    while watched.usages or not options.args:
        _draw(rows_text(watched.rows(), HEADERS, template), first=first)
        first = False
        time.sleep(_INTERVAL_S)
        watched.read()


class _Watched:
    """The containers shown: those named, or currently all running (or all existing) ones."""

    def __init__(self, session: Session, options: Options) -> None:
        self._session = session
        self._named = options.args
        self._all = options.on("all")
        self._full = options.on("no-trunc")
        self.usages: dict[str, Usage] = {}
        for name in self._named:  # a missing one is an error, and nothing is shown
            session.client.call("GET", f"/containers/{segment(name)}/json")

    def read(self) -> None:
        """Take one reading of each container."""
        names = dict.fromkeys(self._named or self._running())
        self.usages = {name: self.usages.get(name) or Usage(name) for name in names}
        for name in names:
            try:
                path = f"/containers/{segment(name)}/stats"
                self.usages[name].add(self._session.client.call("GET", path, query={"stream": "0", "one-shot": True}))
            except DaemonError as error:
                if error.code != 404:
                    raise
                del self.usages[name]  # removed in the meantime

    def rows(self) -> list[dict[str, Any]]:
        """The row of each container."""
        return [usage.row(full=self._full) for usage in self.usages.values()]

    def _running(self) -> list[str]:
        found = self._session.client.call("GET", "/containers/json", query={"all": self._all})
        return [container["Id"] if self._full else container["Id"][:12] for container in found]


def _draw(text: str, *, first: bool) -> None:
    """Overwrite the previous output line by line, to avoid flicker."""
    lines = "".join(line + _LINE_END + "\n" for line in text.splitlines())
    write_text(STDOUT, (_CLEAR if first else "") + _HOME + lines + _REST)


STATS = Command(
    "stats [OPTIONS] [CONTAINER...]",
    "Display a live stream of container(s) resource usage statistics",
    stats,
    (
        Flag("all", "Show all containers (default shows just running)", SWITCH, "a"),
        Flag("format", "Format output using a custom template: 'table', 'table TEMPLATE', 'json', or a Go template"),
        Flag("no-stream", "Disable streaming stats and only pull the first result", SWITCH),
        Flag("no-trunc", "Do not truncate output", SWITCH),
    ),
    least=0,
    most=None,
)
