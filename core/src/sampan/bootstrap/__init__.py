"""The only room that knows every part: configuration → drivers → daemon → engine → app → server."""

from __future__ import annotations

import asyncio
import faulthandler
import grp
import logging
import resource
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TypeAlias

from sampan import __version__
from sampan.api.app import create_app
from sampan.api.server import Listener, Server, TlsFiles
from sampan.bootstrap.drivers import keep_to_one_storage, make_drivers, make_resources, volume_drivers
from sampan.bootstrap.hooks import PluginHooks
from sampan.bootstrap.log import log_level, log_to_stderr
from sampan.bootstrap.reload import Reload
from sampan.bootstrap.settings import daemon_settings, network_defaults, registry_config
from sampan.config import DaemonConfig
from sampan.daemon.daemon import Daemon, Parts
from sampan.daemon.reload import reload
from sampan.drivers.loader import Drivers, load
from sampan.engine import Engine, Limits, install_workers
from sampan.errdefs import SystemFailure, Unsupported
from sampan.exclusive import lock_data_root, pid_file
from sampan.images.store import ImageStore
from sampan.memory import GiveBack, limit_arenas, settle
from sampan.network.controller import NetworkController
from sampan.notify import notify_ready, notify_stopping
from sampan.runtime.namespace import RuntimeNamespace, default_slice
from sampan.runtime.oci import OciRuntime
from sampan.runtime.probe import FoundRuntime, default_runtime, find_runtimes
from sampan.state import Database

_log = logging.getLogger("sampan")
_DEFAULT_GROUP = "sampan"
Apply: TypeAlias = Callable[[DaemonConfig], Awaitable[None]]
"""Gives a running daemon another configuration. Raises `SampanError`, and then has changed nothing."""


def run(config: DaemonConfig, read: Callable[[], DaemonConfig]) -> None:
    """Be the daemon until SIGTERM or SIGINT; at SIGHUP `read` the configuration again.

    Raises `SampanError` with one clear sentence if it can't start.
    """
    log_to_stderr(config)
    faulthandler.register(signal.SIGUSR1)
    _allow_open_files()
    limit_arenas()
    asyncio.run(_serve(config, Reload(config, read)))


def _allow_open_files() -> None:
    """As many as the kernel lets us: a running container takes three, and the usual 1024 end at 340 of them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(config: DaemonConfig, reloading: Reload) -> None:
    async with AsyncExitStack() as stack:
        _make_directories(config)
        stack.enter_context(lock_data_root(config.data_root))
        stack.enter_context(pid_file(config.pidfile))
        stopping = _stop_signal()
        # Ignored it would be in every container too.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloading.ask)
        drivers = load()
        engine, apply = await start_engine(config, drivers)
        stack.push_async_callback(engine.stop, config.shutdown_timeout)
        server = Server(create_app(engine, routers=drivers.hooks.hook.sampan_api_router()), _listeners(config))
        await server.start()
        stack.push_async_callback(server.close)
        settle()
        reloading.ready(apply)
        stack.push_async_callback(reloading.close)
        notify_ready()
        _log.info("sampand %s answers on %s", __version__, ", ".join(config.hosts))
        await stopping.wait()
        notify_stopping()
        await reloading.close()
        # before the server: its connections end with the jobs' streams
        await engine.stop(reloading.config.shutdown_timeout)
    _log.info("sampand has stopped; containers go on running")


def _listeners(config: DaemonConfig) -> list[Listener]:
    tls = None
    if config.tlsverify and config.tlscert and config.tlskey and config.tlscacert:
        tls = TlsFiles(config.tlscert, config.tlskey, config.tlscacert)
    group = config.group or (_DEFAULT_GROUP if _has_group(_DEFAULT_GROUP) else None)
    full = [Listener(host, group=group, tls=tls) for host in config.hosts]
    return full + [Listener(host, "read-only", group, tls) for host in config.read_only_hosts]


def _has_group(name: str) -> bool:
    return any(group.gr_name == name for group in grp.getgrall())


async def start_engine(config: DaemonConfig, drivers: Drivers) -> tuple[Engine, Apply]:
    """The engine with all its jobs, running, and what gives it another configuration.

    `Engine.stop` undoes all of it in reverse order.

    Raises `SampanError` with one clear sentence, having undone what was done.
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
    """Make the parts, each with its undo, and put the daemon's jobs into the engine's table."""
    workers = install_workers(config.workers)
    engine.on_stop(lambda: asyncio.to_thread(workers.shutdown, wait=False))
    slice = config.cgroup_parent or default_slice(f"sampan-{config.instance}")
    namespace = RuntimeNamespace(slice)
    engine.on_stop(lambda: asyncio.to_thread(namespace.close))
    runtime, found = await _make_runtime(engine, namespace, config)
    for plugin in drivers.broken:
        _log.error(
            "plugin %s of %s %s is left out: %s", plugin.name, plugin.distribution, plugin.version, plugin.error
        )
    storage, network = make_drivers(drivers, config)
    resources = make_resources(drivers, config, slice)
    engine.on_stop(lambda: asyncio.to_thread(resources.close))
    database = Database(config.data_root / "state.db")
    engine.on_stop(lambda: asyncio.to_thread(database.close))
    keep_to_one_storage(config, database)
    images = ImageStore(
        config.data_root / "images",
        storage,
        database,
        registries=registry_config(config),
    )
    await images.open()
    engine.on_stop(images.close)
    networks = NetworkController(network, database, defaults=network_defaults(config))
    await networks.open()
    engine.on_stop(networks.close)
    installed = (*drivers.provenance, *drivers.broken)
    volumes = dict(volume_drivers(drivers, config))
    parts = Parts(database, images, networks, runtime, storage, resources, drivers.hooks, installed, volumes)
    daemon = Daemon(daemon_settings(config, found), parts, engine.serial)
    engine.hooks += [PluginHooks(drivers.hooks), GiveBack()]
    daemon.install(engine)
    await daemon.open()
    engine.on_stop(daemon.close)
    return partial(_apply, daemon, runtime, namespace)


async def _apply(daemon: Daemon, runtime: OciRuntime, namespace: RuntimeNamespace, config: DaemonConfig) -> None:
    """Have a running daemon go by another configuration. What can go wrong comes first."""
    found = await _find_runtimes(namespace, config)
    settings = daemon_settings(config, found)
    runtime.offer(found, settings.default_runtime)
    reload(daemon, settings, registry_config(config))
    logging.getLogger().setLevel(log_level(config))


async def _make_runtime(
    engine: Engine, namespace: RuntimeNamespace, config: DaemonConfig
) -> tuple[OciRuntime, Mapping[str, FoundRuntime]]:
    """The runtime room, with every OCI runtime that this host has."""
    conmon = shutil.which("conmon")
    if conmon is None:
        raise Unsupported("conmon is not installed: it watches over the containers (Debian's package conmon)")
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


def _stop_signal() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def _make_directories(config: DaemonConfig) -> None:
    """The roots and what lies in them; nobody but root may look into them (CVE-2021-41091)."""
    try:
        config.data_root.mkdir(mode=0o710, parents=True, exist_ok=True)
        config.exec_root.mkdir(mode=0o711, parents=True, exist_ok=True)
        for path in ("containers", "drivers", "images"):
            (config.data_root / path).mkdir(mode=0o700, exist_ok=True)
        (config.data_root / "volumes").mkdir(mode=0o701, exist_ok=True)
        (config.exec_root / "bundles").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SystemFailure(f"unable to make {error.filename}: {error.strerror}") from error
