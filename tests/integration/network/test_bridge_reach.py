"""The bridge driver on the real kernel: who can reach what, and what must be unreachable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sampan.testing.network_suite import make_endpoint, make_network
from tests.support.network_stage import (
    HOST_V4,
    HOST_V6,
    OUTSIDE_V4,
    OUTSIDE_V6,
    SECOND,
    Place,
    Stage,
    dual_stack,
    run,
    tcp,
    with_ipv6,
)

pytestmark = pytest.mark.root

NO_MASQUERADE = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
NO_ICC = {"com.docker.network.bridge.enable_icc": "false"}


def test_a_container_is_not_reached_from_outside_past_its_published_ports(stage: Stage) -> None:
    place = stage.container(make_endpoint(stage.network(), 2), tcp(8080, 80))
    for port in (80, 81):
        stage.serve(place, port)
    stage.outside.run("ip", "route", "add", "10.213.0.0/16", "via", HOST_V4)
    assert stage.outside.reaches(HOST_V4, 8080)
    assert stage.outside.is_kept_from("10.213.0.2", 80)
    assert stage.outside.is_kept_from("10.213.0.2", 81)
    run("nft", "flush", "chain", "inet", "sampan_test", "forward")
    assert stage.outside.reaches("10.213.0.2", 81), "it was the rule that kept it off"


def _send_loopback_over_the_wire(place: Place, ifname: str, gateway: str) -> None:
    place.run("sysctl", "-q", f"net.ipv4.conf.{ifname}.route_localnet=1")
    place.run("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
    place.run("ip", "route", "add", "127.0.0.0/8", "via", gateway, "dev", ifname)


def test_a_port_bound_to_loopback_is_not_reached_from_the_wire(stage: Stage) -> None:
    place = stage.container(make_endpoint(stage.network(), 2), tcp(8080, 80, "127.0.0.1"))
    stage.serve(place, 80)
    assert stage.host.reaches("127.0.0.1", 8080)
    assert stage.outside.is_kept_from(HOST_V4, 8080)
    _send_loopback_over_the_wire(stage.outside, "wire", HOST_V4)
    assert stage.outside.is_kept_from("127.0.0.1", 8080)
    run("nft", "flush", "chain", "inet", "sampan_test", "arrive")
    assert stage.outside.reaches("127.0.0.1", 8080), "it was the rule that kept it off"


def test_what_listens_on_the_hosts_loopback_is_not_reached_by_containers(stage: Stage) -> None:
    place = stage.container(make_endpoint(stage.network(), 2))
    stage.serve(stage.host, 9999, bind="127.0.0.1")
    _send_loopback_over_the_wire(place, "eth0", "10.213.0.1")
    assert place.is_kept_from("127.0.0.1", 9999)
    run("nft", "flush", "chain", "inet", "sampan_test", "arrive")
    assert place.reaches("127.0.0.1", 9999), "it was the rule that kept it off"


def test_two_networks_do_not_reach_each_other(stage: Stage) -> None:
    server = stage.container(make_endpoint(stage.network(), 2))
    stage.serve(server, 80)
    client = stage.container(make_endpoint(stage.network(make_network(SECOND)), 2))
    assert stage.host.reaches("10.213.0.2", 80)
    assert client.is_kept_from("10.213.0.2", 80)


def test_an_internal_network_reaches_its_own_containers_and_nothing_else(stage: Stage) -> None:
    network = stage.network(make_network(internal=True))
    server, client = (stage.container(make_endpoint(network, number)) for number in (2, 3))
    stage.serve(server, 80)
    stage.serve(stage.outside, 80)
    stage.outside.run("ip", "route", "add", "10.213.0.0/16", "via", HOST_V4)
    assert client.reaches("10.213.0.2", 80)
    assert client.is_kept_from(OUTSIDE_V4, 80)
    assert stage.outside.is_kept_from("10.213.0.2", 80)


def test_the_host_becomes_a_router_for_nobody_else(stage: Stage) -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    other = stage.add_neighbour("wire2", "198.51.100.1", "198.51.100.2")
    stage.outside.run("ip", "route", "add", "198.51.100.0/24", "via", HOST_V4)
    other.run("ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.1")
    stage.serve(other, 80)
    stage.network()
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    assert stage.outside.is_kept_from("198.51.100.2", 80)


def test_where_the_driver_turned_forwarding_on_other_engines_containers_still_go_out(stage: Stage) -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    stage.network()
    neighbour = stage.add_neighbour("docker0", "198.51.100.1", "198.51.100.2")
    neighbour.run("ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.1")
    stage.outside.run("ip", "route", "add", "198.51.100.0/24", "via", HOST_V4)
    stage.serve(stage.outside, 80)
    assert neighbour.ask(OUTSIDE_V4, 80) == "198.51.100.2"


def test_a_host_that_is_a_router_already_stays_one(stage: Stage) -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    other = stage.add_neighbour("wire2", "198.51.100.1", "198.51.100.2")
    stage.outside.run("ip", "route", "add", "198.51.100.0/24", "via", HOST_V4)
    other.run("ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.1")
    stage.serve(other, 80)
    stage.network()
    assert stage.outside.reaches("198.51.100.2", 80)


def test_containers_of_one_network_reach_each_other(stage: Stage) -> None:
    network = stage.network(dual_stack(make_network()))
    server, client = (stage.container(with_ipv6(make_endpoint(network, number))) for number in (2, 3))
    stage.serve(server, 80, bind="::")
    assert client.ask("10.213.0.2", 80) == "::ffff:10.213.0.3"
    assert client.ask("fd13::2", 80) == "fd13::3"


@pytest.mark.parametrize("bridge_netfilter", ["0", "1"])
def test_containers_of_a_network_without_icc_do_not(stage: Stage, bridge_netfilter: str) -> None:
    setting = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if setting.exists():
        setting.write_text(bridge_netfilter)
    network = stage.network(make_network(options=NO_ICC))
    server, client = (stage.container(make_endpoint(network, number)) for number in (2, 3))
    stage.serve(server, 80)
    assert stage.host.reaches("10.213.0.2", 80)
    assert client.is_kept_from("10.213.0.2", 80)


def test_a_container_goes_out_with_the_hosts_address(stage: Stage) -> None:
    network = stage.network(dual_stack(make_network()))
    place = stage.container(with_ipv6(make_endpoint(network, 2)))
    stage.serve(stage.outside, 80, bind="::")
    assert place.ask(OUTSIDE_V4, 80) == f"::ffff:{HOST_V4}"
    assert place.ask(OUTSIDE_V6, 80) == HOST_V6


def test_without_masquerade_it_goes_out_with_its_own(stage: Stage) -> None:
    place = stage.container(make_endpoint(stage.network(make_network(options=NO_MASQUERADE)), 2))
    stage.serve(stage.outside, 80)
    stage.outside.run("ip", "route", "add", "10.213.0.0/16", "via", HOST_V4)
    assert place.ask(OUTSIDE_V4, 80) == "10.213.0.2"


def test_an_interface_without_ipv6_addresses_has_no_ipv6(stage: Stage) -> None:
    place = stage.container(make_endpoint(stage.network(), 2))
    (interface,) = json.loads(place.run("ip", "-j", "addr", "show", "eth0"))
    assert [address["local"] for address in interface["addr_info"]] == ["10.213.0.2"]
    assert interface["address"] == "02:42:0a:d5:00:02"
    assert [route["gateway"] for route in json.loads(place.run("ip", "-j", "route", "show", "default"))] == [
        "10.213.0.1"
    ]


def test_beside_a_firewall_that_drops_forwarding_its_own_rules_let_containers_through(stage: Stage) -> None:
    """The chains that dockerd creates, plus the rules that the README says to add there."""
    run("nft", "add table ip filter; add chain ip filter DOCKER-USER")
    run("nft", "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
    run("nft", "add rule ip filter FORWARD jump DOCKER-USER")
    network = stage.network()
    server = stage.container(make_endpoint(network, 2), tcp(8080, 80))
    client = stage.container(make_endpoint(network, 3))
    for place in (server, stage.outside):
        stage.serve(place, 80)
    assert stage.host.reaches("127.0.0.1", 8080)
    assert stage.outside.is_kept_from(HOST_V4, 8080)
    assert client.is_kept_from(OUTSIDE_V4, 80)
    for direction in ("iifname", "oifname"):
        run("nft", f'add rule ip filter DOCKER-USER {direction} "spn-*" accept')
    assert stage.outside.reaches(HOST_V4, 8080)
    assert client.reaches(OUTSIDE_V4, 80)
    assert client.reaches("10.213.0.2", 80)
    assert client.reaches(HOST_V4, 8080)
    stage.outside.run("ip", "route", "add", "10.213.0.0/16", "via", HOST_V4)
    assert stage.outside.is_kept_from("10.213.0.2", 80)
