"""The only file that knows every part: configuration → drivers → daemon → engine → app → server."""

from __future__ import annotations

import asyncio
import faulthandler
import grp
import json
import logging
import resource
import shutil
import signal
import sqlite3
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from sampan import __version__
from sampan.api.app import create_app
from sampan.api.server import Listener, Server, TlsFiles
from sampan.config import DaemonConfig, PublishedPorts
from sampan.daemon.daemon import Daemon, Parts, Settings
from sampan.daemon.images.gc import GcPolicy, Watermarks
from sampan.daemon.reload import reload
from sampan.daemon.settings.log_options import check as check_log
from sampan.daemon.volumes.volumes import LOCAL_DRIVER
from sampan.drivers import (
    DirectDriver,
    HeedfulDriver,
    NetworkDriver,
    NetworkSettings,
    ResourceDriver,
    ResourceSettings,
    StorageDriver,
    VolumeDriver,
)
from sampan.drivers.loader import Drivers, load
from sampan.engine import Engine, Job, JobFilter, JobHook, Limits, install_workers
from sampan.errdefs import InvalidArgument, SystemFailure, Unsupported
from sampan.exclusive import lock_data_root, pid_file
from sampan.images.registry_config import RegistryConfig
from sampan.images.store import ImageStore
from sampan.memory import GiveBack, limit_arenas, settle
from sampan.models import LogConfig
from sampan.network.controller import NetworkController, NetworkDefaults
from sampan.network.ipam import DEFAULT_POOLS, PoolRange
from sampan.notify import notify_ready, notify_stopping
from sampan.reload import Reload
from sampan.runtime.namespace import RuntimeNamespace, default_slice
from sampan.runtime.oci import OciRuntime
from sampan.runtime.probe import FoundRuntime, default_runtime, find_runtimes
from sampan.state import Database

_log = logging.getLogger("sampan")
_DEFAULT_GROUP = "sampan"
Apply: TypeAlias = Callable[[DaemonConfig], Awaitable[None]]
"""Gives a running daemon another configuration. Raises `SampanError`, and then has changed nothing."""

_INIT_PROGRAMS = ("catatonit", "tini", "docker-init")


def run(config: DaemonConfig, read: Callable[[], DaemonConfig]) -> None:
    """Be the daemon until SIGTERM or SIGINT; at SIGHUP `read` the configuration again.

    Raises `SampanError` with one clear sentence if it can't start.
    """
    _log_to_stderr(config)
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
        await engine.stop(
            reloading.config.shutdown_timeout
        )  # before the server: its connections end with the jobs' streams
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
    storage, network = _make_drivers(drivers, config)
    resources = _make_resources(drivers, config, slice)
    engine.on_stop(lambda: asyncio.to_thread(resources.close))
    database = Database(config.data_root / "state.db")
    engine.on_stop(lambda: asyncio.to_thread(database.close))
    _keep_to_one_storage(config, database)
    images = ImageStore(
        config.data_root / "images",
        storage,
        database,
        registries=_registries(config),
    )
    await images.open()
    engine.on_stop(images.close)
    networks = NetworkController(network, database, defaults=_network_defaults(config))
    await networks.open()
    engine.on_stop(networks.close)
    installed = (*drivers.provenance, *drivers.broken)
    volumes = dict(_volume_drivers(drivers, config))
    parts = Parts(database, images, networks, runtime, storage, resources, drivers.hooks, installed, volumes)
    daemon = Daemon(_settings(config, found), parts, engine.serial)
    engine.hooks += [PluginHooks(drivers.hooks), GiveBack()]
    daemon.install(engine)
    await daemon.open()
    engine.on_stop(daemon.close)
    return partial(_apply, daemon, runtime, namespace)


async def _apply(daemon: Daemon, runtime: OciRuntime, namespace: RuntimeNamespace, config: DaemonConfig) -> None:
    """Have a running daemon go by another configuration. What can go wrong comes first."""
    found = await _find_runtimes(namespace, config)
    settings = _settings(config, found)
    runtime.offer(found, settings.default_runtime)
    reload(daemon, settings, _registries(config))
    logging.getLogger().setLevel(_log_level(config))


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


class _Probed(Protocol):
    def probe(self) -> str | None: ...


def _make_drivers(drivers: Drivers, config: DaemonConfig) -> tuple[StorageDriver, Mapping[str, NetworkDriver]]:
    """The selected drivers, able to work on this host. Network drivers go by the names that clients use."""
    storage = drivers.storage_factory(config.storage_driver)(_directory(config, config.storage_driver))
    _require(storage, "storage", config.storage_driver, others=drivers.storage)
    bridge = drivers.network_factory(config.network_driver)(_network_settings(config, config.network_driver))
    _require(bridge, "network", config.network_driver)
    apply_published_ports(bridge, config)
    networks = dict(_other_networks(drivers, config))
    return storage, {**networks, "bridge": bridge}


def _make_resources(drivers: Drivers, config: DaemonConfig, slice: str) -> ResourceDriver:
    settings = ResourceSettings(_directory(config, config.resource_driver), slice)
    resources = drivers.resource_factory(config.resource_driver)(settings)
    _require(resources, "resource", config.resource_driver)
    return resources


def _other_networks(drivers: Drivers, config: DaemonConfig) -> Iterator[tuple[str, NetworkDriver]]:
    """The network drivers that work here beside the one behind `bridge`; the trouble of one is its own."""
    for name, factory in drivers.network.items():
        if name == config.network_driver:
            continue
        try:
            driver = factory(_network_settings(config, name))
            apply_published_ports(driver, config)
            yield name, driver
        except Exception as error:  # somebody else's code
            _log.error("network driver %s is left out: %s", name, error)


def _volume_drivers(drivers: Drivers, config: DaemonConfig) -> Iterator[tuple[str, VolumeDriver]]:
    """The volume drivers that work here beside `local`; the trouble of one is its own."""
    for name, factory in drivers.volume.items():
        try:
            driver = factory(_directory(config, name))
            if problem := "the name is taken" if name == LOCAL_DRIVER else driver.probe():
                raise Unsupported(problem)
            yield name, driver
        except Exception as error:  # somebody else's code
            _log.error("volume driver %s is left out: %s", name, error)


def apply_published_ports(driver: NetworkDriver, config: DaemonConfig) -> None:
    """Ports are published as the settings say, or not at all."""
    if config.published_ports is PublishedPorts.OPEN or isinstance(driver, DirectDriver):
        return
    if not isinstance(driver, HeedfulDriver):
        raise Unsupported("this network driver can't leave its published ports to the host's firewall")
    driver.heed_host_firewall()


def _require(driver: _Probed, kind: str, name: str, *, others: Iterable[str] = ()) -> None:
    if reason := driver.probe():
        instead = " or ".join(f"--{kind}-driver {one}" for one in others if one != name)
        hint = f"; try {instead}" if instead else ""
        raise Unsupported(f'{kind} driver "{name}" can\'t work on this host: {reason}{hint}')


def _keep_to_one_storage(config: DaemonConfig, database: Database) -> None:
    """Images and containers lie in the driver that made them: with another one they would all seem to be lost."""
    mark = config.data_root / "storage-driver"
    before = mark.read_text() if mark.exists() else None
    if before == config.storage_driver:
        return  # nothing is written: the disk may be full
    if before and not database.read(_is_unused):
        raise InvalidArgument(
            f'the images and containers in {config.data_root} were made with storage driver "{before}": '
            f'use that one, or another data root for "{config.storage_driver}"'
        )
    mark.write_text(config.storage_driver)


def _is_unused(connection: sqlite3.Connection) -> bool:
    return not any(
        connection.execute(query).fetchone() for query in ("SELECT 1 FROM images", "SELECT 1 FROM containers")
    )


def _directory(config: DaemonConfig, driver: str) -> Path:
    path = config.data_root / "drivers" / driver
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _network_settings(config: DaemonConfig, driver: str) -> NetworkSettings:
    return NetworkSettings(_directory(config, driver), config.instance)


def _registries(config: DaemonConfig) -> RegistryConfig:
    return RegistryConfig(
        insecure=config.insecure_registries,
        mirrors=config.registry_mirrors,
        certs_dirs=config.registry_certs_dirs,
        downloads=config.max_concurrent_downloads,
        uploads=config.max_concurrent_uploads,
    )


def _network_defaults(config: DaemonConfig) -> NetworkDefaults:
    pools = tuple(PoolRange(pool.base, pool.size) for pool in config.default_address_pools)
    return NetworkDefaults(pools=pools or DEFAULT_POOLS, bip=config.bip, binding=config.ip)


def _settings(config: DaemonConfig, found: Mapping[str, FoundRuntime]) -> Settings:
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
        heeds_host_firewall=config.published_ports is PublishedPorts.HOST_FIREWALL,
        events_kept=config.events_kept,
        debug=config.debug,
        insecure_registries=config.insecure_registries,
        registry_mirrors=config.registry_mirrors,
        address_pools=tuple((str(pool.base), pool.size) for pool in config.default_address_pools),
        gc=gc_policy(config),
        conmon_path=Path(found_conmon) if (found_conmon := shutil.which("conmon")) else None,
    )


def gc_policy(config: DaemonConfig) -> GcPolicy:
    """Without a low watermark it is a tenth below the high one."""
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
    """A name of this data root for ever, as `docker info` shows it."""
    known = path.read_text().strip() if path.exists() else ""
    if known:
        return known
    made, new = str(uuid.uuid4()), path.with_suffix(".tmp")
    new.write_text(made)
    new.replace(path)  # whole or not at all: an empty one would be the name for ever
    return made


def _find_init() -> Path | None:
    found = (shutil.which(name) for name in _INIT_PROGRAMS)
    return next((Path(path) for path in found if path), None)


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


class PluginHooks(JobHook):
    """Hands the engine's hooks on to the plugins. One that fails is named in the log; only `authorise` can refuse."""

    def __init__(self, hooks: Any) -> None:
        self._hooks = hooks.hook

    async def authorise(self, job: Job[Any]) -> None:
        self._hooks.sampan_authorise(job=_described(job))

    def started(self, job: Job[Any]) -> None:
        self._tell(self._hooks.sampan_job_started, job)

    def finished(self, job: Job[Any]) -> None:
        self._tell(self._hooks.sampan_job_finished, job)

    def _tell(self, hook: Any, job: Job[Any]) -> None:
        if not hook.get_hookimpls():
            return
        try:
            hook(job=_described(job))
        except Exception:  # a plugin's trouble is not the job's
            _log.exception("a plugin failed at %s", hook.name)


def _described(job: Job[Any]) -> dict[str, Any]:
    return {"id": job.id, "name": job.name, "state": job.state, "caller": job.caller, "request": job.request}


def _stop_signal() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


class _JsonFormatter(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "job": getattr(record, "job", "-"),
            "msg": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _log_level(config: DaemonConfig) -> str:
    return "DEBUG" if config.debug else config.log_level.upper().replace("FATAL", "CRITICAL")


def _log_to_stderr(config: DaemonConfig) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(JobFilter())
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(job)s] %(message)s")
    handler.setFormatter(_JsonFormatter() if config.log_format == "json" else text)
    logging.basicConfig(level=_log_level(config), handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
