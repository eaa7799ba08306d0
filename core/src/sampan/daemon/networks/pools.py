"""The address pools that a request for a network asks for, and their validation, with Docker's messages.

Source: moby daemon/network.go, validateIpamConfig.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network

from sampan.errdefs import InvalidArgument, NotFound
from sampan.models import IPAM, IPAMConfig
from sampan.network.ipam import check_kept, pool_of
from sampan.network.records import AddressPool

_DRIVERS = frozenset({"", "default"})


def address_pools(ipam: IPAM, versions: Iterable[int]) -> list[AddressPool]:
    """The pools of these IP versions; others are ignored, as in Docker.

    Raises `InvalidArgument`, `Forbidden` for addresses that can't be used, or `NotFound` for an IPAM driver other
    than the core's.
    """
    if ipam.driver not in _DRIVERS:
        raise NotFound(f'could not find plugin {ipam.driver} in v1 plugin registry: plugin "{ipam.driver}" not found')
    wanted = set(versions)
    return [pool for config in ipam.config or () if (pool := _pool(config, wanted))]


def together(title: str, problems: Iterable[str]) -> None:
    """Raise `InvalidArgument` with all problems below a title; does nothing if there are none."""
    found = list(problems)
    if len(found) == 1:
        raise InvalidArgument(f"{title}:\n{found[0]}")
    if found:
        raise InvalidArgument("\n".join([f"{title}:", *(f"* {problem}" for problem in found)]))


def _pool(config: IPAMConfig, versions: set[int]) -> AddressPool | None:
    if not config.subnet:
        if config.gateway or config.ip_range or config.auxiliary_addresses:
            raise InvalidArgument("every ip-range, gateway or auxiliary address must have a corresponding subnet")
        return None
    subnet = _network("subnet", config.subnet)
    if subnet.version not in versions:
        return None
    problems = [*_subnet_problems(config.subnet, subnet), *_range_problems(config.ip_range, subnet)]
    addresses = {"gateway": config.gateway} if config.gateway else {}
    problems += _address_problems("gateway", addresses, subnet)
    problems += _address_problems("auxiliary address", config.auxiliary_addresses or {}, subnet)
    together("invalid network config", problems)
    pool = pool_of(subnet, ip_address(config.gateway) if config.gateway else None)
    reserved = {name: ip_address(text) for name, text in (config.auxiliary_addresses or {}).items()}
    pool = AddressPool(subnet, pool.gateway, ip_network(config.ip_range) if config.ip_range else None, reserved)
    check_kept(pool)
    return pool


def _subnet_problems(text: str, subnet: IPv4Network | IPv6Network) -> Iterator[str]:
    if ip_interface(text).ip != subnet.network_address:
        yield f"invalid subnet {text}: it should be {subnet}"
    if subnet.is_multicast or subnet.is_loopback:
        yield f"invalid subnet {text}: {'multicast' if subnet.is_multicast else 'loopback'} addresses can't be used"


def _range_problems(text: str, subnet: IPv4Network | IPv6Network) -> Iterator[str]:
    if not text:
        return
    asked = _network("ip-range", text)
    if asked.version != subnet.version:
        yield f"invalid ip-range {text}: parent subnet is an IPv{subnet.version} block"
        return
    if asked.prefixlen < subnet.prefixlen:
        yield f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"
    if ip_interface(text).ip != asked.network_address:
        yield f"invalid ip-range {text}: it should be {asked}"
    if not (asked.network_address in subnet or subnet.network_address in asked):
        yield f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"


def _address_problems(kind: str, named: dict[str, str], subnet: IPv4Network | IPv6Network) -> Iterator[str]:
    for name, text in named.items():
        label = f"invalid {kind} {text if kind == 'gateway' else name}"
        address = _address(label, text)
        if address.version != subnet.version:
            yield f"{label}: parent subnet is an IPv{subnet.version} block"
        elif address not in subnet:
            yield f"{label}: parent subnet {subnet} doesn't contain this address"


def _network(kind: str, text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise InvalidArgument(f"invalid {kind} {text} : invalid CIDR block notation") from None


def _address(label: str, text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise InvalidArgument(f"{label}: invalid IP address") from None
