"""`sampan network` create, ls, connect, disconnect and rm."""

from __future__ import annotations

from typing import Any

from sampan.cli.client.client import filters_of
from sampan.cli.command import FILTER, NUMBER, SWITCH, Command, Flag, Options
from sampan.cli.command import LIST as LIST_KIND
from sampan.cli.commands.each import for_each, segment
from sampan.cli.create.ipam import separated
from sampan.cli.create.kinds import ADDRESS, ADDRESSES, LINK
from sampan.cli.errors import CliError, DaemonError
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


def connect(session: Session, options: Options) -> None:
    """Connect a container to a network."""
    network, container = options.args
    addresses = {
        "IPv4Address": options.value("ip"),
        "IPv6Address": options.value("ip6"),
        "LinkLocalIPs": options.texts("link-local-ip"),
    }
    settings = {
        "IPAMConfig": {name: value for name, value in addresses.items() if value},
        "Links": options.texts("link"),
        "Aliases": separated(options.texts("alias")),
        "DriverOpts": _driver_options(separated(options.texts("driver-opt"))),
        "GwPriority": options.number("gw-priority"),
    }
    body = {"Container": container, "EndpointConfig": settings}
    session.client.call("POST", f"/networks/{segment(network)}/connect", body=body)


def _driver_options(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise CliError("invalid key/value pair format in driver options")
        found[name.strip()] = value.strip()
    return found


def disconnect(session: Session, options: Options) -> None:
    """Disconnect a container from a network."""
    network, container = options.args
    body = {"Container": container, "Force": options.on("force")}
    session.client.call("POST", f"/networks/{segment(network)}/disconnect", body=body)


def remove(session: Session, options: Options) -> int:
    """Remove each network and print its name."""

    def one(name: str) -> str:
        try:
            session.client.call("DELETE", f"/networks/{segment(name)}")
        except DaemonError as error:
            if options.on("force") and error.code == 404:
                return ""
            raise
        return name

    return for_each(session, options.args, one)


CONNECT = Command(
    "connect [OPTIONS] NETWORK CONTAINER",
    "Connect a container to a network",
    connect,
    (
        Flag("alias", "Add network-scoped alias for the container", LIST_KIND),
        Flag("driver-opt", "Driver options for the endpoint", LIST_KIND),
        Flag("gw-priority", "The network of the highest priority has the default gateway", NUMBER),
        Flag("ip", 'IPv4 address (e.g., "172.30.100.104")', ADDRESS),
        Flag("ip6", 'IPv6 address (e.g., "2001:db8::33")', ADDRESS),
        Flag("link", "Add link to another container", LINK),
        Flag("link-local-ip", "Add a link-local address for the container", ADDRESSES),
    ),
    least=2,
    most=2,
)
DISCONNECT = Command(
    "disconnect [OPTIONS] NETWORK CONTAINER",
    "Disconnect a container from a network",
    disconnect,
    (Flag("force", "Force the container to disconnect from a network", SWITCH, "f"),),
    least=2,
    most=2,
)
REMOVE = Command(
    "rm NETWORK [NETWORK...]",
    "Remove one or more networks",
    remove,
    (Flag("force", "Do not error if the network does not exist", SWITCH, "f"),),
    least=1,
    most=None,
)
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
