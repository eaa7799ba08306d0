"""`sampan ps`."""

from __future__ import annotations

import json
import time
from typing import Any

from sampan.cli import human
from sampan.cli.client.client import filters_of
from sampan.cli.command import FILTER, NUMBER, SWITCH, Command, Flag, Options
from sampan.cli.output import ellipsis, joined_labels, print_rows, short_id
from sampan.cli.reference import familiar
from sampan.cli.session import Session

HEADERS = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
    "HealthStatus": "HEALTH STATUS",
}
_TABLE = "table {{.ID}}\\t{{.Image}}\\t{{.Command}}\\t{{.RunningFor}}\\t{{.Status}}\\t{{.Ports}}\\t{{.Names}}"


def list_containers(session: Session, options: Options) -> None:
    """Print the running containers, or all."""
    template = _template(session, options)
    last = 1 if options.on("latest") and options.number("last") == -1 else options.number("last")
    query = {
        "all": options.on("all") or last > 0,
        "limit": last if last > 0 else None,
        "size": options.on("size") or ".Size" in template,
        "filters": filters_of(options.texts("filter")),
    }
    containers = session.client.call("GET", "/containers/json", query=query)
    rows = [row(container, short=not options.on("no-trunc")) for container in containers]
    print_rows(rows, HEADERS, template)


def _template(session: Session, options: Options) -> str:
    if options.on("quiet"):
        return "{{.ID}}"
    template = options.text("format") or session.setting("psFormat") or "table"
    if template == "table":
        return _TABLE + ("\\t{{.Size}}" if options.on("size") else "")
    return template


def row(container: dict[str, Any], *, short: bool) -> dict[str, Any]:
    """The fields of a container's row."""
    labels = container.get("Labels") or {}
    mounts = container.get("Mounts") or []
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    names = [mount.get("Name") or mount.get("Source", "") for mount in mounts]
    command = ellipsis(container["Command"], 20) if short else container["Command"]
    return {
        "ID": short_id(container["Id"]) if short else container["Id"],
        "Names": _names(container.get("Names") or [], short=short),
        "Image": _image(container, short=short),
        "Command": json.dumps(command, ensure_ascii=False),
        "CreatedAt": timestamp(container["Created"]),
        "RunningFor": f"{human.ago(time.time() - container['Created'])} ago",
        "Ports": displayed_ports(container.get("Ports") or []),
        "State": container.get("State", ""),
        "Status": container.get("Status", ""),
        "Size": _size(container),
        "Labels": joined_labels(labels),
        "Label": lambda name: labels.get(name, ""),
        "Mounts": ",".join(ellipsis(name, 15) if short else name for name in names),
        "LocalVolumes": str(sum(mount.get("Driver") == "local" for mount in mounts)),
        "Networks": ",".join(networks),
        "Platform": None,
        "HealthStatus": _health(container),
    }


def timestamp(seconds: int) -> str:
    """A time as Go prints it: `2026-11-23 22:29:23 +0000 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(seconds))


def _names(names: list[str], *, short: bool) -> str:
    plain = [name.removeprefix("/") for name in names]
    if not short:
        return ",".join(plain)
    # A name with another slash is another container's link to this one.
    return next((name for name in plain if "/" not in name), "")


def _image(container: dict[str, Any], *, short: bool) -> str:
    image = str(container.get("Image") or "")
    if not image:
        return "<no image>"
    if not short:
        return image
    if short_id(image) == short_id(container.get("ImageID", "")):
        return short_id(image)
    return familiar(image.partition("@")[0]) if not image.startswith("sha256:") else image


def _size(container: dict[str, Any]) -> str:
    whole = container.get("SizeRootFs") or 0
    written = human.size(container.get("SizeRw") or 0)
    return f"{written} (virtual {human.size(whole)})" if whole > 0 else written


def _health(container: dict[str, Any]) -> str:
    """The health; before API 1.52 it is only in the status, such as `Up 2 minutes (health: starting)`."""
    if health := (container.get("Health") or {}).get("Status"):
        return str(health)
    _, _, inner = str(container.get("Status", "")).partition("(")
    state = inner.removesuffix(")").removeprefix("health: ")
    return state if state in ("healthy", "unhealthy", "starting") else ""


def displayed_ports(ports: list[dict[str, Any]]) -> str:
    """Ports as `0.0.0.0:8080->80/tcp, 9000-9001/tcp`; consecutive ports with the same mapping are one range."""
    ranges: dict[str, list[list[int]]] = {}
    mapped = []
    for port in sorted(ports, key=_port_order):
        private, public, protocol = port["PrivatePort"], port.get("PublicPort") or 0, port["Type"]
        address = port.get("IP") or ""
        if address and public != private:
            mapped.append(f"{_bracketed(address)}:{public}->{private}/{protocol}")
            continue
        runs = ranges.setdefault(f"{address}/{protocol}" if address else protocol, [])
        if runs and private == runs[-1][1] + 1:
            runs[-1][1] = private
        elif not runs or private != runs[-1][1]:
            runs.append([private, private])
    grouped = [_port_range(key, first, last) for key, runs in ranges.items() for first, last in runs]
    return ", ".join(grouped + mapped)


def _port_order(port: dict[str, Any]) -> tuple[int, str, int, str]:
    return port["PrivatePort"], port.get("IP") or "", port.get("PublicPort") or 0, port["Type"]


def _port_range(key: str, first: int, last: int) -> str:
    address, _, protocol = key.rpartition("/")
    ports = str(first) if first == last else f"{first}-{last}"
    return f"{_bracketed(address)}:{ports}->{ports}/{protocol}" if address else f"{ports}/{protocol}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


LIST = Command(
    "ps [OPTIONS]",
    "List containers",
    list_containers,
    (
        Flag("all", "Show all containers (default shows just running)", SWITCH, "a"),
        Flag("filter", "Filter output based on conditions provided", FILTER, "f"),
        Flag("format", "Format output: table, table TEMPLATE, json, or a Go template"),
        Flag("last", "Show n last created containers (includes all states)", NUMBER, "n", default=-1),
        Flag("latest", "Show the latest created container (includes all states)", SWITCH, "l"),
        Flag("no-trunc", "Don't truncate output", SWITCH),
        Flag("quiet", "Only display container IDs", SWITCH, "q"),
        Flag("size", "Display total file sizes", SWITCH, "s"),
    ),
)
