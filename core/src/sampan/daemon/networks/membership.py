"""network_connect and network_disconnect, for running and stopped containers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from sampan.daemon.container import Container, Status
from sampan.daemon.networks import connect, endpoints, hosts
from sampan.daemon.settings.namespaces import network_mode
from sampan.engine import Job
from sampan.errdefs import Conflict, InvalidArgument, NotFound
from sampan.models import ConnectNetwork, DisconnectNetwork, EndpointSettings
from sampan.network.records import HOST, HOST_DRIVER, NONE, EndpointRecord, NetworkRecord

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def network_connect(daemon: Daemon, job: Job[ConnectNetwork]) -> None:
    """Connect a container to a network: at once if it runs, else when it starts."""
    async with daemon.alone(job.request.container, _require_life) as container:
        await _connect(daemon, container, daemon.networks.get(job.request.name), job.request.settings)


async def _connect(daemon: Daemon, container: Container, network: NetworkRecord, settings: EndpointSettings) -> None:
    _check_modes(daemon, container, network)
    endpoints.check(network, settings)
    settings = endpoints.only_asked(settings)
    networks = connect.by_name(daemon, container)
    if not container.running and network.name in networks:
        return
    async with AsyncExitStack() as undo:
        if container.running:
            before = daemon.networks.endpoints(container.id)
            await connect.attach(daemon, container, network, settings)
            undo.push_async_callback(_take_off, daemon, container, network)
            await _refresh(daemon, container, before)
        undo.callback(setattr, container.record, "networks", networks)
        container.record.networks = {**networks, network.name: settings}
        await daemon.containers.save(container)
        undo.pop_all()


async def network_disconnect(daemon: Daemon, job: Job[DisconnectNetwork]) -> None:
    """Disconnect a container from a network.

    With `force`, also a container that is gone, by the name it had there.
    """
    request = job.request
    if request.force and daemon.containers.find(request.container) is None:
        await _take_off_stray(daemon, request.container, daemon.networks.get(request.name))
        return
    async with daemon.alone(request.container, _require_life) as container:
        await _disconnect(daemon, container, request)


async def _disconnect(daemon: Daemon, container: Container, request: DisconnectNetwork) -> None:
    networks = connect.by_name(daemon, container)
    name = _name_among(daemon, request.name, networks, force=request.force or not container.running)
    if name not in networks:
        raise NotFound(f"container {container.id} is not connected to network {name}")
    if container.running:
        await _take_off(daemon, container, daemon.networks.get(name))
    container.record.networks = {other: asked for other, asked in networks.items() if other != name}
    await daemon.containers.save(container)


async def _take_off(daemon: Daemon, container: Container, network: NetworkRecord) -> None:
    if network.driver == HOST_DRIVER:
        raise InvalidArgument(
            "cannot disconnect container from host network - container was created in host network mode"
        )
    before = daemon.networks.endpoints(container.id)
    await daemon.networks.disconnect(container.id, network)
    connect.publish(daemon, "disconnect", container.id, network)
    await _refresh(daemon, container, before)


async def _take_off_stray(daemon: Daemon, container_name: str, network: NetworkRecord) -> None:
    for one in daemon.networks.endpoints_of(network):
        if container_name in (one.container_name, one.container_id):
            await daemon.networks.disconnect(one.container_id, network)
            connect.publish(daemon, "disconnect", one.container_id, network)
            return
    raise NotFound(f"endpoint {container_name} not found")


async def _refresh(daemon: Daemon, container: Container, before: Sequence[EndpointRecord]) -> None:
    """Update the running container's files after a change of its networks, and how its DNS queries are served."""
    files = hosts.container_files(daemon, container)
    await asyncio.to_thread(daemon.networks.change_files, container.dir, files, before, container.id)
    await daemon.networks.serve_names(container.id, files)


def _name_among(daemon: Daemon, asked: str, networks: Collection[str], *, force: bool) -> str:
    """The name of the network asked for; for a removed one, the name that the container knows."""
    try:
        return daemon.networks.get(asked).name
    except NotFound:
        if force and asked in networks:
            return asked
        raise


def _require_life(container: Container) -> None:
    if container.state.status in (Status.REMOVING, Status.DEAD):
        raise Conflict(
            f"Container {container.id} is marked for removal and cannot be connected or disconnected to the network"
        )


def _check_modes(daemon: Daemon, container: Container, network: NetworkRecord) -> None:
    """Source: moby daemon/container_operations.go, updateNetworkSettings and connectToNetwork."""
    if network_mode(container.record.host_config) != HOST and network.name == HOST:
        raise InvalidArgument(
            "cannot connect container to host network - container must be created in host network mode"
        )
    if not connect.has_own_sandbox(container):
        raise InvalidArgument(
            "container sharing network namespace with another container or host cannot be connected to any other "
            "network"
        )
    others = connect.by_name(daemon, container).keys() - {network.name}
    if others and NONE in (*others, network.name):
        raise InvalidArgument(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )
