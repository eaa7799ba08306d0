from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errdefs import Forbidden, InvalidArgument, Unavailable
from sampan.network.ipam import (
    DEFAULT_POOLS,
    Addresses,
    PoolRange,
    choose_subnet,
    local_ipv6_subnet,
    mac_of,
    overlap,
    pool_of,
)
from sampan.network.records import AddressPool, NetworkRecord

NETWORK = NetworkRecord("ab" * 32, "lan", "bridge", 0)
SMALL = pool_of(IPv4Network("10.0.0.0/29"))


def test_the_first_default_subnet_is_dockers() -> None:
    assert choose_subnet(DEFAULT_POOLS, []) == IPv4Network("172.17.0.0/16")


def test_a_subnet_that_overlaps_a_route_is_passed_over() -> None:
    routes: list[IPv4Network | IPv6Network] = [
        IPv4Network("172.17.5.0/24"),
        IPv4Network("172.18.0.0/15"),
        IPv6Network("fd00::/8"),
    ]
    assert choose_subnet(DEFAULT_POOLS, routes) == IPv4Network("172.20.0.0/16")


def test_ranges_are_cut_into_subnets_of_their_size() -> None:
    ranges = [PoolRange(IPv4Network("192.168.0.0/16"), 20)]
    assert choose_subnet(ranges, [IPv4Network("192.168.0.0/20")]) == IPv4Network("192.168.16.0/20")


def test_no_subnet_left_is_said_in_dockers_words() -> None:
    with pytest.raises(InvalidArgument, match="all predefined address pools have been fully subnetted"):
        choose_subnet(DEFAULT_POOLS, [IPv4Network("0.0.0.0/1"), IPv4Network("128.0.0.0/1")])


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(8, 30)), max_size=20))
def test_a_chosen_subnet_overlaps_none_in_use(routes: list[tuple[int, int]]) -> None:
    used = [ip_network((address >> (32 - length) << (32 - length), length)) for address, length in routes]
    try:
        chosen = choose_subnet(DEFAULT_POOLS, used)
    except InvalidArgument:
        return
    assert not any(overlap(chosen, other) for other in used)


def test_addresses_are_given_lowest_first_after_the_gateway() -> None:
    addresses = Addresses()
    given_out = [addresses.reserve(NETWORK, SMALL, None) for _ in range(2)]
    assert given_out == [IPv4Interface("10.0.0.2/29"), IPv4Interface("10.0.0.3/29")]


def test_a_released_address_is_given_again() -> None:
    addresses = Addresses()
    first = addresses.reserve(NETWORK, SMALL, None)
    addresses.release(NETWORK.id, first.ip)
    assert addresses.reserve(NETWORK, SMALL, None) == first


def test_a_used_up_pool_is_said_in_dockers_words() -> None:
    addresses = Addresses()
    for _ in range(5):  # 8 addresses minus network, broadcast and gateway
        addresses.reserve(NETWORK, SMALL, None)
    with pytest.raises(Unavailable, match=r"no available IPv4 addresses on this network's address pools: lan \(abab"):
        addresses.reserve(NETWORK, SMALL, None)


def test_a_wanted_address_is_given_once() -> None:
    addresses = Addresses()
    wanted = IPv4Address("10.0.0.4")
    assert addresses.reserve(NETWORK, SMALL, wanted).ip == wanted
    with pytest.raises(Forbidden, match="Address already in use"):
        addresses.reserve(NETWORK, SMALL, wanted)


@pytest.mark.parametrize("wanted", ["10.0.0.0", "10.0.0.7", "10.0.1.2"])
def test_an_address_no_container_can_have_is_refused(wanted: str) -> None:
    with pytest.raises(InvalidArgument, match=f"no configured subnet contains IP address {wanted}"):
        Addresses().reserve(NETWORK, SMALL, IPv4Address(wanted))


def test_the_gateway_and_reserved_addresses_are_never_given() -> None:
    pool = AddressPool(SMALL.subnet, SMALL.gateway, reserved={"printer": IPv4Address("10.0.0.2")})
    addresses = Addresses()
    assert addresses.reserve(NETWORK, pool, None).ip == IPv4Address("10.0.0.3")
    for wanted in ("10.0.0.1", "10.0.0.2"):
        with pytest.raises(Forbidden):
            addresses.reserve(NETWORK, pool, IPv4Address(wanted))


def test_with_a_range_only_its_addresses_are_given_but_others_may_be_asked_for() -> None:
    pool = AddressPool(IPv4Network("10.0.0.0/24"), IPv4Address("10.0.0.1"), IPv4Network("10.0.0.128/31"))
    addresses = Addresses()
    assert [str(addresses.reserve(NETWORK, pool, None).ip) for _ in range(2)] == ["10.0.0.128", "10.0.0.129"]
    with pytest.raises(Unavailable):
        addresses.reserve(NETWORK, pool, None)
    assert addresses.reserve(NETWORK, pool, IPv4Address("10.0.0.9")).ip == IPv4Address("10.0.0.9")


def test_networks_do_not_share_addresses() -> None:
    addresses = Addresses()
    other = NetworkRecord("cd" * 32, "other", "bridge", 0)
    assert addresses.reserve(NETWORK, SMALL, None) == addresses.reserve(other, SMALL, None)


def test_ipv6_addresses_are_given_too() -> None:
    pool = pool_of(IPv6Network("fd00::/64"))
    assert str(Addresses().reserve(NETWORK, pool, None)) == "fd00::2/64"


@given(st.sets(st.integers(2, 253), max_size=253))
def test_whatever_is_taken_a_free_address_is_found(taken: set[int]) -> None:
    pool = pool_of(IPv4Network("10.0.0.0/24"))
    addresses = Addresses()
    for number in taken:
        addresses.take(NETWORK.id, pool.subnet[number])
    given_out = addresses.reserve(NETWORK, pool, None)
    assert given_out.ip == pool.subnet[min(set(range(2, 255)) - taken)]


@given(st.lists(st.integers(0, 20)))
def test_after_any_takes_and_releases_the_lowest_is_given(steps: list[int]) -> None:
    """n releases the nth-highest address held; 0, or an n beyond those held, takes one."""
    pool = pool_of(IPv4Network("10.0.0.0/24"))
    addresses, held = Addresses(), set[int]()
    for step in steps:
        if step and step <= len(held):
            number = sorted(held)[-step]
            addresses.release(NETWORK.id, pool.subnet[number])
            held.remove(number)
        else:
            given_out = addresses.reserve(NETWORK, pool, None)
            number = min(set(range(2, 255)) - held)
            assert given_out.ip == pool.subnet[number]
            held.add(number)


def test_the_last_of_many_addresses_is_found_as_quickly_as_the_first() -> None:
    class Counting(set[object]):
        """Stands in for `_taken`, counting lookups."""

        asked = 0

        def __contains__(self, address: object) -> bool:
            self.asked += 1
            return super().__contains__(address)

    pool = pool_of(IPv4Network("10.0.0.0/16"))
    addresses = Addresses()
    addresses.take(NETWORK.id, pool.subnet[9])
    counting = addresses._taken[NETWORK.id] = Counting(addresses._taken[NETWORK.id])  # type: ignore[assignment]
    asked = []
    for _ in range(500):
        before = counting.asked
        addresses.reserve(NETWORK, pool, None)
        asked.append(counting.asked - before)
    assert max(asked[100:]) <= 3


def test_a_private_ipv6_subnet_belongs_to_its_network() -> None:
    subnet = local_ipv6_subnet("ab" * 32)
    assert subnet == local_ipv6_subnet("ab" * 32) != local_ipv6_subnet("cd" * 32)
    assert subnet.prefixlen == 64 and subnet.subnet_of(IPv6Network("fd00::/8"))


def test_a_gateway_outside_its_subnet_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="does not contain"):
        pool_of(IPv4Network("10.0.0.0/24"), IPv4Address("10.0.1.1"))


def test_a_mac_is_made_of_the_address_as_docker_does() -> None:
    assert mac_of(IPv4Address("172.17.0.2")) == "02:42:ac:11:00:02"
