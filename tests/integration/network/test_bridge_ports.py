"""The bridge driver on the real kernel: published ports."""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from sampan.drivers import L4, PublishedPort
from sampan.errdefs import InvalidArgument
from sampan.testing.network_suite import make_endpoint, make_network
from tests.support.kernel import need_flow_table
from tests.support.network_stage import (
    ANY_V4,
    ANY_V6,
    HOST_V4,
    HOST_V6,
    OUTSIDE_V4,
    OUTSIDE_V6,
    Stage,
    dual_stack,
    run,
    tcp,
    with_ipv6,
)

pytestmark = pytest.mark.root


def test_a_published_port_answers_from_outside_and_sees_the_client(stage: Stage) -> None:
    place = stage.container(make_endpoint(stage.network(), 2), tcp(8080, 80))
    stage.serve(place, 80)
    assert stage.outside.ask(HOST_V4, 8080) == OUTSIDE_V4


def test_a_port_is_published_over_ipv6_too(stage: Stage) -> None:
    network = stage.network(dual_stack(make_network()))
    place = stage.container(with_ipv6(make_endpoint(network, 2)), tcp(8080, 80), tcp(8080, 80, "::"))
    stage.serve(place, 80, bind="::")
    assert stage.outside.ask(HOST_V6, 8080) == OUTSIDE_V6
    assert stage.outside.ask(HOST_V4, 8080) == f"::ffff:{OUTSIDE_V4}"
    assert stage.host.reaches(HOST_V6, 8080)
    assert place.reaches(HOST_V6, 8080)


def test_a_bridge_can_ask_for_its_ipv6_neighbours_from_the_first_moment(stage: Stage) -> None:
    network = stage.network(dual_stack(make_network()))
    stage.container(with_ipv6(make_endpoint(network, 2)))
    (bridge,) = json.loads(run("ip", "-j", "-6", "addr", "show", f"spn-{network.id[:8]}"))
    assert {address["scope"]: address.get("tentative", False) for address in bridge["addr_info"]} == {
        "global": False,
        "link": False,
    }


def test_a_host_that_is_not_on_the_bridge_has_no_link_local_address_there(stage: Stage) -> None:
    modes = {f"com.docker.network.bridge.gateway_mode_ipv{version}": "isolated" for version in (4, 6)}
    network = stage.network(dual_stack(make_network(internal=True, options=modes)))
    stage.container(replace(with_ipv6(make_endpoint(network, 2)), gateway_v4=None, gateway_v6=None))
    assert run("ip", "-6", "addr", "show", f"spn-{network.id[:8]}") == ""


def test_the_host_reaches_a_published_port_at_its_loopback_and_its_own_address(stage: Stage) -> None:
    place = stage.container(make_endpoint(stage.network(), 2), tcp(8080, 80))
    stage.serve(place, 80)
    assert stage.host.run("curl", "--silent", "--http0.9", "telnet://127.0.0.1:8080") == "10.213.0.1"
    assert stage.host.ask(HOST_V4, 8080) == HOST_V4
    assert stage.host.ask("10.213.0.1", 8080) == "10.213.0.1"


@pytest.mark.parametrize("bridge_netfilter", ["0", "1"])
def test_a_container_reaches_published_ports_by_way_of_the_host(stage: Stage, bridge_netfilter: str) -> None:
    setting = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not setting.exists():
        pytest.skip("this kernel has no br_netfilter")
    setting.write_text(bridge_netfilter)
    network = stage.network()
    server = stage.container(make_endpoint(network, 2), tcp(8080, 80))
    neighbour = stage.container(make_endpoint(network, 3))
    stage.serve(server, 80)
    for place in (server, neighbour):
        assert place.reaches(HOST_V4, 8080)
        assert place.reaches("10.213.0.1", 8080)


def test_a_udp_port_answers(stage: Stage) -> None:
    port = PublishedPort(L4.UDP, ANY_V4, 5353, 53)
    place = stage.container(make_endpoint(stage.network(), 2), port)
    stage.serve(place, 53, kind=socket.SOCK_DGRAM)
    assert stage.outside.ask_udp(HOST_V4, 5353) == OUTSIDE_V4
    assert stage.host.ask_udp("127.0.0.1", 5353) == "10.213.0.1"


def test_a_udp_client_that_keeps_sending_is_led_to_whoever_has_the_port_now(stage: Stage) -> None:
    need_flow_table()
    network = stage.network()
    port = PublishedPort(L4.UDP, ANY_V4, 5353, 53)
    endpoints = [make_endpoint(network, number) for number in (2, 3)]
    places = [stage.container(endpoint) for endpoint in endpoints]
    client = stage.outside.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    servers = [place.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for place in places]
    with client, servers[0], servers[1]:
        client.sendto(b"too early", (HOST_V4, 5353))
        for endpoint, server in zip(endpoints, servers, strict=True):
            server.bind(("0.0.0.0", 53))
            server.settimeout(5)
            stage.driver.publish(endpoint, (port,))
            client.sendto(endpoint.id.encode(), (HOST_V4, 5353))
            assert server.recv(100) == endpoint.id.encode()
            stage.driver.unpublish(endpoint)


@pytest.mark.parametrize("host", [HOST_V4, HOST_V6])
def test_an_sctp_port_is_led_to_its_container(stage: Stage, host: str) -> None:
    """An association's first packet, sent through raw sockets, so the kernel needs no SCTP support."""
    any_host = ANY_V6 if ":" in host else ANY_V4
    network = stage.network(dual_stack(make_network()))
    place = stage.container(with_ipv6(make_endpoint(network, 2)), PublishedPort(L4.SCTP, any_host, 3868, 38))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server, client = (
        one.do(lambda: socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_SCTP)) for one in (place, stage.outside)
    )
    with server, client:
        server.settimeout(5)
        client.sendto(sctp_init(40_000, 3868), (host, 0))
        packet, source = server.recvfrom(100)
        header = packet[-32:]  # over IPv4 a raw socket sees the IP header too
        assert (header, source[0]) == (sctp_init(40_000, 38), OUTSIDE_V6 if ":" in host else OUTSIDE_V4)


def sctp_init(source: int, target: int) -> bytes:
    """A packet with the chunk INIT (RFC 9260 sections 3.1 and 3.3.2)."""
    init = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65_536, 1, 1, 1)
    packet = struct.pack("!HHII", source, target, 0, 0) + init
    return packet[:8] + struct.pack("<I", crc32c(packet)) + packet[12:]


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def test_a_port_bound_to_one_address_answers_at_no_other(stage: Stage) -> None:
    run("ip", "addr", "add", "203.0.113.9/24", "dev", "wire")
    place = stage.container(make_endpoint(stage.network(), 2), tcp(8080, 80, "203.0.113.9"))
    stage.serve(place, 80)
    assert stage.outside.reaches("203.0.113.9", 8080)
    assert stage.outside.is_kept_from(HOST_V4, 8080)


def test_an_unpublished_port_is_closed_at_once(stage: Stage) -> None:
    endpoint = make_endpoint(stage.network(), 2)
    place = stage.container(endpoint, tcp(8080, 80), tcp(8081, 81))
    stage.serve(place, 80)
    stage.driver.unpublish(endpoint)
    with pytest.raises(ConnectionRefusedError):
        stage.outside.ask(HOST_V4, 8080)


def test_a_port_in_a_family_the_endpoint_has_not_is_refused(stage: Stage) -> None:
    endpoint = make_endpoint(stage.network(), 2)
    stage.container(endpoint)
    with pytest.raises(InvalidArgument, match="has no IPv6 address"):
        stage.driver.publish(endpoint, (tcp(8080, 80, "::"),))
