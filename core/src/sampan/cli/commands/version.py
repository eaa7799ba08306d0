"""`sampan version`."""

from __future__ import annotations

import os
import sys
from typing import Any

from sampan import __version__
from sampan.cli.client.client import API_VERSION
from sampan.cli.command import Command, Flag, Options
from sampan.cli.errors import CliError
from sampan.cli.session import Session

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
_ENGINE_ROWS = (
    ("Version", "Version"),
    ("API version", "ApiVersion"),
    ("Go version", "GoVersion"),
    ("Python version", "PythonVersion"),
    ("Git commit", "GitCommit"),
    ("Built", "BuildTime"),
    ("OS/Arch", "Os"),
    ("Experimental", "Experimental"),
)


def _client_version(api_version: str) -> dict[str, str]:
    machine = os.uname().machine
    return {
        "Version": __version__,
        "ApiVersion": api_version,
        "DefaultAPIVersion": API_VERSION,
        "PythonVersion": ".".join(map(str, sys.version_info[:3])),
        "Os": "linux",
        "Arch": _ARCHITECTURES.get(machine, machine),
    }


def version(session: Session, options: Options) -> int:
    """Show the versions of client and daemon; without a daemon, show only the client's and fail."""
    failure, server = None, None
    try:
        server = session.client.call("GET", "/version")
        api_version = session.client.version
    except CliError as error:
        failure, api_version = error, API_VERSION
    document = {"Client": _client_version(api_version), "Server": server}
    if template := options.text("format"):
        from sampan.cli.output import render

        session.say(render(template, document))
    else:
        session.say("\n".join(_client_lines(document["Client"]) + _server_lines(server)))
    if failure:
        raise failure
    return 0


def _client_lines(client: Any) -> list[str]:
    api = client["ApiVersion"]
    if api != client["DefaultAPIVersion"]:
        api += f" (downgraded from {client['DefaultAPIVersion']})"
    return [
        "Client:",
        f" Version:           {client['Version']}",
        f" API version:       {api}",
        f" Python version:    {client['PythonVersion']}",
        f" OS/Arch:           {client['Os']}/{client['Arch']}",
    ]


def _server_lines(server: Any) -> list[str]:
    if server is None:
        return []
    name = (server.get("Platform") or {}).get("Name", "")
    lines = ["", f"Server: {name}".rstrip()]
    for component in server.get("Components") or [
        {"Name": "Engine", "Version": server["Version"], "Details": server}
    ]:
        lines.append(f" {component['Name']}:")
        lines += _component_lines(component)
    return lines


def _component_lines(component: dict[str, Any]) -> list[str]:
    details = {"Version": component["Version"], **(component.get("Details") or {})}
    if component["Name"] != "Engine":
        return [f"  {key + ':':<18}{value}" for key, value in details.items()]
    details["Os"] = f"{details.get('Os', '')}/{details.get('Arch', '')}"
    if "MinAPIVersion" in details:
        details["ApiVersion"] = f"{details['ApiVersion']} (minimum version {details['MinAPIVersion']})"
    return [f"  {title + ':':<18}{details[key]}" for title, key in _ENGINE_ROWS if key in details]


VERSION = Command(
    "version [OPTIONS]",
    "Show the sampan version information",
    version,
    (Flag("format", "Format output using a custom template", short="f"),),
)
