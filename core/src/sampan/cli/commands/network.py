"""`sampan network ls`."""

from __future__ import annotations

from typing import Any

from sampan.cli.client.client import filters_of
from sampan.cli.command import FILTER, SWITCH, Command, Flag, Options
from sampan.cli.output import joined_labels, print_rows, short_id
from sampan.cli.session import Session

HEADERS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


def list_networks(session: Session, options: Options) -> None:
    """Print the networks by name."""
    networks = session.client.call("GET", "/networks", query={"filters": filters_of(options.texts("filter"))})
    template = options.text("format") or session.setting("networksFormat") or "table"
    if options.on("quiet"):
        template = "{{.ID}}"
    elif template == "table":
        template = "table {{.ID}}\\t{{.Name}}\\t{{.Driver}}\\t{{.Scope}}"
    networks = sorted(networks, key=lambda network: str(network["Name"]))
    print_rows([_row(network, short=not options.on("no-trunc")) for network in networks], HEADERS, template)


def _row(network: dict[str, Any], *, short: bool) -> dict[str, Any]:
    labels = network.get("Labels") or {}
    return {
        "ID": short_id(network["Id"]) if short else network["Id"],
        "Name": network["Name"],
        "Driver": network["Driver"],
        "Scope": network["Scope"],
        "IPv4": str(network.get("EnableIPv4", True)).lower(),
        "IPv6": str(network.get("EnableIPv6", False)).lower(),
        "Internal": str(network.get("Internal", False)).lower(),
        "Labels": joined_labels(labels),
        "Label": lambda name: labels.get(name, ""),
        "CreatedAt": network.get("Created", ""),
    }


LIST = Command(
    "ls [OPTIONS]",
    "List networks",
    list_networks,
    (
        Flag("filter", 'Provide filter values (e.g. "driver=bridge")', FILTER, "f"),
        Flag("format", "Format output: table, table TEMPLATE, json, or a Go template"),
        Flag("no-trunc", "Do not truncate the output", SWITCH),
        Flag("quiet", "Only display network IDs", SWITCH, "q"),
    ),
)
