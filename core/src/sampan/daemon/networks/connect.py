"""A container's networking: its sandbox, its endpoints, and its hosts, hostname and resolv.conf files."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.daemon.networks.endpoints import check, wish_of
from sampan.daemon.networks.hosts import serve_names, tell_linkers, write_files
from sampan.daemon.settings.namespaces import BRIDGE, HOST, SHARED, network_mode
from sampan.errdefs import Conflict, InvalidArgument, SampanError
from sampan.models import EndpointSettings
from sampan.network import gateway
from sampan.network.records import NetworkRecord

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)


def has_own_sandbox(container: Container) -> bool:
    """Whether it has a network namespace of its own."""
    mode = network_mode(container.record.host_config)
    return mode != HOST and not mode.startswith(SHARED)


def shared_container(daemon: Daemon, container: Container) -> Container | None:
    """The running container whose network this one shares, if any.

    Raises `Conflict` with Docker's message if it is not running, `NotFound` if it is gone.
    """
    mode = network_mode(container.record.host_config)
    if not mode.startswith(SHARED):
        return None
    other = daemon.containers.get(mode.removeprefix(SHARED))
    if other is container:
        raise InvalidArgument("cannot join own network namespace")
    if not other.running:
        raise Conflict(
            f"cannot join network namespace of a non running container: container {other.record.name} is "
            f"{other.state.status}"
        )
    return other


async def sandbox(daemon: Daemon, container: Container, undo: AsyncExitStack) -> Path | None:
    """The network namespace that the container will run in; `None` means the host's.

    If it shares another container's network, it takes over that container's host name too.
    """
    if network_mode(container.record.host_config) == HOST:
        return None
    if other := shared_container(daemon, container):
        config, others = container.record.config, other.record.config
        config.hostname, config.domainname = others.hostname, others.domainname
        return Path(f"/proc/{other.state.pid}/ns/net")
    record = await daemon.networks.acquire_sandbox(container.id)
    undo.push_async_callback(disconnect, daemon, container)
    return record.path


async def connect(daemon: Daemon, container: Container) -> None:
    """Attach the sandbox to the container's networks, write its hosts, hostname and resolv.conf, and serve names.

    The network with the best gateway comes first, so that default routes and published ports need not move. If there
    is no default bridge, a container that should be on it has only a loopback interface (moby connectToNetwork).
    """
    if network_mode(container.record.host_config).startswith(SHARED):
        return
    container.record.networks = by_name(daemon, container)
    asked = container.record.networks.items()
    for name, settings in sorted(asked, key=lambda one: gateway.rank(one[1].gw_priority, one[0])):
        if name != BRIDGE or daemon.networks.has_default_bridge:
            await attach(daemon, container, daemon.networks.get(name), settings)
    await asyncio.to_thread(write_files, daemon, container)
    await serve_names(daemon, container)
    await tell_linkers(daemon, container)


async def attach(daemon: Daemon, container: Container, network: NetworkRecord, settings: EndpointSettings) -> None:
    """Attach the sandbox to one network. Raises as `NetworkController.connect` does."""
    check(network, settings)
    await daemon.networks.connect(container.id, network, wish_of(container.record, settings, container.ports))
    publish(daemon, "connect", container.id, network)


def by_name(daemon: Daemon, container: Container) -> dict[str, EndpointSettings]:
    """The networks that the container asks for, by name even where it used an ID; missing ones stay as given."""
    known = {name: daemon.networks.find(name) for name in container.record.networks}
    return {
        network.name if (network := known[name]) else name: settings
        for name, settings in container.record.networks.items()
    }


def publish(daemon: Daemon, action: str, container_id: str, network: NetworkRecord) -> None:
    """Publish that a container joined or left a network."""
    attributes = {"container": container_id, "name": network.name, "type": network.driver}
    daemon.events.publish("network", action, network.id, attributes)


async def disconnect(daemon: Daemon, container: Container) -> None:
    """Detach the container from its networks and release its sandbox; failures are logged and reconciled later."""
    # Looked up first, as a network may be removed as soon as the container has left it.
    networks = [daemon.networks.get(endpoint.network_id) for endpoint in daemon.networks.endpoints(container.id)]
    try:
        await daemon.networks.release_sandbox(container.id)
    except SampanError as error:
        _log.error("container %s: %s", container.id, error)
    for network in networks:
        publish(daemon, "disconnect", container.id, network)
