"""`sampan port`: the published ports of a container, or with `--exposed` all ports reachable from outside."""

from __future__ import annotations

import re
from typing import Any

from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.commands.each import segment
from sampan.cli.errors import CliError
from sampan.cli.output import print_rows, short_id
from sampan.cli.session import Session

HEADERS = {
    "Address": "ADDRESS",
    "Port": "PORT",
    "Protocol": "PROTO",
    "Interfaces": "INTERFACES",
    "ReachedBy": "REACHED BY",
    "ContainerID": "CONTAINER ID",
    "Container": "CONTAINER",
    "ContainerPort": "CONTAINER PORT",
    "Network": "NETWORK",
}
_TABLE = (
    "table {{.Address}}\\t{{.Port}}\\t{{.Protocol}}\\t{{.Interfaces}}\\t{{.ReachedBy}}\\t{{.Container}}\\t"
    "{{.ContainerPort}}\\t{{.Network}}"
)
_REACHED_BY = {
    "everybody": "everybody",
    "host-firewall": "whom the host's firewall lets in",
    "route": "who has a route to it",
    "wire": "who is on its wire",
}


def port(session: Session, options: Options) -> None:
    """Print the host addresses of the container's published ports, or of one of them."""
    if options.on("exposed"):
        print_exposed(session, options)
        return
    name = options.args[0]
    document = session.client.call("GET", f"/containers/{segment(name)}/json")
    ports = (document.get("NetworkSettings") or {}).get("Ports") or {}
    if len(options.args) > 1:
        wanted = options.args[1] if "/" in options.args[1] else f"{options.args[1]}/tcp"
        lines = [_address(binding) for binding in ports.get(wanted) or []]
        if not lines:
            raise CliError(f"no public port '{options.args[1]}' published for {name}")
    else:
        lines = [f"{inner} -> {_address(binding)}" for inner, bindings in ports.items() for binding in bindings or []]
    for line in sorted(lines, key=_natural):
        session.say(line)


def _address(binding: dict[str, Any]) -> str:
    host = binding.get("HostIp") or ""
    return f"[{host}]:{binding['HostPort']}" if ":" in host else f"{host}:{binding['HostPort']}"


def _natural(text: str) -> list[tuple[bool, int, str]]:
    """A sort key that puts `9` before `10`."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.findall(r"\d+|\D+", text)]


def print_exposed(session: Session, options: Options) -> None:
    """Print the ports reachable from outside, of all containers or only of the named one."""
    if len(options.args) > 1:
        raise CliError("conflicting options: --exposed takes a container, but no port")
    found = session.client.call("GET", "/ports")
    if options.args:
        id = session.client.call("GET", f"/containers/{segment(options.args[0])}/json")["Id"]
        found = [one for one in found if one["ContainerID"] == id]
    template = options.text("format") or "table"
    print_rows([_row(one) for one in found], HEADERS, _TABLE if template == "table" else template)


def _row(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "Address": one["Address"],
        "Port": str(one["Port"] or "any"),
        "Protocol": one["Protocol"] or "any",
        "Interfaces": ",".join(one["Interfaces"]) or "-",
        "ReachedBy": _REACHED_BY.get(one["ReachedBy"], one["ReachedBy"]),
        "ContainerID": short_id(one["ContainerID"]),
        "Container": one["ContainerName"],
        "ContainerPort": str(one["ContainerPort"] or "any"),
        "Network": one["Network"],
    }


PORT = Command(
    "port CONTAINER [PRIVATE_PORT[/PROTO]]",
    "List port mappings or a specific mapping for the container",
    port,
    (
        Flag("exposed", "Show what can be reached from outside, in all containers or one", SWITCH),
        Flag("format", "With --exposed: table, table TEMPLATE, json, or a Go template"),
    ),
    least=1,
    most=2,
    alone="exposed",
)
