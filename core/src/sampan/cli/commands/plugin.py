"""`sampan plugin ls`."""

from __future__ import annotations

from typing import Any

from sampan.cli.client.client import filters_of
from sampan.cli.command import FILTER, SWITCH, Command, Flag, Options
from sampan.cli.output import ellipsis, print_rows, short_id
from sampan.cli.session import Session

HEADERS = {
    "ID": "ID",
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "Enabled": "ENABLED",
    "PluginReference": "PLUGIN REFERENCE",
}


def list_plugins(session: Session, options: Options) -> None:
    """Print the plugins that the daemon reports."""
    plugins = session.client.call("GET", "/plugins", query={"filters": filters_of(options.texts("filter"))})
    template = options.text("format") or session.setting("pluginsFormat") or "table"
    if options.on("quiet"):
        template = "{{.ID}}"
    elif template == "table":
        template = "table {{.ID}}\\t{{.Name}}\\t{{.Description}}\\t{{.Enabled}}"
    plugins = sorted(plugins or [], key=lambda plugin: str(plugin["Name"]))
    print_rows([_row(plugin, short=not options.on("no-trunc")) for plugin in plugins], HEADERS, template)


def _row(plugin: dict[str, Any], *, short: bool) -> dict[str, Any]:
    description = " ".join((plugin.get("Config") or {}).get("Description", "").split())
    return {
        "ID": short_id(plugin["Id"]) if short else plugin["Id"],
        "Name": plugin["Name"],
        "Description": ellipsis(description, 45) if short else description,
        "Enabled": plugin["Enabled"],
        "PluginReference": plugin.get("PluginReference", ""),
    }


LIST = Command(
    "ls [OPTIONS]",
    "List plugins",
    list_plugins,
    (
        Flag("filter", 'Provide filter values (e.g. "enabled=true")', FILTER, "f"),
        Flag("format", "Format output: table, table TEMPLATE, json, or a Go template"),
        Flag("no-trunc", "Don't truncate output", SWITCH),
        Flag("quiet", "Only display plugin IDs", SWITCH, "q"),
    ),
)
