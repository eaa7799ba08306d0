"""What a network's options mean to this driver. The names are Docker's."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from sampan.drivers import Network
from sampan.errdefs import InvalidArgument

PARENT, MODE, MTU = "parent", "macvlan_mode", "com.docker.network.driver.mtu"
_IFNAME = re.compile(r"(?!\.{1,2}$)[^\s/:%\0]{1,15}")


class Mode(enum.IntEnum):
    """How the containers on one parent reach each other. Values are the kernel's (uapi/linux/if_link.h)."""

    PRIVATE = 1
    VEPA = 2
    BRIDGE = 4
    PASSTHRU = 8


@dataclass(frozen=True)
class MacvlanSettings:
    """`parent` is the host's link; `own` says that the driver creates it.

    If `mtu` is `None`, the parent's MTU is used.
    """

    parent: str
    own: bool
    mode: Mode
    mtu: int | None


def settings_of(network: Network) -> MacvlanSettings:
    """The settings of a network. Raises `InvalidArgument` for an invalid value."""
    parent = network.options.get(PARENT, "")
    if parent and not _IFNAME.fullmatch(parent):
        raise InvalidArgument(f"invalid parent interface {parent!r}")
    own = network.internal or not parent
    if parent and network.internal:
        raise InvalidArgument("an internal macvlan network is isolated and can't have a parent interface")
    return MacvlanSettings(f"spd-{network.id[:8]}" if own else parent, own, _mode(network), _mtu(network))


def _mode(network: Network) -> Mode:
    text = network.options.get(MODE, "") or "bridge"
    try:
        return Mode[text.upper()]
    except KeyError:
        raise InvalidArgument(
            f"requested macvlan mode '{text}' is not valid, 'bridge' mode is the macvlan driver default"
        ) from None


def _mtu(network: Network) -> int | None:
    text = network.options.get(MTU, "")
    if text and (not re.fullmatch("[0-9]{1,5}", text) or not 68 <= int(text) <= 65535):  # RFC 791: at least 68
        raise InvalidArgument(f"invalid value for {MTU}: {text!r}")
    return int(text) if text else None
