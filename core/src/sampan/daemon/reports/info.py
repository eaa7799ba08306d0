"""system_info: the content of `docker info`. Source of fields and warnings: moby daemon/info.go, info_unix.go."""

from __future__ import annotations

import asyncio
import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sampan import __version__
from sampan.daemon.clock import now_ns, rfc3339
from sampan.daemon.container import Status
from sampan.daemon.settings.log_options import JOURNALD, LOG_DRIVERS
from sampan.daemon.volumes.volumes import LOCAL_DRIVER
from sampan.drivers import IoLimit, ResourceCapabilities, ResourceDriver, Resources
from sampan.engine import Job
from sampan.models import (
    AddressPool,
    Commit,
    FirewallInfo,
    IndexInfo,
    PluginsInfo,
    RegistryServiceConfig,
    RuntimeInfo,
    SystemInfo,
    SystemInfoRequest,
)

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon, Settings
    from sampan.daemon.reports.programs import Programs

_LOOPBACK = ("::1/128", "127.0.0.0/8")
_HUB = "docker.io"
_UNKNOWN = "N/A"
_DEVICE = "1:0"
_LIMITS: Mapping[str, Resources] = {
    "memory limit": Resources(memory_max_bytes=1),
    "swap limit": Resources(swap_max_bytes=1),
    "cpu cfs quota": Resources(cpu_quota_us=1),
    "cpu cfs period": Resources(cpu_period_us=1),
    "cpu shares": Resources(cpu_weight=1),
    "cpuset": Resources(cpuset_cpus="0"),
    "io.weight": Resources(io_weight=1),
    "io.max (rbps)": Resources(io_max=(IoLimit(_DEVICE, read_bytes_per_s=1),)),
    "io.max (wbps)": Resources(io_max=(IoLimit(_DEVICE, write_bytes_per_s=1),)),
    "io.max (riops)": Resources(io_max=(IoLimit(_DEVICE, read_ops_per_s=1),)),
    "io.max (wiops)": Resources(io_max=(IoLimit(_DEVICE, write_ops_per_s=1),)),
}
"""Docker's names for limits in its warnings, each with a request: if `create` would warn, the host lacks it."""
_PIDS = Resources(pids_max=1)


async def system_info(daemon: Daemon, job: Job[SystemInfoRequest]) -> SystemInfo:
    """What the engine contains, what it works with, and what its host does not support."""
    capabilities, missing = await asyncio.to_thread(_ask, daemon.resources)
    firewall = daemon.networks.firewall_backend
    info = SystemInfo(
        server_version=__version__,
        system_time=rfc3339(now_ns()),
        n_fd=_open_files(),
        n_goroutines=len(asyncio.all_tasks()),
        n_events_listener=daemon.events.followers,
        images=len(daemon.images.list()),
        driver_status=[list(pair) for pair in daemon.storage.status()],
        plugins=_plugins(daemon),
        firewall_backend=FirewallInfo(driver=firewall) if firewall else None,
        live_restore_enabled=True,
        cdi_spec_dirs=[],
        drivers=[
            {"Kind": one.kind, "Name": one.name, "Package": one.distribution, "Version": one.version}
            for one in daemon.provenance
            if one.error is None
        ],
    )
    _count_containers(daemon, info)
    _describe_settings(info, daemon.settings)
    await _describe_programs(info, daemon.programs)
    _note_limits(info, capabilities, missing)
    _describe_host(info)
    info.warnings = list(_warnings(missing, forwarding=info.ipv4_forwarding))
    return info


def _count_containers(daemon: Daemon, info: SystemInfo) -> None:
    """Count the containers by state. Docker counts one that is about to be restarted as running."""
    states = [container.state.status for container in daemon.containers]
    info.containers = len(states)
    info.containers_paused = states.count(Status.PAUSED)
    info.containers_running = states.count(Status.RUNNING) + states.count(Status.RESTARTING)
    info.containers_stopped = info.containers - info.containers_paused - info.containers_running


def _describe_settings(info: SystemInfo, settings: Settings) -> None:
    info.id, info.name, info.labels = settings.id, settings.name, list(settings.labels)
    info.docker_root_dir, info.debug = str(settings.data_root), settings.debug
    info.driver, info.logging_driver = settings.storage_driver, settings.log_config.type
    info.default_runtime = settings.default_runtime
    info.runtimes = {name: RuntimeInfo(path=path) for name, path in settings.runtimes.items()}
    info.init_binary = settings.init_path.name if settings.init_path else ""
    info.registry_config = _registries(settings.insecure_registries, settings.registry_mirrors)
    pools = [AddressPool(base=base, size=size) for base, size in settings.address_pools]
    info.default_address_pools = pools or None


async def _describe_programs(info: SystemInfo, programs: Programs) -> None:
    runtime, init = await programs.get("runtime"), await programs.get("init")
    info.runc_commit = Commit(id=(runtime and (runtime.commit or runtime.version)) or _UNKNOWN)
    info.init_commit = Commit(id=(init and (init.commit or init.version)) or _UNKNOWN)
    info.containerd_commit = Commit(id=_UNKNOWN)


def _ask(driver: ResourceDriver) -> tuple[ResourceCapabilities, list[str]]:
    """The host's capabilities, and the names of limits that it can't enforce."""
    limits = {**_LIMITS, "pids limit": _PIDS}
    return driver.capabilities(), [name for name, asked in limits.items() if driver.validate(asked)]


def _note_limits(info: SystemInfo, capabilities: ResourceCapabilities, missing: list[str]) -> None:
    info.memory_limit, info.swap_limit = "memory limit" not in missing, "swap limit" not in missing
    info.cpu_cfs_period, info.cpu_cfs_quota = "cpu cfs period" not in missing, "cpu cfs quota" not in missing
    info.cpu_shares, info.cpu_set = "cpu shares" not in missing, "cpuset" not in missing
    info.pids_limit = "pids limit" not in missing
    info.cgroup_driver = "none" if capabilities.host == "none" else "cgroupfs"
    info.cgroup_version = "1" if capabilities.host == "legacy" else "2"


def _describe_host(info: SystemInfo) -> None:
    release = _os_release()
    info.kernel_version, info.architecture = platform.release(), platform.machine()
    info.operating_system, info.os_version = release.get("PRETTY_NAME", "Linux"), release.get("VERSION_ID", "")
    info.n_cpu = len(os.sched_getaffinity(0))  # those that the daemon may use, as in Docker
    info.mem_total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    info.security_options = list(_security_options())
    info.ipv4_forwarding = _reads("/proc/sys/net/ipv4/ip_forward", "1")
    info.http_proxy, info.https_proxy = _proxy("HTTP_PROXY"), _proxy("HTTPS_PROXY")
    info.no_proxy = _environment("NO_PROXY")


def _plugins(daemon: Daemon) -> PluginsInfo:
    networks = {one.name for one in daemon.provenance if one.kind == "network" and one.error is None}
    others = networks - {daemon.settings.network_driver}
    return PluginsInfo(
        volume=sorted({LOCAL_DRIVER, *daemon.volumes.drivers}),
        network=sorted({"bridge", "host", "null", *others}),
        log=_log_drivers(daemon),
    )


def _log_drivers(daemon: Daemon) -> list[str]:
    return [name for name in LOG_DRIVERS if name != JOURNALD or daemon.journal.is_there()]


def _security_options() -> Iterator[str]:
    yield "name=seccomp,profile=builtin"
    if Path("/proc/self/ns/cgroup").exists():
        yield "name=cgroupns"


def _proxy(name: str) -> str:
    """A proxy from the environment, without its credentials (moby daemon/config, MaskCredentials)."""
    return re.sub(r"(?<=://)[^/@]+@", "xxxxx:xxxxx@", _environment(name))


def _environment(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.lower(), "")


def _registries(insecure: tuple[str, ...], mirrors: tuple[str, ...]) -> RegistryServiceConfig:
    """Loopback is always insecure; mirrors are those of Docker Hub (moby daemon/pkg/registry/config.go)."""
    urls = [f"{url.rstrip('/')}/" for url in mirrors]
    hosts = {host: IndexInfo(name=host, secure=False) for host in insecure if "/" not in host}
    return RegistryServiceConfig(
        insecure_registry_cidrs=[*_LOOPBACK, *(network for network in insecure if "/" in network)],
        index_configs={_HUB: IndexInfo(name=_HUB, mirrors=urls, secure=True, official=True), **hosts},
        mirrors=urls,
    )


def _warnings(missing: list[str], *, forwarding: bool) -> Iterator[str]:
    yield from (f"WARNING: No {name} support" for name in missing if name in _LIMITS)
    if not forwarding:
        yield "WARNING: IPv4 forwarding is disabled"


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _reads(path: str, wanted: str) -> bool:
    try:
        return Path(path).read_text().strip() == wanted
    except OSError:
        return False


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
