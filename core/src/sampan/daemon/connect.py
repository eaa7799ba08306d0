"""A container's networks: its sandbox, its endpoints, and the files that name them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sampan.daemon.container import Container
from sampan.daemon.endpoints import interface_sysctls
from sampan.daemon.hosts import tell_linkers, write_files
from sampan.daemon.namespaces import HOST, SHARED, network_mode
from sampan.daemon.ports import port_bindings
from sampan.errdefs import Conflict, InvalidArgument, SampanError
from sampan.models import EndpointSettings
from sampan.network.records import NetworkRecord, PortBinding
from sampan.syscalls.netns import run_in_netns

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)
AddressT = TypeVar("AddressT", IPv4Address, IPv6Address)


def has_own_sandbox(container: Container) -> bool:
    """Whether it has a network namespace of its own."""
    mode = network_mode(container.record.host_config)
    return mode != HOST and not mode.startswith(SHARED)


def shared_container(daemon: Daemon, container: Container) -> Container | None:
    """The running container whose network this one shares, if it does.

    Raises `Conflict` in Docker's words if it does not run, `NotFound` if it is gone.
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
    """The network namespace the container will run in; `None` is the host's. One that shares another container's
    network goes by its host name too."""
    if network_mode(container.record.host_config) == HOST:
        return None
    if other := shared_container(daemon, container):
        config, others = container.record.config, other.record.config
        config.hostname, config.domainname = others.hostname, others.domainname
        return Path(f"/proc/{other.state.pid}/ns/net")
    record = await daemon.networks.acquire_sandbox(container.id)
    undo.push_async_callback(daemon.networks.release_sandbox, container.id)
    return record.path


async def connect(daemon: Daemon, container: Container) -> None:
    """Attach the sandbox to the container's networks, and write its hosts, hostname and resolv.conf.

    The first network that leads out publishes the ports: it carries the default routes that answers take.
    """
    record = container.record
    if network_mode(record.host_config).startswith(SHARED):
        return
    ports = list(port_bindings(record.config, record.host_config))
    for name, settings in sorted(record.networks.items(), key=lambda item: -item[1].gw_priority):
        network = daemon.networks.get(name)
        leads_out = not network.builtin and not network.internal
        await _attach(daemon, container, network, settings, ports if leads_out else ())
        if leads_out:
            ports = []
    await asyncio.to_thread(write_files, daemon, container)
    await tell_linkers(daemon, container)


async def _attach(
    daemon: Daemon,
    container: Container,
    network: NetworkRecord,
    settings: EndpointSettings,
    ports: Sequence[PortBinding],
) -> None:
    ipam = settings.ipam_config
    endpoint = await daemon.networks.connect(
        container.id,
        network,
        container_name=container.record.name,
        aliases=settings.aliases or (),
        ipv4=_address(IPv4Address, ipam.ipv4_address) if ipam and ipam.ipv4_address else None,
        ipv6=_address(IPv6Address, ipam.ipv6_address) if ipam and ipam.ipv6_address else None,
        mac=settings.mac_address or None,
        ports=ports,
    )
    if sysctls := interface_sysctls(settings, endpoint.ifname):
        await asyncio.to_thread(_set_sysctls, daemon.networks.sandbox(container.id).path, sysctls)
    attributes = {"container": container.id, "name": network.name, "type": network.driver}
    daemon.events.publish("network", "connect", network.id, attributes)


def _set_sysctls(namespace: Path, sysctls: Mapping[str, str]) -> None:
    """Set them in the network namespace, whose interface is there by now."""

    def write() -> None:
        for name, value in sysctls.items():
            Path("/proc/sys", *name.split(".")).write_text(value)

    fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        run_in_netns(fd, write)
    except OSError as error:
        raise InvalidArgument(f"failed to set sysctl: {error.strerror}: {error.filename}") from None
    finally:
        os.close(fd)


async def disconnect(daemon: Daemon, container: Container) -> None:
    """Take the container off its networks and let go of its sandbox; what fails is logged and reconciled later."""
    endpoints = daemon.networks.endpoints(container.id)
    try:
        await daemon.networks.release_sandbox(container.id)
    except SampanError as error:
        _log.error("container %s: %s", container.id, error)
    for endpoint in endpoints:
        network = daemon.networks.get(endpoint.network_id)
        attributes = {"container": container.id, "name": network.name, "type": network.driver}
        daemon.events.publish("network", "disconnect", network.id, attributes)


def _address(kind: type[AddressT], text: str) -> AddressT:
    try:
        return kind(text)
    except ValueError:
        raise InvalidArgument(f"invalid IP address: {text}") from None
