"""Gives a running daemon a new configuration, and publishes the event."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sampan.images.registry_config import RegistryConfig

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon, Settings


def reload(daemon: Daemon, settings: Settings, registries: RegistryConfig) -> None:
    """Use `settings` and `registries` from now on. Operations in progress end with the old ones."""
    daemon.settings = settings
    daemon.images.reach_by(registries)
    daemon.events.publish("daemon", "reload", settings.id, _attributes(settings, registries))


def _attributes(settings: Settings, registries: RegistryConfig) -> dict[str, str]:
    """What dockerd reports (moby daemon/reload.go), as far as it exists here."""
    return {
        "name": settings.name,
        "debug": _truth(settings.debug),
        "default-cgroupns-mode": "private",
        "default-ipc-mode": "private",
        "default-runtime": settings.default_runtime,
        "default-shm-size": str(settings.shm_bytes),
        "default-stop-timeout": str(settings.stop_timeout_s),
        "insecure-registries": _list(registries.insecure),
        "labels": _list(settings.labels),
        "live-restore": _truth(True),
        "max-concurrent-downloads": str(registries.downloads),
        "max-concurrent-uploads": str(registries.uploads),
        "max-download-attempts": str(registries.attempts),
        "registry-mirrors": _list(registries.mirrors),
        "runtimes": " ".join(f"{name}:{path}" for name, path in settings.runtimes.items()),
        "shutdown-timeout": str(settings.shutdown_timeout_s),
    }


def _list(texts: Iterable[str]) -> str:
    return json.dumps(list(texts), separators=(",", ":"))


def _truth(value: bool) -> str:
    return "true" if value else "false"
