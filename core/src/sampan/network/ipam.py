"""IP address management: chooses subnets that don't overlap others, and addresses in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_interface

from sampan.errdefs import Forbidden, InvalidArgument, Unavailable
from sampan.network.records import AddressPool, NetworkRecord


@dataclass(frozen=True)
class PoolRange:
    """A range to be divided into subnets of prefix length `size`, as in `--default-address-pool base=…,size=…`."""

    base: IPv4Network | IPv6Network
    size: int

    def subnets(self) -> Iterator[IPv4Network | IPv6Network]:
        """The subnets, in order."""
        return iter(self.base.subnets(new_prefix=self.size))


# Docker's defaults (moby daemon/libnetwork/ipamutils/utils.go)
DEFAULT_POOLS: tuple[PoolRange, ...] = (
    PoolRange(IPv4Network("172.17.0.0/16"), 16),
    PoolRange(IPv4Network("172.18.0.0/16"), 16),
    PoolRange(IPv4Network("172.19.0.0/16"), 16),
    PoolRange(IPv4Network("172.20.0.0/14"), 16),
    PoolRange(IPv4Network("172.24.0.0/14"), 16),
    PoolRange(IPv4Network("172.28.0.0/14"), 16),
    PoolRange(IPv4Network("192.168.0.0/16"), 20),
)


def choose_subnet(
    ranges: Sequence[PoolRange], used: Iterable[IPv4Network | IPv6Network]
) -> IPv4Network | IPv6Network:
    """The first subnet of `ranges` that overlaps none in use. Raises `InvalidArgument` with Docker's message."""
    taken = list(used)
    for subnet in (subnet for pool_range in ranges for subnet in pool_range.subnets()):
        if not any(overlap(subnet, other) for other in taken):
            return subnet
    raise InvalidArgument("all predefined address pools have been fully subnetted")


def overlap(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    """Whether two subnets overlap; those of different IP versions never do."""
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)


def local_ipv6_subnet(network_id: str) -> IPv6Network:
    """A /64 for private use, always the same for a network (RFC 4193: `fd`, 40 random bits, 16 bits of subnet)."""
    prefix = b"\xfd" + hashlib.sha256(network_id.encode()).digest()[:7]
    return IPv6Network((prefix + bytes(8), 64))


def pool_of(subnet: IPv4Network | IPv6Network, gateway: IPv4Address | IPv6Address | None = None) -> AddressPool:
    """The pool of a subnet, with its first address as the gateway unless another is given.

    Raises `InvalidArgument` if the gateway is not in the subnet, or the subnet is too small for a gateway and a
    container.
    """
    if subnet.num_addresses < 4:
        raise InvalidArgument(f"invalid subnet {subnet}: it is too small for a gateway and a container")
    if gateway is not None and gateway not in subnet:
        raise InvalidArgument(f"invalid gateway {gateway}: subnet {subnet} does not contain this address")
    return AddressPool(subnet, gateway if gateway is not None else subnet[1])


def check_kept(pool: AddressPool) -> None:
    """Raise `Forbidden` with Docker's message if gateway or auxiliary addresses are unusable or used twice."""
    kept: set[IPv4Address | IPv6Address] = set()
    named = {f"secondary ip address ({name}:{address})": address for name, address in pool.reserved.items()}
    for what, address in {f"gateway ({pool.gateway})": pool.gateway, **named}.items():
        if address in kept or not _can_be_given(pool, address):
            raise Forbidden(f"failed to allocate {what}: Address already in use")
        kept.add(address)


class Addresses:
    """The addresses in use, by network. In memory only; the caller writes through."""

    def __init__(self) -> None:
        self._taken: dict[str, set[IPv4Address | IPv6Address]] = {}
        self._passed: dict[str, dict[IPv4Network | IPv6Network, int]] = {}
        """For each range that addresses are chosen from, how many of the first ones are known to be taken."""

    def take(self, network_id: str, address: IPv4Address | IPv6Address) -> None:
        """Record an address that is already in use."""
        self._taken.setdefault(network_id, set()).add(address)

    def reserve(
        self, network: NetworkRecord, pool: AddressPool, wanted: IPv4Address | IPv6Address | None
    ) -> IPv4Interface | IPv6Interface:
        """Take the address `wanted`, or the lowest free one.

        Raises `Forbidden` if it is taken, `InvalidArgument` if no container can have it, `Unavailable` if the pool is
        exhausted, with Docker's messages.
        """
        taken = self._taken.setdefault(network.id, set())
        if wanted is None:
            wanted = self._lowest_free(network, pool, taken)
        elif not _can_be_given(pool, wanted):
            raise InvalidArgument(f"no configured subnet contains IP address {wanted}")
        if wanted in taken or wanted in _kept(pool):
            raise Forbidden("Address already in use")
        taken.add(wanted)
        return ip_interface((wanted, pool.subnet.prefixlen))

    def reserve_any(
        self, network: NetworkRecord, version: int, wanted: IPv4Address | IPv6Address | None
    ) -> tuple[IPv4Interface | IPv6Interface | None, IPv4Address | IPv6Address | None]:
        """Take an address of this IP version from the pool that contains it; also returns that pool's gateway.

        Both are `None` if the network has no such pool. Raises as `reserve` does.
        """
        pools = [pool for pool in network.pools if pool.subnet.version == version]
        if not pools:
            if wanted is not None:
                raise InvalidArgument(f"no configured subnet contains IP address {wanted}")
            return None, None
        pool = next((pool for pool in pools if wanted is not None and wanted in pool.subnet), pools[0])
        return self.reserve(network, pool, wanted), pool.gateway

    def release(self, network_id: str, address: IPv4Address | IPv6Address) -> None:
        """Free an address."""
        self._taken.get(network_id, set()).discard(address)
        passed = self._passed.get(network_id, {})
        for choice in passed:
            if address in choice:
                passed[choice] = min(passed[choice], int(address) - int(choice.network_address))

    def forget(self, network_id: str) -> None:
        """Forget a network."""
        self._taken.pop(network_id, None)
        self._passed.pop(network_id, None)

    def _lowest_free(
        self, network: NetworkRecord, pool: AddressPool, taken: set[IPv4Address | IPv6Address]
    ) -> IPv4Address | IPv6Address:
        kept = _kept(pool)
        choice = pool.ip_range or pool.subnet
        passed = self._passed.setdefault(network.id, {})
        # at most as many addresses as are taken or kept must be skipped to find a free one
        for index in range(passed.get(choice, 0), min(choice.num_addresses, len(taken) + len(kept) + 3)):
            address = choice[index]
            if address not in taken and address not in kept and _can_be_given(pool, address):
                passed[choice] = index
                return address
        family = f"IPv{pool.subnet.version}"
        raise Unavailable(
            f"no available {family} addresses on this network's address pools: {network.name} ({network.id})"
        )


def _kept(pool: AddressPool) -> set[IPv4Address | IPv6Address]:
    return {pool.gateway, *pool.reserved.values()}


def _can_be_given(pool: AddressPool, address: IPv4Address | IPv6Address) -> bool:
    if address not in pool.subnet or address == pool.subnet.network_address:
        return False  # in IPv6 this is the subnet-router anycast address (RFC 4291 section 2.6.1)
    return not (isinstance(pool.subnet, IPv4Network) and address == pool.subnet.broadcast_address)


def mac_of(address: IPv4Address) -> str:
    """Docker's MAC address for an IPv4 address: 02:42 and its four bytes, so that neighbours' caches stay valid."""
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + address.packed)
