"""NetworkingConfig: which networks a container about to be created will be on, and how.

Source of rules and words: moby daemon/create.go (validateNetworkingConfig), container_operations.go
(validateEndpointSettings).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from sampan.daemon.namespaces import SHARED
from sampan.errdefs import InvalidArgument, Unsupported
from sampan.models import CreateContainer, EndpointIPAMConfig, EndpointSettings

SYSCTLS = "com.docker.network.endpoint.sysctls"
"""The driver option that holds sysctls of the endpoint's interface, with IFNAME for its name."""

_PREDEFINED = frozenset({"bridge", "host", "none", "default"})
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")
_INTERFACE = re.compile(r"\.(IFNAME|ifname)\.")
_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)\.[a-zA-Z0-9_-]+\.(IFNAME|ifname)\.[a-zA-Z0-9_-]+=[ -~]*")


def networks_of(request: CreateContainer, mode: str) -> dict[str, EndpointSettings]:
    """The networks that the container will be on, by name.

    Whether they, or the container whose network is shared, are there is asked at the start, as with Docker: to its
    client, `NotFound` at creation means that the image has to be pulled.
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


def interface_sysctls(settings: EndpointSettings, ifname: str) -> dict[str, str]:
    """The sysctls asked for of this endpoint's interface, by name."""
    asked = (settings.driver_opts or {}).get(SYSCTLS, "")
    pairs = (one.partition("=") for one in asked.split(",") if one)
    return {_INTERFACE.sub(f".{ifname}.", name): value for name, _, value in pairs} if ifname else {}


def _checked(name: str, settings: EndpointSettings | None) -> EndpointSettings:
    if settings is None:
        raise InvalidArgument(f"invalid config for network {name}: EndpointsConfig is nil")
    faults = list(_faults(name, settings))
    if faults:
        text = faults[0] if len(faults) == 1 else "".join(f"* {fault}\n" for fault in faults).rstrip()
        raise InvalidArgument(f"invalid config for network {name}: invalid endpoint settings:\n{text}")
    if settings.ipam_config and settings.ipam_config.link_local_ips:
        raise Unsupported("sampan does not serve link-local addresses of containers yet")
    return settings


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
    if settings.mac_address and not _MAC.fullmatch(settings.mac_address):
        yield f"address {settings.mac_address}: invalid MAC address"
    for sysctl in (settings.driver_opts or {}).get(SYSCTLS, "").split(",") if settings.driver_opts else ():
        if sysctl and not _SYSCTL.fullmatch(sysctl):
            yield (
                f"unrecognised network interface sysctl '{sysctl}'; represent 'net.X.Y.ethN.Z=V' as "
                "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )


def _is_address(kind: type[IPv4Address] | type[IPv6Address], text: str) -> bool:
    try:
        address = kind(text)
    except ValueError:
        return False
    return not address.is_unspecified
