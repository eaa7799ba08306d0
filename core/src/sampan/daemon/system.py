"""The jobs of the system: info, version, events, drivers."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from sampan import __version__
from sampan.daemon.clock import now_ns, rfc3339
from sampan.daemon.container import Status
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
    PluginsInfo,
    RuntimeInfo,
    SystemInfo,
    SystemInfoRequest,
    SystemVersion,
    SystemVersionRequest,
)

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

API_VERSION, MIN_API_VERSION = "1.56", "1.24"


async def system_version(daemon: Daemon, job: Job[SystemVersionRequest]) -> SystemVersion:
    """Versions of the daemon and of what it runs on."""
    drivers = [
        ComponentVersion(name=f"{one.distribution}", version=one.version, details={"Driver": one.name})
        for one in daemon.provenance
        if one.error is None
    ]
    return SystemVersion(
        platform=PlatformInfo(name="sampan"),
        components=[
            ComponentVersion(name="Engine", version=__version__, details=_engine_details()),
            *drivers,
        ],
        version=__version__,
        api_version=API_VERSION,
        min_api_version=MIN_API_VERSION,
        git_commit="",
        go_version="",
        os="linux",
        arch=_architecture(),
        kernel_version=platform.release(),
        build_time="",
    )


async def system_info(daemon: Daemon, job: Job[SystemInfoRequest]) -> SystemInfo:
    """What `docker info` shows."""
    states = [container.state.status for container in daemon.containers]
    settings, capabilities = daemon.settings, daemon.resources.capabilities()
    return SystemInfo(
        id=settings.id,
        containers=len(states),
        containers_running=states.count(Status.RUNNING),
        containers_paused=states.count(Status.PAUSED),
        containers_stopped=len(states) - states.count(Status.RUNNING) - states.count(Status.PAUSED),
        images=len(daemon.images.list()),
        driver=settings.storage_driver,
        driver_status=[list(pair) for pair in daemon.storage.status()],
        docker_root_dir=str(settings.data_root),
        memory_limit="memory" in capabilities.controllers,
        swap_limit="memory" in capabilities.controllers,
        cpu_cfs_period="cpu" in capabilities.controllers,
        cpu_cfs_quota="cpu" in capabilities.controllers,
        cpu_shares="cpu" in capabilities.controllers,
        cpu_set="cpuset" in capabilities.controllers,
        pids_limit="pids" in capabilities.controllers,
        oom_kill_disable=False,
        ipv4_forwarding=True,
        debug=False,
        n_fd=_open_files(),
        n_goroutines=0,
        system_time=rfc3339(now_ns()),
        logging_driver="json-file",
        cgroup_driver="cgroupfs",
        cgroup_version="1" if capabilities.host == "legacy" else "2",
        n_events_listener=daemon.events.followers,
        kernel_version=platform.release(),
        operating_system=_operating_system(),
        os_version=_os_release().get("VERSION_ID", ""),
        os_type="linux",
        architecture=platform.machine(),
        n_cpu=os.cpu_count() or 1,
        mem_total=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        index_server_address="https://index.docker.io/v1/",
        name=settings.name,
        labels=list(settings.labels),
        server_version=__version__,
        default_runtime=settings.default_runtime,
        runtimes={name: RuntimeInfo(path=path) for name, path in settings.runtimes.items()},
        live_restore_enabled=True,
        init_binary=settings.init_path.name if settings.init_path else "",
        security_options=["name=seccomp,profile=builtin", "name=cgroupns"],
        plugins=PluginsInfo(volume=["local"], network=["bridge", "host", "null"], log=["json-file"]),
        warnings=[],
        drivers=[
            {"Kind": one.kind, "Name": one.name, "Package": one.distribution, "Version": one.version}
            for one in daemon.provenance
            if one.error is None
        ],
    )


async def driver_list(daemon: Daemon, job: Job[ListDrivers]) -> list[DriverInfo]:
    """Which package and version serves what, and what is broken."""
    return _drivers(daemon)


async def plugin_list(daemon: Daemon, job: Job[ListPlugins]) -> list[Plugin]:
    """The packages that bring drivers, in the shape of Docker's plugins."""
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
    """What clients show of the engine itself; they read it here rather than in the fields beside it."""
    return {
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
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


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _operating_system() -> str:
    return _os_release().get("PRETTY_NAME", "Linux")


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
