"""What a network's options mean to this driver. The names are Docker's."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from sampan.drivers import Network, parse_bool
from sampan.errdefs import InvalidArgument

NAME = "com.docker.network.bridge.name"
DEFAULT_BRIDGE = "com.docker.network.bridge.default_bridge"
ENABLE_ICC = "com.docker.network.bridge.enable_icc"
ENABLE_IP_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
MTU = "com.docker.network.driver.mtu"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
GATEWAY_MODE = {
    4: "com.docker.network.bridge.gateway_mode_ipv4",
    6: "com.docker.network.bridge.gateway_mode_ipv6",
}

_IFNAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")


class GatewayMode(enum.StrEnum):
    """How the outside reaches a network's containers.

    `nat`: through the host's addresses and published ports. `nat-unprotected`: the same, and whoever has a route to a
    container reaches all its ports. `routed`: at the containers' own addresses, but only published ports. `isolated`:
    not even the host is on the bridge.
    """

    NAT = "nat"
    UNPROTECTED = "nat-unprotected"
    ROUTED = "routed"
    ISOLATED = "isolated"


@dataclass(frozen=True)
class BridgeSettings:
    """One network's bridge.

    `icc`: its containers may talk to each other; `masquerade`: they leave with one of the host's addresses; `modes`
    are the gateway modes by IP version.
    """

    ifname: str
    icc: bool
    masquerade: bool
    mtu: int
    modes: Mapping[int, GatewayMode]

    def masquerades(self, version: int) -> bool:
        """Whether traffic that leaves with this IP version gets one of the host's addresses."""
        return self.masquerade and self.modes[version] in (GatewayMode.NAT, GatewayMode.UNPROTECTED)


def settings_of(network: Network, instance: str) -> BridgeSettings:
    """The settings of a network. Raises `InvalidArgument` for an invalid value."""
    options = network.options
    default = _flag(options, DEFAULT_BRIDGE, default=False)
    ifname = options.get(NAME) or (f"spn-{instance}0" if default else f"spn-{network.id[:8]}")
    if not _IFNAME.fullmatch(ifname) or ifname in (".", ".."):
        raise InvalidArgument(f"invalid bridge name {ifname!r}")
    _host_binding(options)
    return BridgeSettings(
        ifname,
        icc=_flag(options, ENABLE_ICC, default=True),
        masquerade=_flag(options, ENABLE_IP_MASQUERADE, default=True) and not network.internal,
        mtu=_mtu(options),
        modes={version: _gateway_mode(network, version) for version in GATEWAY_MODE},
    )


def _gateway_mode(network: Network, version: int) -> GatewayMode:
    text = network.options.get(GATEWAY_MODE[version], "")
    try:
        mode = GatewayMode(text or "nat")
    except ValueError:
        raise InvalidArgument(f"unknown gateway mode {text}") from None
    if mode is GatewayMode.ISOLATED and not network.internal:
        raise InvalidArgument(f"gateway mode '{mode}' can only be used for an internal network")
    return mode


def _host_binding(options: Mapping[str, str]) -> None:
    """Check that the value is an address. The core chooses the host address of a published port."""
    text = options.get(HOST_BINDING, "")
    try:
        IPv4Address(text or "0.0.0.0")  # noqa: S104
    except ValueError:
        raise InvalidArgument(f"failed to parse {HOST_BINDING} value: {text} (nil ip)") from None


def _flag(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = options.get(name, "")
    try:
        return parse_bool(value) if value else default
    except ValueError:
        raise InvalidArgument(f"invalid value for {name}: {value!r} is not a boolean") from None


def _mtu(options: Mapping[str, str]) -> int:
    value = options.get(MTU, "1500")
    if not re.fullmatch("[0-9]{1,5}", value) or not 68 <= int(value or 0) <= 65535:  # RFC 791: at least 68
        raise InvalidArgument(f"invalid value for {MTU}: {value!r}")
    return int(value)
