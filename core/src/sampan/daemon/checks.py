"""What is refused or warned of before a container is made, in Docker's words."""

from __future__ import annotations

import asyncio
import posixpath
from typing import TYPE_CHECKING

from sampan.daemon.connect import network_mode, parse_port, port_bindings
from sampan.daemon.limits import resources_of
from sampan.daemon.signals import parse_signal
from sampan.drivers.limits import discarded
from sampan.errdefs import InvalidArgument, Unsupported
from sampan.models import ContainerConfig, CreateContainer, EndpointSettings, HostConfig

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_RESTART_POLICIES = frozenset({"", "no", "always", "unless-stopped", "on-failure"})
_LOG_DRIVERS = frozenset({"", "json-file", "local"})


async def check(daemon: Daemon, request: CreateContainer) -> list[str]:
    """Raise for what can't be; answer warnings for what this host doesn't do.

    Source: moby daemon/container.go, verifyContainerSettings, and daemon_unix.go, verifyPlatformContainerSettings.
    """
    config, host = request.config, request.host_config
    if not config.image:
        raise InvalidArgument("no image specified")
    _check_config(config)
    _check_restart(host)
    _check_modes(host)
    for spec in config.exposed_ports or {}:
        parse_port(spec)
    list(port_bindings(config, host))
    controllers = (await asyncio.to_thread(daemon.resources.capabilities)).controllers
    warnings = list(discarded(resources_of(host), lambda file: file.partition(".")[0] in controllers))
    if warnings and daemon.settings.strict_resources:
        raise Unsupported("this host can't enforce a limit that was asked for: " + " ".join(warnings))
    if network_mode(host) == "host" and host.port_bindings:
        warnings.append("Published ports are discarded when using host network mode")
    return warnings


def networks_of(request: CreateContainer) -> dict[str, EndpointSettings]:
    """The networks that the container will be on, by name.

    Whether they, or the container whose network is shared, are there is asked at the start, as with Docker: to its
    client, `NotFound` at creation means that the image has to be pulled.
    """
    mode = network_mode(request.host_config)
    asked = request.networking_config.endpoints_config or {}
    if mode.startswith("container:"):
        if asked:
            raise InvalidArgument("conflicting options: container sharing a network can't be connected to networks")
        return {}
    settings = {
        ("bridge" if name == "default" else name): given or EndpointSettings() for name, given in asked.items()
    }
    settings.setdefault(mode, EndpointSettings())
    return settings


def _check_config(config: ContainerConfig) -> None:
    if config.working_dir and not posixpath.isabs(config.working_dir):
        raise InvalidArgument(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path"
        )
    for one in config.env or []:
        if not one.partition("=")[0]:
            raise InvalidArgument(f"invalid environment variable: {one}")
    if any("\0" in word for word in (*(config.env or ()), *(config.cmd or ()), *(config.entrypoint or ()))):
        raise InvalidArgument("environment and command can't hold a NUL character: a program could not be given it")
    if config.stop_signal:
        parse_signal(config.stop_signal)
    if config.healthcheck and (config.healthcheck.test or ["NONE"])[0] != "NONE":
        raise Unsupported("sampan does not serve health checks yet")


def _check_restart(host: HostConfig) -> None:
    name, retries = host.restart_policy.name, host.restart_policy.maximum_retry_count
    if name not in _RESTART_POLICIES:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'"
        )
    if name != "on-failure" and retries:
        raise InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if retries < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    if name not in ("", "no") and host.auto_remove:
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")


def _check_modes(host: HostConfig) -> None:
    driver = host.log_config.type
    if driver not in _LOG_DRIVERS:
        raise InvalidArgument(f"logger: no log driver named '{driver}' is registered")
    if host.userns_mode and host.userns_mode != "host":
        raise Unsupported("sampan does not serve user namespaces yet")
    if host.volumes_from:
        raise Unsupported("sampan does not serve --volumes-from yet")
    if host.links:
        raise Unsupported("sampan does not serve links yet")
