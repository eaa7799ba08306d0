"""The daemon process: its locks, signal handlers and server."""

from __future__ import annotations

import asyncio
import faulthandler
import grp
import logging
import os
import resource
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack

from sampan import __version__
from sampan.api.app import create_app
from sampan.api.server import Listener, Server, TlsFiles
from sampan.bootstrap.assemble import start_engine
from sampan.bootstrap.directories import make_directory
from sampan.bootstrap.log import log_to_stderr
from sampan.bootstrap.reload import Reload
from sampan.config import DaemonConfig
from sampan.drivers.loader import load
from sampan.errdefs import SystemFailure
from sampan.exclusive import lock_data_root, pid_file
from sampan.memory import limit_arenas, settle
from sampan.notify import notify_ready, notify_stopping

_log = logging.getLogger("sampan")
_DEFAULT_GROUP = "sampan"
_UMASK = (
    0o022  # dockerd's (moby daemon/command, setDefaultUmask): a stricter one would lock users out of their images
)


def run(config: DaemonConfig, read: Callable[[], DaemonConfig]) -> None:
    """Run the daemon until SIGTERM or SIGINT; SIGHUP reloads the configuration by `read`.

    Raises `SampanError` with a one-sentence message if it can't start.
    """
    log_to_stderr(config)
    faulthandler.register(signal.SIGUSR1)
    os.umask(_UMASK)
    _allow_open_files()
    limit_arenas()
    asyncio.run(_serve(config, Reload(config, read)))


def _allow_open_files() -> None:
    """Raise RLIMIT_NOFILE to the hard limit: at three per container, the default of 1024 suffices only for 340."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(config: DaemonConfig, reloading: Reload) -> None:
    async with AsyncExitStack() as stack:
        _make_directories(config)
        stack.enter_context(lock_data_root(config.data_root))
        stack.enter_context(pid_file(config.pidfile))
        stopping = _stop_signal()
        # Handled rather than ignored until then: containers would inherit an ignored signal.
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
        # before the server, as its connections end with the streams of the jobs
        await engine.stop(reloading.config.shutdown_timeout)
    _log.info("sampand has stopped; containers keep running")


def _listeners(config: DaemonConfig) -> list[Listener]:
    tls = None
    if config.tlsverify and config.tlscert and config.tlskey and config.tlscacert:
        tls = TlsFiles(config.tlscert, config.tlskey, config.tlscacert)
    group = config.group or (_DEFAULT_GROUP if _has_group(_DEFAULT_GROUP) else None)
    full = [Listener(host, group=group, tls=tls) for host in config.hosts]
    return full + [Listener(host, "read-only", group, tls) for host in config.read_only_hosts]


def _has_group(name: str) -> bool:
    return any(group.gr_name == name for group in grp.getgrall())


def _stop_signal() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def _make_directories(config: DaemonConfig) -> None:
    """Create both roots and their subdirectories, which only root may list (CVE-2021-41091)."""
    try:
        config.data_root.mkdir(mode=0o710, parents=True, exist_ok=True)
        config.exec_root.mkdir(mode=0o711, parents=True, exist_ok=True)
        for path in ("containers", "images"):
            make_directory(config.data_root / path, 0o700)
        make_directory(config.data_root / "volumes", 0o701)
        make_directory(config.exec_root / "bundles", 0o700)
    except OSError as error:
        raise SystemFailure(f"unable to make {error.filename}: {error.strerror}") from error
