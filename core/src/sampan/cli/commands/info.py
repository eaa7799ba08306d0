"""`sampan info`."""

from __future__ import annotations

from typing import Any

from sampan import __version__
from sampan.cli.command import Command, Flag, Options
from sampan.cli.human import binary_size
from sampan.cli.output import render
from sampan.cli.session import Session

Info = dict[str, Any]


def info(session: Session, options: Options) -> None:
    """Show information about the daemon and its host."""
    document = session.client.call("GET", "/info")
    client = {"Version": __version__, "Context": "default", "Debug": session.options.on("debug")}
    if template := options.text("format"):
        return session.say(render(template, {**document, "ClientInfo": client}))
    lines = ["Client:", f" Version:    {__version__}", f" Debug Mode: {_word(client['Debug'])}", "", "Server:"]
    session.say("\n".join(lines + _engine(document) + _host(document) + _registries(document)))
    for warning in document.get("Warnings") or []:
        session.warn(warning)
    return None


def _engine(document: Info) -> list[str]:
    plugins = document.get("Plugins") or {}
    runtimes = document.get("Runtimes") or {}
    lines = [
        f" Containers: {document['Containers']}",
        f"  Running: {document['ContainersRunning']}",
        f"  Paused: {document['ContainersPaused']}",
        f"  Stopped: {document['ContainersStopped']}",
        f" Images: {document['Images']}",
        *_filled(document, {"ServerVersion": "Server Version", "Driver": "Storage Driver"}),
        *(f"  {name}: {value}" for name, value in document.get("DriverStatus") or []),
        *_filled(
            document,
            {"LoggingDriver": "Logging Driver", "CgroupDriver": "Cgroup Driver", "CgroupVersion": "Cgroup Version"},
        ),
        " Plugins:",
        *(
            f"  {kind}: {' '.join(plugins.get(kind) or [])}"
            for kind in ("Volume", "Network", "Authorization", "Log")
            if plugins.get(kind) or kind != "Authorization"
        ),
        f" Swarm: {(document.get('Swarm') or {}).get('LocalNodeState', 'inactive')}",
    ]
    if runtimes:
        lines += [f" Runtimes: {' '.join(runtimes)}", f" Default Runtime: {document.get('DefaultRuntime', '')}"]
    lines += _filled(document, {"InitBinary": "Init Binary"})
    for title, key in (("containerd", "ContainerdCommit"), ("runc", "RuncCommit"), ("init", "InitCommit")):
        if identity := (document.get(key) or {}).get("ID"):
            lines.append(f" {title} version: {identity}")
    return lines + _security(document)


def _security(document: Info) -> list[str]:
    options = document.get("SecurityOptions") or []
    lines = [" Security Options:"] if options else []
    for option in options:
        fields = dict(field.partition("=")[::2] for field in option.split(","))
        lines.append(f"  {fields.get('name', option)}")
        if "profile" in fields:
            lines.append(f"   Profile: {fields['profile']}")
    return lines


def _host(document: Info) -> list[str]:
    return [
        *_filled(
            document,
            {
                "KernelVersion": "Kernel Version",
                "OperatingSystem": "Operating System",
                "OSType": "OSType",
                "Architecture": "Architecture",
                "NCPU": "CPUs",
            },
        ),
        f" Total Memory: {binary_size(document.get('MemTotal') or 0)}",
        *_filled(document, {"Name": "Name", "ID": "ID", "DockerRootDir": "Docker Root Dir"}),
        f" Debug Mode: {_word(document.get('Debug'))}",
        *_filled(document, {"HttpProxy": "HTTP Proxy", "HttpsProxy": "HTTPS Proxy", "NoProxy": "No Proxy"}),
        *([" Labels:"] if document.get("Labels") else []),
        *(f"  {label}" for label in document.get("Labels") or []),
        f" Experimental: {_word(document.get('ExperimentalBuild'))}",
    ]


def _registries(document: Info) -> list[str]:
    config = document.get("RegistryConfig") or {}
    indexes = config.get("IndexConfigs") or {}
    insecure = [name for name, index in indexes.items() if not index.get("Secure", True)]
    insecure += config.get("InsecureRegistryCIDRs") or []
    pools = document.get("DefaultAddressPools") or []
    firewall = document.get("FirewallBackend") or {}
    return [
        *([" Insecure Registries:"] if insecure else []),
        *(f"  {name}" for name in insecure),
        *([" Registry Mirrors:"] if config.get("Mirrors") else []),
        *(f"  {mirror}" for mirror in config.get("Mirrors") or []),
        f" Live Restore Enabled: {_word(document.get('LiveRestoreEnabled'))}",
        *([" Default Address Pools:"] if pools else []),
        *(f"   Base: {pool['Base']}, Size: {pool['Size']}" for pool in pools),
        *([f" Firewall Backend: {firewall['Driver']}"] if firewall else []),
        *(f"  {name}: {value}" for name, value in firewall.get("Info") or []),
    ]


def _filled(document: Info, titles: dict[str, str]) -> list[str]:
    """The lines for keys that have a value."""
    return [f" {title}: {document[key]}" for key, title in titles.items() if document.get(key)]


def _word(value: Any) -> str:
    return "true" if value else "false"


INFO = Command(
    "info [OPTIONS]",
    "Display system-wide information",
    info,
    (Flag("format", "Format output: json, or a Go template", short="f"),),
)
