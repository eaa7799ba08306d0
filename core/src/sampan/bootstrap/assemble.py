"""Assembles the engine: configuration → drivers → daemon → engine."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from sampan.bootstrap.drivers import keep_to_one_storage, make_drivers, make_resources
from sampan.bootstrap.hooks import PluginHooks
from sampan.bootstrap.log import log_level
from sampan.bootstrap.reload import Apply
from sampan.bootstrap.settings import daemon_settings, network_defaults, registry_config
from sampan.config import DaemonConfig
from sampan.daemon.daemon import Daemon, Parts
from sampan.daemon.reload import reload
from sampan.drivers.loader import Drivers
from sampan.engine import Engine, Limits, install_workers
from sampan.errdefs import Unsupported
from sampan.images.store import ImageStore
from sampan.memory import GiveBack
from sampan.network.controller import NetworkController
from sampan.runtime.namespace import RuntimeNamespace, default_slice
from sampan.runtime.oci import OciRuntime
from sampan.runtime.probe import FoundRuntime, default_runtime, find_runtimes
from sampan.state import Database

_log = logging.getLogger("sampan")


async def start_engine(config: DaemonConfig, drivers: Drivers) -> tuple[Engine, Apply]:
    """Start the engine with all its jobs; returns it and a function that applies a changed configuration.

    `Engine.stop` undoes every step in reverse order.

    Raises `SampanError` with a one-sentence message, after undoing the steps done so far.
    """
    engine = Engine(Limits(config.job_slots, config.job_queue))
    try:
        apply = await _install(engine, config, drivers)
    except BaseException:
        await engine.stop()
        raise
    engine.started()
    return engine, apply


async def _install(engine: Engine, config: DaemonConfig, drivers: Drivers) -> Apply:
    """Create the parts, each with its cleanup, and register the daemon's jobs in the engine."""
    workers = install_workers(config.workers)
    engine.on_stop(lambda: asyncio.to_thread(workers.shutdown, wait=False))
    slice = config.cgroup_parent or default_slice(f"sampan-{config.instance}")
    namespace = RuntimeNamespace(slice)
    engine.on_stop(lambda: asyncio.to_thread(namespace.close))
    runtime, found = await _make_runtime(engine, namespace, config)
    _tell_broken(drivers)
    chosen = make_drivers(drivers, config)
    resources = make_resources(drivers, config, slice)
    engine.on_stop(lambda: asyncio.to_thread(resources.close))
    database = Database(config.data_root / "state.db")
    engine.on_stop(lambda: asyncio.to_thread(database.close))
    keep_to_one_storage(config, database)
    images = ImageStore(config.data_root / "images", chosen.storage, database, registries=registry_config(config))
    await images.open()
    engine.on_stop(images.close)
    networks = NetworkController(chosen.network, database, defaults=network_defaults(config))
    await networks.open()
    engine.on_stop(networks.close)
    parts = Parts(
        database, images, networks, runtime, chosen.storage, resources,
        drivers.hooks, chosen.provenance, chosen.volume,
    )  # fmt: skip
    daemon = Daemon(daemon_settings(config, found), parts, engine.serial)
    engine.hooks += [PluginHooks(drivers.hooks), GiveBack()]
    daemon.install(engine)
    await daemon.open()
    engine.on_stop(daemon.close)
    return partial(_apply, daemon, runtime, namespace)


def _tell_broken(drivers: Drivers) -> None:
    for plugin in drivers.broken:
        _log.error(
            "plugin %s of %s %s is left out: %s", plugin.name, plugin.distribution, plugin.version, plugin.error
        )


async def _apply(daemon: Daemon, runtime: OciRuntime, namespace: RuntimeNamespace, config: DaemonConfig) -> None:
    """Apply a changed configuration to a running daemon. The steps that can fail come first."""
    found = await _find_runtimes(namespace, config)
    settings = daemon_settings(config, found)
    runtime.offer(found, settings.default_runtime)
    reload(daemon, settings, registry_config(config))
    logging.getLogger().setLevel(log_level(config))


async def _make_runtime(
    engine: Engine, namespace: RuntimeNamespace, config: DaemonConfig
) -> tuple[OciRuntime, Mapping[str, FoundRuntime]]:
    """The `OciRuntime`, with every OCI runtime found on this host."""
    conmon = shutil.which("conmon")
    if conmon is None:
        raise Unsupported("conmon is not installed: it monitors the containers (Debian's package conmon)")
    found = await _find_runtimes(namespace, config)
    default = default_runtime(found, config.default_runtime)
    for warning in found[default].warnings:
        _log.warning("%s", warning)
    runtime = OciRuntime(
        _runtime_dir(config),
        namespace,
        runtimes=found,
        default_runtime=default,
        conmon_path=Path(conmon),
    )
    runtime.open()
    engine.on_stop(lambda: _call(runtime.close))
    return runtime, found


async def _find_runtimes(namespace: RuntimeNamespace, config: DaemonConfig) -> Mapping[str, FoundRuntime]:
    configured = {name: (one.path, one.runtime_args) for name, one in config.runtimes.items()}
    cache, work_dir = config.data_root / "runtimes.json", _runtime_dir(config)
    work_dir.mkdir(mode=0o700, exist_ok=True)
    return await find_runtimes(namespace, configured, cache=cache, work_dir=work_dir)


def _runtime_dir(config: DaemonConfig) -> Path:
    return config.exec_root / "runtime"


async def _call(function: Callable[[], None]) -> None:
    function()
