"""Derives the settings of each part from the configuration."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from sampan.config import NO_BRIDGE, DaemonConfig, PublishedPorts
from sampan.daemon.daemon import Settings
from sampan.daemon.images.gc import GcPolicy, Watermarks
from sampan.daemon.settings.log_options import check as check_log
from sampan.errdefs import InvalidArgument
from sampan.images.registry_config import RegistryConfig
from sampan.models import LogConfig
from sampan.network.controller import NetworkDefaults
from sampan.network.ipam import DEFAULT_POOLS, PoolRange
from sampan.runtime.probe import FoundRuntime, default_runtime

_INIT_PROGRAMS = ("catatonit", "tini", "docker-init")


def registry_config(config: DaemonConfig) -> RegistryConfig:
    """How to connect to registries."""
    return RegistryConfig(
        insecure=config.insecure_registries,
        mirrors=config.registry_mirrors,
        certs_dirs=config.registry_certs_dirs,
        downloads=config.max_concurrent_downloads,
        uploads=config.max_concurrent_uploads,
    )


def network_defaults(config: DaemonConfig) -> NetworkDefaults:
    """Default settings of new networks."""
    pools = tuple(PoolRange(pool.base, pool.size) for pool in config.default_address_pools)
    has_bridge = config.bridge != NO_BRIDGE
    return NetworkDefaults(pools or DEFAULT_POOLS, config.bip, config.ip, has_bridge=has_bridge)


def daemon_settings(config: DaemonConfig, found: Mapping[str, FoundRuntime]) -> Settings:
    """The daemon's settings. Raises `InvalidArgument` for invalid log options."""
    return Settings(
        data_root=config.data_root,
        exec_root=config.exec_root,
        name=config.host_name,
        id=engine_id(config.data_root / "engine-id"),
        storage_driver=config.storage_driver,
        network_driver=config.network_driver,
        resource_driver=config.resource_driver,
        runtimes={name: one.path for name, one in found.items() if one.problem is None},
        default_runtime=default_runtime(found, config.default_runtime),
        labels=config.labels,
        shutdown_timeout_s=config.shutdown_timeout,
        log_config=_log_config(config),
        dns=config.dns,
        dns_search=config.dns_search,
        dns_options=config.dns_opts,
        init_path=config.init_path or _find_init(),
        shm_bytes=config.default_shm_size,
        strict_resources=config.strict_resources,
        enforce_host_firewall=config.published_ports is PublishedPorts.HOST_FIREWALL,
        events_kept=config.events_kept,
        debug=config.debug,
        insecure_registries=config.insecure_registries,
        registry_mirrors=config.registry_mirrors,
        address_pools=tuple((str(pool.base), pool.size) for pool in config.default_address_pools),
        gc=gc_policy(config),
        conmon_path=Path(found_conmon) if (found_conmon := shutil.which("conmon")) else None,
    )


def gc_policy(config: DaemonConfig) -> GcPolicy:
    """When to remove unused images. The default low watermark is 90% of the high one."""
    high, low = config.gc_high, config.gc_low
    marks = Watermarks(high.value, low.value if low else high.value * 9 // 10, high.is_share) if high else None
    return GcPolicy(marks, config.gc_unused_days, config.gc_interval)


def _log_config(config: DaemonConfig) -> LogConfig:
    log = LogConfig(type=config.log_driver, config=dict(config.log_opts))
    try:
        check_log(log)
    except InvalidArgument as error:
        raise InvalidArgument(f"failed to set log opts: {error}") from None
    return log


def engine_id(path: Path) -> str:
    """The permanent id of this data root, as shown by `docker info`; generated if the file is missing."""
    known = path.read_text().strip() if path.exists() else ""
    if known:
        return known
    made, new = str(uuid.uuid4()), path.with_suffix(".tmp")
    new.write_text(made)
    new.replace(path)  # atomically, so that a crash can't leave an incomplete id
    return made


def _find_init() -> Path | None:
    found = (shutil.which(name) for name in _INIT_PROGRAMS)
    return next((Path(path) for path in found if path), None)
