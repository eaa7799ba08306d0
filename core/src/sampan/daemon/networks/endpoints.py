"""The endpoints that a container asks for, and their validation.

Source of rules and messages: moby daemon/create.go (validateNetworkingConfig), container_operations.go
(validateEndpointSettings).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface

from sampan.daemon.container import Record
from sampan.daemon.networks.links import parse_link
from sampan.daemon.networks.pools import together
from sampan.daemon.settings.namespaces import SHARED
from sampan.errdefs import Forbidden, InvalidArgument
from sampan.models import CreateContainer, EndpointIPAMConfig, EndpointSettings
from sampan.network.joining import SYSCTLS_OPTION
from sampan.network.kernel import parse_sysctl
from sampan.network.records import EndpointWish, NetworkRecord, PortBinding

_PREDEFINED = frozenset({"bridge", "host", "none", "default"})
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")
_ASKED = ("ipam_config", "links", "aliases", "mac_address", "driver_opts", "gw_priority")


def networks_of(request: CreateContainer, mode: str) -> dict[str, EndpointSettings]:
    """The networks that the container will be on, by name.

    As in Docker, whether they, or the container whose network is shared, exist is checked at the start: Docker's
    client takes `NotFound` at creation as a missing image.
    """
    asked = request.networking_config.endpoints_config or {}
    settings = {("bridge" if name == "default" else name): _checked(name, given) for name, given in asked.items()}
    if mode.startswith(SHARED):
        if settings.keys() - {mode, request.host_config.network_mode}:
            raise InvalidArgument("conflicting options: container sharing a network can't be connected to networks")
        return {}
    if request.config.network_disabled:
        return {}
    settings.setdefault(mode, EndpointSettings())
    return settings


def only_asked(settings: EndpointSettings) -> EndpointSettings:
    """The settings without the engine's own fields of an endpoint, which clients send back as they received them."""
    return EndpointSettings(**{name: getattr(settings, name) for name in _ASKED})


def check(network: NetworkRecord, settings: EndpointSettings) -> None:
    """Raise `InvalidArgument` for what the network can't provide, `Forbidden` if it can't have endpoints."""
    if network.config_only:
        raise Forbidden("cannot create endpoint on configuration-only network")
    faults = list(_faults(network.name, settings))
    together("invalid endpoint settings", faults or _misplaced(network, settings))


def wish_of(record: Record, settings: EndpointSettings, ports: tuple[PortBinding, ...]) -> EndpointWish:
    """What the container asks of its endpoint in a network; `check` must have succeeded."""
    ipam = settings.ipam_config or EndpointIPAMConfig()
    return EndpointWish(
        container_name=record.name,
        names=dns_names(record, settings),
        links=tuple((alias, name) for name, alias in map(parse_link, settings.links or ())),
        ipv4=IPv4Address(ipam.ipv4_address) if ipam.ipv4_address else None,
        ipv6=IPv6Address(ipam.ipv6_address) if ipam.ipv6_address else None,
        link_local=tuple(_link_local(text) for text in ipam.link_local_ips or ()),
        mac=settings.mac_address.replace("-", ":").lower() or None,
        ports=ports,
        gateway_priority=settings.gw_priority,
        options=settings.driver_opts or {},
    )


def dns_names(record: Record, settings: EndpointSettings) -> tuple[str, ...]:
    """The names by which other containers find this one, its own name first (moby buildEndpointDNSNames)."""
    names = (record.name, *(settings.aliases or ()), record.id[:12], record.config.hostname or "")
    return tuple(dict.fromkeys(name for name in names if name))


def _misplaced(network: NetworkRecord, settings: EndpointSettings) -> Iterator[str]:
    ipam = settings.ipam_config or EndpointIPAMConfig()
    for text in filter(None, (ipam.ipv4_address, ipam.ipv6_address)):
        if not any(ip_address(text) in pool.subnet for pool in network.pools):
            yield f"no configured subnet contains IP address {text}"


def _checked(name: str, settings: EndpointSettings | None) -> EndpointSettings:
    if settings is None:
        raise InvalidArgument(f"invalid config for network {name}: EndpointsConfig is nil")
    together(f"invalid config for network {name}: invalid endpoint settings", _faults(name, settings))
    return only_asked(settings)


def _faults(name: str, settings: EndpointSettings) -> Iterator[str]:
    ipam = settings.ipam_config or EndpointIPAMConfig()
    if name in _PREDEFINED:
        if ipam.ipv4_address or ipam.ipv6_address:
            yield "user-specified IP address is supported on user-defined networks only"
        if settings.aliases:
            yield "network-scoped aliases are only supported for user-defined networks"
    if ipam.ipv4_address and not _is_address(IPv4Address, ipam.ipv4_address):
        yield f"invalid IPv4 address: {ipam.ipv4_address}"
    if ipam.ipv6_address and not _is_address(IPv6Address, ipam.ipv6_address):
        yield f"invalid IPv6 address: {ipam.ipv6_address}"
    for text in ipam.link_local_ips or ():
        if not (_is_address(IPv4Address, text) or _is_address(IPv6Address, text)):
            yield f"invalid link-local IP address: {text}"
    if settings.mac_address and not _is_mac_address(settings.mac_address):
        yield f"address {settings.mac_address}: invalid MAC address"
    if sysctls := (settings.driver_opts or {}).get(SYSCTLS_OPTION):
        yield from filter(None, map(_sysctl_fault, sysctls.split(",")))


def _sysctl_fault(text: str) -> str | None:
    try:
        parse_sysctl(text)
    except InvalidArgument as error:
        return str(error)
    return None


def _link_local(text: str) -> IPv4Interface | IPv6Interface:
    """Add the prefix length of its kind (RFC 3927, RFC 4291), as Docker does for any address given here."""
    address = ip_address(text)
    return ip_interface((address, 16 if address.version == 4 else 64))


def _is_mac_address(text: str) -> bool:
    """Whether an interface can have it: neither zero nor multicast (lowest bit of the first byte)."""
    if not _MAC.fullmatch(text):
        return False
    packed = bytes.fromhex(text.replace("-", ":").replace(":", ""))
    return not packed[0] & 1 and any(packed)


def _is_address(kind: type[IPv4Address] | type[IPv6Address], text: str) -> bool:
    try:
        address = kind(text)
    except ValueError:
        return False
    return not address.is_unspecified
