"""Published ports left to the host's own firewall: real input chains decide who can reach them from outside."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sampan.drivers import L4, Endpoint, Network, PublishedPort
from sampan.testing.network_suite import host_namespace, make_endpoint, make_network
from tests.conftest import EngineFactory
from tests.support.engines import Sampand
from tests.support.kernel import need_ipv6_rules, need_packet_copies, need_route_lookups
from tests.support.network_stage import (
    ANY_V4,
    HOST_V4,
    HOST_V6,
    OUTSIDE_V4,
    OUTSIDE_V6,
    Place,
    Stage,
    dual_stack,
    links,
    ruleset,
    run,
    tcp,
    with_ipv6,
)

pytestmark = pytest.mark.root

FIREWALL = """
table inet firewall {{
  chain input {{
    type filter hook input priority 0; policy drop;
    iifname "lo" accept
    ct state established,related accept
    meta l4proto ipv6-icmp accept
    {rules}
  }}
}}
"""

STRICT_FILTER = """
table inet strict {{
  chain arrive {{
    type filter hook prerouting priority {priority}; policy accept;
    icmpv6 type {{ nd-router-advert, nd-neighbor-solicit }} accept
    meta nfproto ipv6 fib saddr . mark . iif oif missing drop
  }}
}}
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with host_namespace() as namespaces, ExitStack() as undo:
        need_packet_copies()
        stage = Stage(namespaces, tmp_path, undo)
        stage.driver.enforce_host_firewall()
        yield stage


def firewall(rules: str) -> None:
    """Replace the host's own firewall."""
    text = f"add table inet firewall\ndelete table inet firewall\n{FIREWALL.format(rules=rules)}"
    run("nft", text)


def published(stage: Stage, network: Network | None = None) -> Place:
    """A dual-stack container that serves on port 80, published as the host's 8080."""
    network = network or stage.network(dual_stack(make_network()))
    place = stage.container(with_ipv6(make_endpoint(network, 2)), tcp(8080, 80), tcp(8080, 80, "::"))
    stage.serve(place, 80, bind="::")
    return place


@pytest.mark.parametrize(("host", "seen"), [(HOST_V4, f"::ffff:{OUTSIDE_V4}"), (HOST_V6, OUTSIDE_V6)])
def test_a_port_is_reached_if_the_host_firewall_accepts_it(stage: Stage, host: str, seen: str) -> None:
    published(stage)
    firewall("")
    assert stage.outside.is_kept_from(host, 8080)
    firewall("tcp dport 80 accept")
    assert stage.outside.is_kept_from(host, 8080)
    firewall("tcp dport 8080 accept")
    assert stage.outside.ask(host, 8080) == seen


def test_without_any_firewall_the_port_is_open(stage: Stage) -> None:
    published(stage)
    assert stage.outside.reaches(HOST_V4, 8080)


def test_what_the_host_firewall_refuses_is_refused_at_once(stage: Stage) -> None:
    published(stage)
    firewall("tcp dport 8080 reject with tcp reset")
    with pytest.raises(ConnectionRefusedError):
        stage.outside.ask(HOST_V4, 8080)


def test_the_host_firewall_may_look_at_the_client_and_the_interface(stage: Stage) -> None:
    published(stage)
    other = stage.add_neighbour("wire2", "198.51.100.1", "198.51.100.2")
    other.run("ip", "route", "add", "default", "via", "198.51.100.1")
    firewall(f'iifname "wire" ip saddr {OUTSIDE_V4} tcp dport 8080 accept')
    assert stage.outside.reaches(HOST_V4, 8080)
    assert other.is_kept_from(HOST_V4, 8080)
    assert other.is_kept_from("198.51.100.1", 8080)


def test_a_port_at_one_address_is_judged_there(stage: Stage) -> None:
    run("ip", "addr", "add", "203.0.113.9/24", "dev", "wire")
    place = stage.container(make_endpoint(stage.network(), 2), tcp(8080, 80, "203.0.113.9"))
    stage.serve(place, 80)
    firewall("")
    assert stage.outside.is_kept_from("203.0.113.9", 8080)
    firewall("ip daddr 203.0.113.9 tcp dport 8080 accept")
    assert stage.outside.reaches("203.0.113.9", 8080)
    assert stage.outside.is_kept_from(HOST_V4, 8080)


@pytest.mark.parametrize("size", [1, 20_000])
def test_datagrams_pass_whole_or_not_at_all(stage: Stage, size: int) -> None:
    place = stage.container(make_endpoint(stage.network(), 2), PublishedPort(L4.UDP, ANY_V4, 5353, 53))
    server, client = (
        one.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for one in (place, stage.outside)
    )
    with server, client:
        server.bind(("0.0.0.0", 53))
        server.settimeout(5)
        firewall("")
        client.sendto(b"refused", (HOST_V4, 5353))
        firewall("udp dport 5353 accept")
        client.sendto(b"x" * size, (HOST_V4, 5353))
        assert server.recvfrom(65_535) == (b"x" * size, (OUTSIDE_V4, client.getsockname()[1]))


def test_the_host_and_its_containers_need_no_leave(stage: Stage) -> None:
    network = stage.network(dual_stack(make_network()))
    place = published(stage, network)
    neighbour = stage.container(make_endpoint(network, 3))
    firewall("")
    for one, address in ((stage.host, "127.0.0.1"), (stage.host, HOST_V4), (place, HOST_V4), (neighbour, HOST_V4)):
        assert one.reaches(address, 8080)


def test_of_a_connection_the_host_firewall_sees_the_first_packet_alone(stage: Stage) -> None:
    published(stage)
    firewall("tcp dport 8080 counter accept")
    assert stage.outside.reaches(HOST_V4, 8080)
    [seen] = [
        expression["counter"]["packets"]
        for item in ruleset()
        for expression in item.get("rule", {}).get("expr", [])
        if "counter" in expression
    ]
    assert seen == 1


def test_a_strict_reverse_path_filter_of_the_host_does_not_mind(stage: Stage) -> None:
    Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("1")
    published(stage)
    firewall("tcp dport 8080 accept")
    assert stage.outside.reaches(HOST_V4, 8080)


@pytest.mark.parametrize("priority", [-150, 10])  # those of firewalld's two backends
def test_a_strict_ipv6_reverse_path_filter_like_firewallds_does_not_mind(stage: Stage, priority: int) -> None:
    need_route_lookups()
    need_ipv6_rules()
    published(stage)
    firewall("tcp dport 8080 accept")
    run("nft", STRICT_FILTER.format(priority=priority))
    assert stage.outside.ask(HOST_V6, 8080) == OUTSIDE_V6


def test_an_unpublished_port_is_closed_and_goes_in_no_circle(stage: Stage) -> None:
    endpoint = make_endpoint(stage.network(), 2)
    stage.serve(stage.container(endpoint, tcp(8080, 80)), 80)
    firewall("tcp dport 8080 accept")
    stage.driver.unpublish(endpoint)
    with pytest.raises(ConnectionRefusedError):
        stage.outside.ask(HOST_V4, 8080)


def test_a_flushed_gate_is_put_back_with_its_ports(stage: Stage) -> None:
    network = dual_stack(make_network())
    stage.network(network)
    published(stage, network)
    stage.driver.watch()
    run("nft", "flush ruleset")
    assert stage.driver.has_drifted()
    stage.driver.create_network(network)
    assert not stage.driver.has_drifted()
    firewall("")
    assert stage.outside.is_kept_from(HOST_V4, 8080)
    firewall("tcp dport 8080 accept")
    assert stage.outside.reaches(HOST_V4, 8080)


def test_a_gate_that_alone_is_deleted_is_put_back_too(stage: Stage) -> None:
    network = stage.network(dual_stack(make_network()))
    published(stage, network)
    stage.driver.watch()
    run("nft", "delete table ip sampan_test_gate")
    assert stage.driver.has_drifted()
    assert stage.outside.is_kept_from(HOST_V4, 8080)
    stage.driver.create_network(network)
    assert stage.outside.reaches(HOST_V4, 8080)


def test_ports_that_are_published_already_follow_the_setting(stage: Stage) -> None:
    network = stage.network(dual_stack(make_network()))
    published(stage, network)
    firewall("")
    stage.new_driver("test").create_network(network)
    assert stage.outside.reaches(HOST_V4, 8080)
    assert not any(name.startswith("spg") for name in links())
    again = stage.new_driver("test")
    again.enforce_host_firewall()
    again.create_network(network)
    assert stage.outside.is_kept_from(HOST_V4, 8080)
    firewall("tcp dport 8080 accept")
    assert stage.outside.reaches(HOST_V4, 8080)


def remove_last_network(stage: Stage, endpoint: Endpoint) -> None:
    stage.driver.unpublish(endpoint)
    stage.driver.detach(endpoint)
    stage.driver.remove_network(endpoint.network)


def test_the_last_network_takes_the_gate_along(stage: Stage) -> None:
    before = links()
    endpoint = make_endpoint(stage.network(), 2)
    stage.container(endpoint, tcp(8080, 80))
    assert links() > before
    remove_last_network(stage, endpoint)
    assert links() == before
    assert ruleset() == []


def test_the_last_network_takes_the_gates_way_past_ipv6_filters_along(stage: Stage) -> None:
    need_ipv6_rules()
    before = run("ip", "-6", "rule")
    endpoint = make_endpoint(stage.network(), 2)
    stage.container(endpoint, tcp(8080, 80))
    assert run("ip", "-6", "rule") != before
    remove_last_network(stage, endpoint)
    assert run("ip", "-6", "rule") == before


def test_the_daemon_sets_the_gate_up_and_takes_it_down(start_sampand: EngineFactory) -> None:
    need_packet_copies()
    engine = start_sampand("--published-ports", "host-firewall")
    assert isinstance(engine, Sampand)
    tables = [*engine.prefix, "nft", "list", "tables"]
    gates = {f"table {family} sampan_{engine.instance}_gate" for family in ("ip", "ip6")}
    assert gates <= set(run(*tables).splitlines())
    engine.stop()
    assert not gates & set(run(*tables).splitlines())
    engine.start()
