"""Checks before a container is created: what is refused or warned about, with Docker's messages."""

from __future__ import annotations

import asyncio
import json
import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sampan.daemon.container import Record
from sampan.daemon.lifecycle import health, restart_policy
from sampan.daemon.networks import links
from sampan.daemon.networks.hosts import check_names
from sampan.daemon.settings import log_options
from sampan.daemon.settings.limits import resource_warnings, resources_of
from sampan.daemon.settings.namespaces import check_modes, network_mode
from sampan.daemon.settings.placement import placement_of
from sampan.daemon.settings.ports import exposed_ports, port_bindings
from sampan.daemon.settings.security import check_security
from sampan.daemon.settings.signals import parse_signal
from sampan.daemon.streams.log_details import check_tag
from sampan.drivers import ANYWHERE, Placement, Resources
from sampan.errdefs import InvalidArgument, Unsupported
from sampan.go_text import parse_size
from sampan.models import ContainerConfig, CreateContainer, HostConfig

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_NAME_BYTES = 64  # HOST_NAME_MAX of include/uapi/linux/limits.h


async def check(daemon: Daemon, request: CreateContainer) -> list[str]:
    """Raise for invalid settings; return warnings about those that this host does not support.

    Source: moby daemon/container.go, verifyContainerSettings, and daemon_unix.go, verifyPlatformContainerSettings.
    """
    config, host = request.config, request.host_config
    if not config.image:
        raise InvalidArgument("no image specified")
    check_modes(config, host)
    _check_config(config)
    _check_restart(host)
    _check_log(daemon, host)
    _check_host(daemon, host)
    check_names(config, host)
    exposed_ports(config)
    list(port_bindings(config, host))
    placement = placement_of(host, config.labels or {})
    return [*await limit_warnings(daemon, host, placement), *check_security(host), *_warnings(host)]


async def limit_warnings(daemon: Daemon, host: HostConfig, placement: Placement = ANYWHERE) -> list[str]:
    """A sentence for each limit that this host can't enforce; `Unsupported` if the daemon is strict about that.

    Raises `InvalidArgument` for invalid limits and an invalid placement.
    """
    warnings = [
        *await asyncio.to_thread(daemon.resources.validate, resources_of(host), placement),
        *resource_warnings(host),
    ]
    if warnings and daemon.settings.strict_resources:
        raise Unsupported("this host can't enforce a limit that was asked for: " + " ".join(warnings))
    return warnings


async def rehearse(daemon: Daemon, record: Record) -> tuple[str, ...]:
    """Find at creation what would fail at the start, by creating the container's group and removing it again.

    Only the kernel knows which values of a control file, devices and alert windows it accepts. Returns a sentence for
    each limit that it does not enforce. Raises what `create` of the driver raises.
    """
    limits = resources_of(record.host_config)
    placement = placement_of(record.host_config, record.own_labels)
    if limits == Resources() and not placement.parent:
        return ()

    def make_and_remove() -> tuple[str, ...]:  # one call, so that a cancelled job can't leave the group behind
        warnings = daemon.resources.create(record.id, limits, placement).warnings
        daemon.resources.remove(record.id)
        return warnings

    return await asyncio.to_thread(make_and_remove)


def _warnings(host: HostConfig) -> Iterator[str]:
    mode = network_mode(host)
    if mode == "host" and host.port_bindings:
        yield "Published ports are discarded when using host network mode"
    if host.links and mode in ("bridge", "default"):
        yield links.WARNING


def _check_config(config: ContainerConfig) -> None:
    if config.working_dir and not posixpath.isabs(config.working_dir):
        raise InvalidArgument(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path"
        )
    for one in config.env or []:
        if not one.partition("=")[0]:
            raise InvalidArgument(f"invalid environment variable: {one}")
    check_texts(config)
    if config.stop_signal:
        parse_signal(config.stop_signal)
    for what, name in (("hostname", config.hostname), ("domainname", config.domainname)):
        if len(name.encode()) > _NAME_BYTES:
            raise InvalidArgument(f"{what} {json.dumps(name)} is too long (maximum {_NAME_BYTES} bytes)")
        if not name.isprintable() or " " in name:
            raise InvalidArgument(f"invalid {what}: {json.dumps(name)}")
    health.validate(config.healthcheck)


def check_texts(config: ContainerConfig) -> None:
    """Raise `InvalidArgument` for strings that no system call accepts; an image may contain them too."""
    if any("\0" in word for word in _texts(config)):
        raise InvalidArgument("environment, command, user and paths can't contain a NUL character")


def _texts(config: ContainerConfig) -> Iterator[str]:
    """All strings that become arguments of system calls."""
    yield from config.env or ()
    yield from config.cmd or ()
    yield from config.entrypoint or ()
    yield from (config.working_dir, config.user)
    yield from config.volumes or ()


def _check_host(daemon: Daemon, host: HostConfig) -> None:
    if host.isolation.lower() not in ("", "default"):
        raise InvalidArgument(f"invalid isolation ({host.isolation}): linux only supports 'default'")
    if "" in (host.annotations or {}):
        raise InvalidArgument("invalid Annotations: the empty string is not permitted as an annotation key")
    if host.shm_size < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidArgument(f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if host.runtime and host.runtime not in daemon.settings.runtimes:
        raise InvalidArgument(f"unknown or invalid runtime name: {host.runtime}")
    quota_bytes(daemon, host)


def quota_bytes(daemon: Daemon, host: HostConfig) -> int | None:
    """The size asked for the writable layer, in bytes.

    Raises `InvalidArgument` if the storage driver can't limit it.
    """
    size = None
    for name, value in (host.storage_opt or {}).items():
        if name.lower() != "size":
            raise InvalidArgument(f"Unknown option {name.lower()}")
        size = _size(value)
    if size is not None and not daemon.storage.capabilities.quota:
        raise InvalidArgument("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
    return size


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise InvalidArgument(str(error)) from None


def _check_restart(host: HostConfig) -> None:
    if host.restart_policy.name not in ("", "no") and host.auto_remove:
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    restart_policy.validate(host.restart_policy)


def _check_log(daemon: Daemon, host: HostConfig) -> None:
    config = log_options.complete(host.log_config, daemon.settings.log_config)
    log_options.check(config)
    check_tag((config.config or {}).get("tag", ""))
    if why_not := daemon.journal.why_not(config):
        raise InvalidArgument(f"failed to initialize logging driver: {why_not}")
