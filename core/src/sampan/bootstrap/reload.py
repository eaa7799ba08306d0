"""Reloads the configuration at SIGHUP, and applies what can be changed in a running daemon."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from sampan.config import DaemonConfig
from sampan.errdefs import SampanError
from sampan.notify import notify_ready, notify_reloading

_log = logging.getLogger("sampan")

RELOADED = (
    "debug", "log_level", "labels", "strict_resources", "default_runtime", "runtimes", "init_path",
    "default_shm_size", "log_driver", "log_opts", "shutdown_timeout", "dns", "dns_search", "dns_opts",
    "insecure_registries", "registry_mirrors", "registry_certs_dirs", "max_concurrent_downloads",
    "max_concurrent_uploads",
)  # fmt: skip
"""Settings that need no restart: those of dockerd (moby daemon/reload.go), and those only new containers use."""


Apply: TypeAlias = Callable[[DaemonConfig], Awaitable[None]]
"""Applies a changed configuration to a running daemon. If it raises `SampanError`, nothing has changed."""


class Reload:
    """Reads and applies the configuration, one reload at a time. Errors are logged, each in one line."""

    def __init__(self, config: DaemonConfig, read: Callable[[], DaemonConfig]) -> None:
        """`config` is the current configuration; `read` may raise `SampanError`."""
        self.config = config
        self._read = read
        self._apply: Apply | None = None
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def ready(self, apply: Apply) -> None:
        """Called when the daemon is running and `apply` may be called."""
        self._apply = apply

    def ask(self) -> None:
        """Schedule a reload; called by the signal handler. During a reload, schedule another one after it."""
        if self._apply is None:
            _log.warning("SIGHUP is ignored: the daemon is starting and reads its configuration anyway")
        elif self._task and not self._task.done():
            self._again = True
        else:
            self._task = asyncio.create_task(self._reload(self._apply), name="reload")

    async def close(self) -> None:
        """Cancel a reload in progress, and accept no more."""
        self._apply = None
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _reload(self, apply: Apply) -> None:
        self._again = True
        while self._again:
            self._again = False
            _log.info("SIGHUP: the configuration is read again")
            notify_reloading()
            try:
                await self._take_over(apply)
            except SampanError as error:
                _log.error("the configuration is not changed: %s", error)
            finally:
                notify_ready()

    async def _take_over(self, apply: Apply) -> None:
        found = await asyncio.to_thread(self._read)
        config = self.config.model_copy(update={name: getattr(found, name) for name in RELOADED})
        await apply(config)
        self.config = config
        if later := [name for name in type(found).model_fields if getattr(found, name) != getattr(config, name)]:
            names = ", ".join(name.replace("_", "-") for name in later)
            _log.warning("these settings have changed, which takes effect only after a restart of sampand: %s", names)
