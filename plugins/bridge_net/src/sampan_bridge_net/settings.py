"""What a network's options mean to this driver. The names are Docker's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sampan.drivers import Network
from sampan.errdefs import InvalidArgument

NAME = "com.docker.network.bridge.name"
DEFAULT_BRIDGE = "com.docker.network.bridge.default_bridge"
ENABLE_ICC = "com.docker.network.bridge.enable_icc"
ENABLE_IP_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
MTU = "com.docker.network.driver.mtu"

_IFNAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})  # as Go's strconv.ParseBool
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


@dataclass(frozen=True)
class BridgeSettings:
    """One network's bridge. `icc`: its containers may talk to each other; `masquerade`: they leave with an address
    of the host's."""

    ifname: str
    icc: bool
    masquerade: bool
    mtu: int


def settings_of(network: Network, instance: str) -> BridgeSettings:
    """The settings of a network. Raises `InvalidArgument` for a value that makes no sense."""
    options = network.options
    default = _flag(options, DEFAULT_BRIDGE, default=False)
    ifname = options.get(NAME) or (f"spn-{instance}0" if default else f"spn-{network.id[:8]}")
    if not _IFNAME.fullmatch(ifname) or ifname in (".", ".."):
        raise InvalidArgument(f"invalid bridge name {ifname!r}")
    return BridgeSettings(
        ifname,
        icc=_flag(options, ENABLE_ICC, default=True),
        masquerade=_flag(options, ENABLE_IP_MASQUERADE, default=True) and not network.internal,
        mtu=_mtu(options),
    )


def _flag(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = options.get(name, "")
    if value not in _TRUE | _FALSE | {""}:
        raise InvalidArgument(f"invalid value for {name}: {value!r} is not a boolean")
    return default if value == "" else value in _TRUE


def _mtu(options: Mapping[str, str]) -> int:
    value = options.get(MTU, "1500")
    if not re.fullmatch("[0-9]{1,5}", value) or not 68 <= int(value or 0) <= 65535:  # RFC 791: 68 at least
        raise InvalidArgument(f"invalid value for {MTU}: {value!r}")
    return int(value)
