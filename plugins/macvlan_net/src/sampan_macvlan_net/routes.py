"""The destinations of the host's routes, as the kernel lists them in /proc."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

_ROUTES_V4, _ROUTES_V6 = Path("/proc/thread-self/net/route"), Path("/proc/thread-self/net/ipv6_route")


def destinations() -> Iterator[IPv4Network | IPv6Network]:
    """The destinations of all routes except default, loopback, link-local and multicast ones."""
    networks: list[IPv4Network | IPv6Network] = [*_destinations_v4(), *_destinations_v6()]
    for network in networks:
        special = network.is_loopback or network.is_link_local or network.is_multicast
        if network.prefixlen and not special:
            yield network


def _destinations_v4() -> Iterator[IPv4Network]:
    for line in _lines(_ROUTES_V4)[1:]:
        fields = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(fields[at]), "little") for at in (1, 7))
        yield IPv4Network((IPv4Address(address), mask.bit_count()))


def _destinations_v6() -> Iterator[IPv6Network]:
    for line in _lines(_ROUTES_V6):
        fields = line.split()
        yield IPv6Network((IPv6Address(bytes.fromhex(fields[0])), int(fields[1], 16)), strict=False)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
