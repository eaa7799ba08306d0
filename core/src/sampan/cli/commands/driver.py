"""`sampan drivers`: the drivers and the packages that provide them; not a docker command."""

from __future__ import annotations

from typing import Any

from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.output import print_rows
from sampan.cli.session import Session

HEADERS = {
    "Kind": "KIND",
    "Name": "NAME",
    "Package": "PACKAGE",
    "Version": "VERSION",
    "EntryPoint": "ENTRY POINT",
    "Selected": "SELECTED",
    "Error": "ERROR",
}
_TABLE = "table {{.Kind}}\\t{{.Name}}\\t{{.Selected}}\\t{{.Package}}\\t{{.Version}}\\t{{.Error}}"


def list_drivers(session: Session, options: Options) -> None:
    """Print the installed drivers, with an error for broken ones."""
    template = options.text("format") or "table"
    if options.on("quiet"):
        template = "{{.Name}}"
    drivers = session.client.call("GET", "/drivers")
    print_rows([_row(driver) for driver in drivers], HEADERS, _TABLE if template == "table" else template)


def _row(driver: dict[str, Any]) -> dict[str, Any]:
    return {
        "Kind": driver["Kind"],
        "Name": driver["Name"],
        "Package": driver["Distribution"],
        "Version": driver["Version"],
        "EntryPoint": driver.get("EntryPoint") or "",
        "Selected": "yes" if driver.get("Selected") else "no",
        "Error": driver.get("Error") or "",
    }


LIST = Command(
    "drivers [OPTIONS]",
    "List the drivers, and the packages that serve them",
    list_drivers,
    (
        Flag("format", "Format output: table, table TEMPLATE, json, or a Go template"),
        Flag("quiet", "Only display names", SWITCH, "q"),
    ),
)
