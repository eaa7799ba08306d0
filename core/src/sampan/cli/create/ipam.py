"""Matches `--subnet`, `--ip-range`, `--gateway` and `--aux-address` of `network create`.

Source: docker/cli cli/command/network/create.go, createIPAMConfig.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from sampan.cli.create.environment import as_map
from sampan.cli.errors import CliError

if TYPE_CHECKING:
    from sampan.cli.command import Options


def ipam(options: Options) -> dict[str, Any]:
    """The body's IPAM. Raises `CliError` with docker's message for values that belong to no subnet."""
    subnets = separated(options.texts("subnet"))
    ranges, gateways = separated(options.texts("ip-range")), separated(options.texts("gateway"))
    if len(subnets) < max(len(ranges), len(gateways)):
        raise CliError("every ip-range or gateway must have a corresponding subnet")
    configs = {text: {"Subnet": text} for text in subnets}
    _refuse_overlaps(subnets)
    for text in ranges:
        _put(configs, text, "IPRange", "range", f"cannot configure multiple ranges ({text}, {{}}) on the same subnet")
    for text in gateways:
        _put(configs, text, "Gateway", "gateway", f"cannot configure multiple gateways ({text}, {{}}) for the subnet")
    for name, text in as_map(options.texts("aux-address")).items():
        config: dict[str, Any] = configs[_subnet_of(configs, text, "aux-address")]
        config.setdefault("AuxiliaryAddresses", {})[name] = text
    return {
        "Driver": options.text("ipam-driver"),
        "Config": list(configs.values()),
        "Options": as_map(options.texts("ipam-opt")),
    }


def separated(texts: list[str]) -> list[str]:
    """The values of a flag that may be repeated or separated by commas."""
    return [part for text in texts for part in text.split(",") if part]


def _put(configs: dict[str, dict[str, str]], text: str, key: str, what: str, complaint: str) -> None:
    config = configs[_subnet_of(configs, text, what)]
    if key in config:
        raise CliError(complaint.format(config[key]) + f" ({config['Subnet']})")
    config[key] = text


def _subnet_of(configs: dict[str, dict[str, str]], text: str, what: str) -> str:
    address = _interface(text).ip
    for subnet in configs:
        network = _interface(subnet).network
        if address.version == network.version and address in network:
            return subnet
    raise CliError(f"no matching subnet for {what} {text}")


def _refuse_overlaps(subnets: list[str]) -> None:
    networks = [_interface(subnet).network for subnet in subnets]
    for at, one in enumerate(networks):
        for other in networks[:at]:
            if one.version == other.version and (one.network_address in other or other.network_address in one):
                raise CliError("multiple overlapping subnet configuration is not supported")


def _interface(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        raise CliError(f"invalid subnet: invalid CIDR address: {text}") from None
