"""`--network` and the endpoint's settings: aliases, addresses, MAC, links."""

from __future__ import annotations

import csv
import ipaddress
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sampan.cli.command import Options

_LONG_FORM = re.compile(r"\w+=\w+(,\w+=\w+)*")
_MAC = re.compile(r"([0-9a-fA-F]{2}([:-]))(?:[0-9a-fA-F]{2}\2){4}[0-9a-fA-F]{2}")
_ENDPOINT_KEYS: tuple[str, ...] = ("Aliases", "Links", "DriverOpts", "MacAddress", "GwPriority")
_IPAM_KEYS: tuple[str, ...] = ("IPv4Address", "IPv6Address", "LinkLocalIPs")
_ADDRESS_KEYS = {"ip": "IPv4Address", "ip6": "IPv6Address"}


def attachment_of(text: str) -> dict[str, Any]:
    """Parse a value of `--network` (`NAME` or `name=NAME,alias=A,ip=…`) into its Target and the endpoint's fields."""
    if not _LONG_FORM.search(text):
        return {"Target": text}
    attachment: dict[str, Any] = {}
    for field in next(csv.reader([text.lower()], strict=True)):
        key, equals, value = (part.strip() for part in field.partition("="))
        if not equals or not key:
            raise ValueError(f"invalid field {field}")
        _apply(attachment, key, value)
    if not attachment.get("Target"):
        raise ValueError("network name/id is not specified")
    return attachment


def _apply(attachment: dict[str, Any], key: str, value: str) -> None:
    if key == "name":
        attachment["Target"] = value
    elif key == "alias":
        attachment.setdefault("Aliases", []).append(value)
    elif key in _ADDRESS_KEYS:
        attachment[_ADDRESS_KEYS[key]] = str(ipaddress.ip_address(value))
    elif key == "link-local-ip":
        attachment.setdefault("LinkLocalIPs", []).append(str(ipaddress.ip_address(value)))
    elif key == "mac-address":
        attachment["MacAddress"] = value
    elif key == "driver-opt":
        name, equals, setting = value.partition("=")
        if not equals or not name:
            raise ValueError("invalid key value pair format in driver options")
        attachment.setdefault("DriverOpts", {})[name.strip()] = setting.strip()
    elif key == "gw-priority":
        try:
            attachment["GwPriority"] = int(value)
        except ValueError:
            raise ValueError(f"invalid gw-priority ({value}): invalid syntax") from None
    else:
        raise ValueError(f"invalid field key {key}")


def network_mode(options: Options) -> str:
    """HostConfig's NetworkMode: the first network, or `default`."""
    networks = _networks(options)
    return str(networks[0]["Target"]) if networks else "default"


def endpoints(options: Options) -> dict[str, Any]:
    """NetworkingConfig's EndpointsConfig. Raises `ValueError` for options that conflict."""
    networks = _networks(options)
    attachments = [dict(network) for network in networks] or [{"Target": "default"}]
    _add_flags(attachments[0], options)
    found: dict[str, Any] = {}
    for attachment in attachments:
        target = attachment["Target"]
        if target in found:
            raise ValueError(f'network "{target}" is specified multiple times')
        found[target] = _endpoint(attachment)
    user_defined = {_is_user_defined(target) for target in found}
    if len(user_defined) > 1:
        raise ValueError("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    if len(networks) == 1 and not any(found.values()):
        return {}  # the daemon creates a plain endpoint by itself
    return found


def _networks(options: Options) -> list[dict[str, Any]]:
    return [*options.value("network"), *options.value("net")]


def _is_user_defined(target: str) -> bool:
    return target not in ("default", "bridge", "host", "none") and not target.startswith("container:")


def _add_flags(attachment: dict[str, Any], options: Options) -> None:
    """Apply `--network-alias`, `--ip`, … to the first network."""
    given = {
        ("Aliases", "--network-alias and per-network alias"): options.texts("network-alias")
        + options.texts("net-alias"),
        ("IPv4Address", "--ip and per-network IPv4 address"): options.value("ip"),
        ("IPv6Address", "--ip6 and per-network IPv6 address"): options.value("ip6"),
        ("MacAddress", "--mac-address and per-network MAC address"): options.text("mac-address"),
        (
            "LinkLocalIPs",
            "--link-local-ip and per-network link-local IP addresses",
        ): options.texts("link-local-ip"),
    }
    for (key, conflict), value in given.items():
        if value and attachment.get(key):
            raise ValueError(f"conflicting options: cannot specify both {conflict}")
        if value:
            attachment[key] = value
    if _is_user_defined(attachment["Target"]) and options.texts("link"):
        attachment["Links"] = options.texts("link")


def _endpoint(attachment: dict[str, Any]) -> dict[str, Any]:
    if not attachment["Target"].strip():
        raise ValueError("no name set for network")
    if attachment.get("Aliases") and not _is_user_defined(attachment["Target"]):
        raise ValueError("network-scoped aliases are only supported for user-defined networks")
    if (mac := attachment.get("MacAddress")) and not _MAC.fullmatch(mac.strip()):
        raise ValueError(f"{mac} is not a valid mac address")
    endpoint = {key: attachment[key] for key in _ENDPOINT_KEYS if key in attachment}
    if addresses := {key: attachment[key] for key in _IPAM_KEYS if key in attachment}:
        endpoint["IPAMConfig"] = addresses
    return endpoint
