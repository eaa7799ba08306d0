"""The system's jobs: version, drivers."""

from __future__ import annotations

import hashlib
import platform
from typing import TYPE_CHECKING

from sampan import __version__
from sampan.drivers.loader import Provenance
from sampan.engine import Job
from sampan.errdefs import NotFound
from sampan.models import (
    ComponentVersion,
    DriverInfo,
    InspectPlugin,
    ListDrivers,
    ListPlugins,
    PlatformInfo,
    Plugin,
    PluginConfig,
    PluginInterface,
    SystemVersion,
    SystemVersionRequest,
)
from sampan.models.versions import NEWEST_API, OLDEST_API

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def system_version(daemon: Daemon, job: Job[SystemVersionRequest]) -> SystemVersion:
    """The versions of the daemon and of what it uses."""
    programs = [
        ComponentVersion(name=one.name, version=one.version, details={"GitCommit": one.commit})
        for one in await daemon.programs.list()
    ]
    drivers = [
        ComponentVersion(name=f"{one.distribution}", version=one.version, details={"Driver": one.name})
        for one in daemon.provenance
        if one.error is None
    ]
    return SystemVersion(
        platform=PlatformInfo(name="sampan"),
        components=[
            ComponentVersion(name="Engine", version=__version__, details=_engine_details()),
            *programs,
            *drivers,
        ],
        version=__version__,
        api_version=NEWEST_API,
        min_api_version=OLDEST_API,
        git_commit="",
        go_version="",
        os="linux",
        arch=_architecture(),
        kernel_version=platform.release(),
        build_time="",
    )


async def driver_list(daemon: Daemon, job: Job[ListDrivers]) -> list[DriverInfo]:
    """Which package and version provides each driver, and which are broken."""
    return _drivers(daemon)


async def plugin_list(daemon: Daemon, job: Job[ListPlugins]) -> list[Plugin]:
    """The packages that provide drivers, in the format of Docker's plugins."""
    return [_plugin(one) for one in daemon.provenance]


async def plugin_inspect(daemon: Daemon, job: Job[InspectPlugin]) -> Plugin:
    """One of these packages."""
    name = job.request.name
    for plugin in map(_plugin, daemon.provenance):
        if name in (plugin.name, plugin.name.partition(":")[0]) or (name and plugin.id.startswith(name)):
            return plugin
    raise NotFound(f'plugin "{name}" not found')


def _drivers(daemon: Daemon) -> list[DriverInfo]:
    chosen = {
        ("storage", daemon.settings.storage_driver),
        ("network", daemon.settings.network_driver),
        ("resource", daemon.settings.resource_driver),
    }
    return [
        DriverInfo(
            kind=one.kind,
            name=one.name,
            distribution=one.distribution,
            version=one.version,
            entry_point=one.entry_point,
            selected=(one.kind, one.name) in chosen,
            error=one.error,
        )
        for one in daemon.provenance
    ]


def _plugin(one: Provenance) -> Plugin:
    """A driver package; Docker's tables show name, description and whether it is enabled."""
    reference = f"{one.distribution}:{one.version}"
    return Plugin(
        id=hashlib.sha256(f"{reference}/{one.kind}/{one.name}".encode()).hexdigest(),
        name=reference,
        enabled=one.error is None,
        plugin_reference=reference,
        config=PluginConfig(
            description=one.error or f"{one.kind} driver {one.name}",
            interface=PluginInterface(types=[f"sampan.{one.kind}driver/1.0"]),
        ),
    )


def _engine_details() -> dict[str, str]:
    """The engine's own details as clients show them, who read them here rather than from the top-level fields."""
    return {
        "ApiVersion": NEWEST_API,
        "MinAPIVersion": OLDEST_API,
        "Os": "linux",
        "Arch": _architecture(),
        "KernelVersion": platform.release(),
        "GoVersion": f"(none: Python {platform.python_version()})",
        "GitCommit": "",
        "BuildTime": "",
        "Experimental": "false",
    }


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
