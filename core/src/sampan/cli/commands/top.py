"""`sampan top`: the processes of a container."""

from __future__ import annotations

from sampan.cli.command import Command, Options
from sampan.cli.commands.each import segment
from sampan.cli.output import aligned
from sampan.cli.session import Session

_LEAST_WIDTH = 20


def top(session: Session, options: Options) -> None:
    """Print the output of the host's `ps` for the container, with the given options."""
    name, *arguments = options.args
    query = {"ps_args": " ".join(arguments)}
    answer = session.client.call("GET", f"/containers/{segment(name)}/top", query=query)
    rows = [answer["Titles"], *(answer["Processes"] or [])]
    session.say(aligned("\n".join("\t".join(row) for row in rows), least=_LEAST_WIDTH))


TOP = Command(
    "top CONTAINER [ps OPTIONS]",
    "Display the running processes of a container",
    top,
    least=1,
    most=None,
    interspersed=False,
)
