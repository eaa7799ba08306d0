"""The only file that knows every part: configuration → drivers → daemon → engine → app → server."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import fcntl
import logging
import os
import secrets
import shutil
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from sampan import __version__
from sampan.api.app import create_app
from sampan.api.server import Listener, Server
from sampan.config import DaemonConfig
from sampan.daemon.daemon import Daemon, Parts, Settings
from sampan.drivers import NetworkSettings, ResourceSettings
from sampan.drivers.loader import Drivers, load
from sampan.engine import Engine, JobFilter, JobHook, Limits, install_workers
from sampan.errdefs import Conflict, SampanError, SystemFailure, Unsupported
from sampan.images.store import ImageStore
from sampan.network.controller import NetworkController, NetworkDefaults
from sampan.notify import notify_ready, notify_stopping
from sampan.runtime.namespace import RuntimeNamespace
from sampan.runtime.oci import OciRuntime
from sampan.state import Database

_log = logging.getLogger("sampan")
_INIT_PROGRAMS = ("catatonit", "tini", "docker-init")


def run(config: DaemonConfig) -> None:
    """Be the daemon until SIGTERM or SIGINT. Raises `SampanError` with one clear sentence if it can't start."""
    _log_to_stderr(config)
    faulthandler.register(signal.SIGUSR1)
    asyncio.run(_run(config))


async def _run(config: DaemonConfig) -> None:
    async with AsyncExitStack() as stack:
        _make_directories(config)
        stack.enter_context(_lock(config))
        stack.enter_context(_pid_file(config.pidfile))
        engine = await start_engine(config, stack)
        server = Server(create_app(engine), [_listener(host, config) for host in config.hosts])
        await server.start()
        stack.push_async_callback(server.close)
        stopping = _stop_signal()
        notify_ready()
        _log.info("sampand %s answers on %s", __version__, ", ".join(config.hosts))
        await stopping.wait()
        notify_stopping()
        await engine.stop(config.shutdown_timeout)
    _log.info("sampand has stopped; containers go on running")
