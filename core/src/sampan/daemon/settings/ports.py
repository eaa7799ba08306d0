"""Ports that a container exposes and publishes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from sampan.drivers import L4
from sampan.errdefs import InvalidArgument
from sampan.models import ContainerConfig, HostConfig
from sampan.network.records import PortBinding

_PROTOCOLS = {protocol.value: protocol for protocol in L4}
_MOST_PORTS = 3 * 65535  # every port of every protocol once


def port_bindings(config: ContainerConfig, host: HostConfig) -> Iterator[PortBinding]:
    """The ports to publish. Raises `InvalidArgument` with Docker's message for an invalid port."""
    for spec, bindings in (host.port_bindings or {}).items():
        port, protocol = parse_port(spec)
        for binding in bindings or ():
            first, last = _port_range(binding.host_port or "")
            yield PortBinding(protocol, port, _host_ip(binding.host_ip), first, last)
    if host.publish_all_ports:
        for spec in exposed_ports(config):
            if spec not in (host.port_bindings or {}):
                port, protocol = parse_port(spec)
                yield PortBinding(protocol, port)


def exposed_ports(config: ContainerConfig) -> list[str]:
    """The exposed ports one by one, such as `80/tcp`; `8000-8010/tcp` is expanded. Raises `InvalidArgument`."""
    ports: list[str] = []
    for spec in config.exposed_ports or {}:
        ports += _expanded(spec)
        if len(ports) > _MOST_PORTS:  # an image may repeat the same ones over and over
            raise InvalidArgument("too many exposed ports")
    return list(dict.fromkeys(ports))


def _expanded(spec: str) -> list[str]:
    numbers, _, protocol = spec.partition("/")
    try:
        first, last = _port_range(numbers)
        l4 = _PROTOCOLS[protocol.lower() or "tcp"]
    except (InvalidArgument, KeyError):
        raise InvalidArgument(f'invalid port specification: "{spec}"') from None
    if not first:
        raise InvalidArgument(f'invalid port specification: "{spec}"')
    return [f"{number}/{l4}" for number in range(first, last + 1)]


def parse_port(spec: str) -> tuple[int, L4]:
    """Parse `80/tcp` or `80`. Raises `InvalidArgument` with Docker's message."""
    number, _, protocol = spec.partition("/")
    try:
        return _port(number), _PROTOCOLS[protocol.lower() or "tcp"]
    except (ValueError, KeyError):
        raise InvalidArgument(f'invalid port specification: "{spec}"') from None


def _port_range(text: str) -> tuple[int, int]:
    if not text:
        return 0, 0
    first, _, last = text.partition("-")
    try:
        low = _port(first, least=0)
        high = _port(last, least=0) if last else low
    except ValueError:
        raise InvalidArgument(f'invalid port specification: "{text}"') from None
    if low > high:
        raise InvalidArgument(f'invalid port specification: "{text}"')
    return low, high


def _port(text: str, *, least: int = 1) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    number = int(text)
    if not least <= number <= 65535:
        raise ValueError(text)
    return number


@lru_cache(maxsize=64)  # a thousand bindings usually name the same address
def _host_ip(text: str | None) -> IPv4Address | IPv6Address | None:
    if not text:
        return None
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        raise InvalidArgument(f"invalid IP address: {text}") from None
