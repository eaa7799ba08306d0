"""A container's networks: its sandbox, its endpoints, and the files that name them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sampan.daemon.container import Container
from sampan.drivers import L4
from sampan.errdefs import Conflict, InvalidArgument, SampanError
from sampan.models import ContainerConfig, HostConfig
from sampan.network.files import ContainerFiles
from sampan.network.records import PortBinding

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)
HOST_MODE, NONE_MODE, BRIDGE_MODE = "host", "none", "bridge"
_SHARED = "container:"
AddressT = TypeVar("AddressT", IPv4Address, IPv6Address)


def network_mode(host: HostConfig) -> str:
    """`bridge`, `host`, `none`, `container:ID` or a network's name."""
    mode = host.network_mode or "default"
    return BRIDGE_MODE if mode == "default" else mode


def has_own_sandbox(container: Container) -> bool:
    """Whether it has a network namespace of its own."""
    mode = network_mode(container.record.host_config)
    return mode != HOST_MODE and not mode.startswith(_SHARED)


async def sandbox(daemon: Daemon, container: Container, undo: AsyncExitStack) -> Path | None:
    """The network namespace the container will run in; `None` is the host's."""
    mode = network_mode(container.record.host_config)
    if mode == HOST_MODE:
        return None
    if mode.startswith(_SHARED):
        other = daemon.containers.get(mode.removeprefix(_SHARED))
        if not other.running:
            raise Conflict(f"cannot join network namespace of a non running container: {other.id}")
        return Path(f"/proc/{other.state.pid}/ns/net")
    record = await daemon.networks.acquire_sandbox(container.id)
    undo.push_async_callback(daemon.networks.release_sandbox, container.id)
    return record.path


async def connect(daemon: Daemon, container: Container) -> None:
    """Attach the sandbox to the container's networks, and write its hosts, hostname and resolv.conf.

    The first network that leads out publishes the ports: it carries the default routes that answers take.
    """
    host, config = container.record.host_config, container.record.config
    mode = network_mode(host)
    if mode.startswith(_SHARED):
        return
    ports = list(port_bindings(config, host))
    for name, settings in container.record.networks.items():
        network = daemon.networks.get(name)
        leads_out = not network.builtin and not network.internal
        ipam = settings.ipam_config
        await daemon.networks.connect(
            container.id,
            network,
            container_name=container.record.name,
            aliases=settings.aliases or (),
            ipv4=_address(IPv4Address, ipam.ipv4_address) if ipam and ipam.ipv4_address else None,
            ipv6=_address(IPv6Address, ipam.ipv6_address) if ipam and ipam.ipv6_address else None,
            mac=settings.mac_address or config.mac_address or None,
            ports=ports if leads_out else (),
        )
        if leads_out:
            ports = []
        daemon.events.publish(
            "network",
            "connect",
            network.id,
            {"container": container.id, "name": network.name, "type": network.driver},
        )
    await asyncio.to_thread(write_files, daemon, container)


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


def write_files(daemon: Daemon, container: Container) -> None:
    """Write `hosts`, `hostname` and `resolv.conf` into the container's directory, in place."""
    host, config = container.record.host_config, container.record.config
    settings = daemon.settings
    files = ContainerFiles(
        hostname=config.hostname or settings.name,
        domainname=config.domainname or "",
        extra_hosts=tuple(host.extra_hosts or ()),
        dns=tuple(host.dns or settings.dns),
        dns_search=tuple(host.dns_search or settings.dns_search),
        dns_options=tuple(host.dns_options or settings.dns_options),
        host_network=network_mode(host) == HOST_MODE,
    )
    daemon.networks.write_files(container.id, container.bundle_dir, files)


def port_bindings(config: ContainerConfig, host: HostConfig) -> Iterator[PortBinding]:
    """The ports to publish. Raises `InvalidArgument` in Docker's words for what is no port."""
    for spec, bindings in (host.port_bindings or {}).items():
        port, protocol = parse_port(spec)
        for binding in bindings or ():
            first, last = _port_range(binding.host_port or "")
            yield PortBinding(protocol, port, _host_ip(binding.host_ip), first, last)
    if host.publish_all_ports:
        for spec in config.exposed_ports or {}:
            if spec not in (host.port_bindings or {}):
                port, protocol = parse_port(spec)
                yield PortBinding(protocol, port)


def parse_port(spec: str) -> tuple[int, L4]:
    """`80/tcp` or `80`. Raises `InvalidArgument` in Docker's words."""
    number, _, protocol = spec.partition("/")
    try:
        return _port(number), L4(protocol.lower() or "tcp")
    except ValueError:
        raise InvalidArgument(f'invalid port specification: "{spec}"') from None


def _port_range(text: str) -> tuple[int, int]:
    if not text:
        return 0, 0
    first, _, last = text.partition("-")
    try:
        low, high = _port(first, least=0), _port(last or first, least=0)
    except ValueError:
        raise InvalidArgument(f'invalid port specification: "{text}"') from None
    if low > high:
        raise InvalidArgument(f'invalid port specification: "{text}"')
    return low, high


def _port(text: str, *, least: int = 1) -> int:
    number = int(text)
    if not least <= number <= 65535:
        raise ValueError(text)
    return number


def _address(kind: type[AddressT], text: str) -> AddressT:
    try:
        return kind(text)
    except ValueError:
        raise InvalidArgument(f"invalid IP address: {text}") from None


def _host_ip(text: str | None) -> IPv4Address | IPv6Address | None:
    if not text:
        return None
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        raise InvalidArgument(f"invalid IP address: {text}") from None
