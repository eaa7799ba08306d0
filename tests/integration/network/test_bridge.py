"""The bridge driver on the real kernel: who reaches what, what is left, what a restart finds.

Each test's host is a network namespace, with another one as its neighbour on the wire.
"""

from __future__ import annotations

import json
import os
import re
import resource
import secrets
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sampan.drivers import L4, Endpoint, Network, NetworkSettings, Pool, PublishedPort, Sandbox
from sampan.errdefs import Conflict, InvalidArgument, Unavailable
from sampan.network.kernel import SandboxKernel
from sampan.syscalls.namespaces import open_namespace
from sampan.syscalls.netns import run_in_netns
from sampan.syscalls.nftables import Nft
from sampan.testing.network_suite import HostNamespace, host_namespace, make_endpoint, make_network
from sampan_bridge_net.driver import BridgeDriver

pytestmark = pytest.mark.root

T = TypeVar("T")
ANY_V4, ANY_V6 = IPv4Address("0.0.0.0"), IPv6Address("::")
HOST_V4, HOST_V6 = "203.0.113.1", "2001:db8::1"
OUTSIDE_V4, OUTSIDE_V6 = "203.0.113.2", "2001:db8::2"
SECOND = IPv4Network("10.214.0.0/16")
FD_SETSIZE = 1024
REFUSAL_S = 0.7  # how long a connection that must not come about is waited for

NO_MASQUERADE = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
NO_ICC = {"com.docker.network.bridge.enable_icc": "false"}


def run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Place:
    """A namespace from which a test acts."""

    fd: int

    def do(self, work: Callable[[], T]) -> T:
        return run_in_netns(self.fd, work)

    def run(self, *words: str) -> str:
        return self.do(lambda: run(*words))

    def ask(self, address: str, port: int, *, timeout_s: float = 5.0) -> str:
        """Connect; answers the address that the server saw."""

        def talk() -> str:
            with socket.create_connection((address, port), timeout=timeout_s) as connection:
                return connection.makefile().read()

        return self.do(talk)

    def ask_udp(self, address: str, port: int) -> str:
        def talk() -> str:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
                connection.settimeout(5)
                connection.sendto(b"?", (address, port))
                return connection.recv(100).decode()

        return self.do(talk)

    def reaches(self, address: str, port: int) -> bool:
        return self.ask(address, port) != ""

    def is_kept_from(self, address: str, port: int) -> bool:
        try:
            self.ask(address, port, timeout_s=REFUSAL_S)
        except OSError:
            return True
        return False


@contextmanager
def serving(place: Place, port: int, *, bind: str = "0.0.0.0", kind: int = socket.SOCK_STREAM) -> Iterator[None]:
    """A server in `place` that tells each client its address."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    server = place.do(lambda: socket.socket(family, kind))
    server.bind((bind, port))

    def serve_stream() -> None:
        while True:
            try:
                connection, client = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(client[0].encode())

    def serve_datagrams() -> None:
        while (received := server.recvfrom(100))[0]:
            server.sendto(received[1][0].encode(), received[1])

    if kind == socket.SOCK_STREAM:
        server.listen()
    thread = threading.Thread(target=serve_stream if kind == socket.SOCK_STREAM else serve_datagrams)
    thread.start()
    try:
        yield
    finally:
        if kind == socket.SOCK_STREAM:  # wakes the thread up; a datagram socket is told by an empty datagram
            server.shutdown(socket.SHUT_RDWR)
        else:
            server.sendto(b"", server.getsockname())
        thread.join()
        server.close()


def await_host(address: str) -> None:
    """Until the other end of a new wire answers: the kernel tells IPv6 of a carrier in its own time."""
    for _ in range(10):
        try:
            socket.create_connection((address, 9), timeout=5).close()
        except ConnectionRefusedError:
            return
        except OSError:
            continue
    raise AssertionError(f"{address} does not answer")


class Stage:
    """A host with the driver on it, and a neighbour."""

    def __init__(self, namespaces: HostNamespace, state_dir: Path, undo: ExitStack) -> None:
        self._namespaces = namespaces
        self._undo = undo
        self.state_dir = state_dir
        self.host = Place(open_namespace("net"))
        undo.callback(os.close, self.host.fd)
        self.outside = self.add_neighbour("wire", HOST_V4, OUTSIDE_V4)
        self.driver = self.new_driver("test")

    def add_neighbour(self, ifname: str, host: str, neighbour: str) -> Place:
        place = Place(self._namespaces.new_namespace())
        namespace = f"/proc/{os.getpid()}/fd/{place.fd}"
        run("ip", "link", "add", ifname, "type", "veth", "peer", "name", "wire", "netns", namespace)
        run("ip", "addr", "add", f"{host}/24", "dev", ifname)
        run("ip", "link", "set", ifname, "up")
        place.run("ip", "addr", "add", f"{neighbour}/24", "dev", "wire")
        place.run("ip", "link", "set", "wire", "up")
        if host == HOST_V4:
            run("ip", "addr", "add", f"{HOST_V6}/64", "dev", ifname, "nodad")
            place.run("ip", "addr", "add", f"{OUTSIDE_V6}/64", "dev", "wire", "nodad")
            place.do(lambda: await_host(HOST_V6))
        return place

    def new_driver(self, instance: str) -> BridgeDriver:
        directory = self.state_dir / f"{instance}-{secrets.token_hex(4)}"
        directory.mkdir()
        driver = BridgeDriver(NetworkSettings(directory, instance))
        self._undo.callback(driver.unwatch)
        return driver

    def network(self, network: Network | None = None) -> Network:
        network = network or make_network()
        self.driver.create_network(network)
        return network

    def container(self, endpoint: Endpoint, *ports: PublishedPort) -> Place:
        sandbox = self._namespaces.new_sandbox()
        self.driver.attach(endpoint, sandbox)
        if ports:
            self.driver.publish(endpoint, ports)
        return Place(sandbox.netns_fd)

    def serve(self, place: Place, port: int, *, bind: str = "0.0.0.0", kind: int = socket.SOCK_STREAM) -> None:
        self._undo.enter_context(serving(place, port, bind=bind, kind=kind))

    def sandbox(self) -> Sandbox:
        return self._namespaces.new_sandbox()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with host_namespace() as namespaces, ExitStack() as undo:
        yield Stage(namespaces, tmp_path, undo)


def tcp(host_port: int, container_port: int, host: str = "0.0.0.0") -> PublishedPort:
    address = IPv6Address(host) if ":" in host else IPv4Address(host)
    return PublishedPort(L4.TCP, address, host_port, container_port)


def dual_stack(network: Network) -> Network:
    return replace(network, pools=(*network.pools, Pool(IPv6Network("fd13::/64"), IPv6Address("fd13::1"))))


def with_ipv6(endpoint: Endpoint) -> Endpoint:
    address = IPv6Interface(f"fd13::{endpoint.addresses[0].ip.packed[-1]}/64")
    return replace(endpoint, addresses=(*endpoint.addresses, address), gateway_v6=IPv6Address("fd13::1"))


def ruleset() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("nft", "-j", "list", "ruleset"))["nftables"]
    return [item for item in found if "metainfo" not in item]


def links() -> set[str]:
    return {link["ifname"] for link in json.loads(run("ip", "-j", "link"))}


# --- published ports


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
    """The first packet of an association, as raw packets: so it needs no kernel that speaks SCTP itself."""
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


# --- what must not be reached


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


# --- containers among each other, and on their way out


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


# --- beside other firewalls


def test_beside_a_firewall_that_drops_forwarding_its_own_rules_let_containers_through(stage: Stage) -> None:
    """What dockerd makes, and what the README says to add there."""
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


# --- what is left, what is found again


def test_removing_everything_leaves_nothing(stage: Stage) -> None:
    before = links()
    network = stage.network(dual_stack(make_network()))
    endpoint = with_ipv6(make_endpoint(network, 2))
    stage.container(endpoint, tcp(8080, 80), tcp(8080, 80, "::"))
    stage.driver.unpublish(endpoint)
    stage.driver.detach(endpoint)
    stage.driver.remove_network(network)
    assert links() == before
    assert ruleset() == []


def test_removing_one_network_leaves_the_other_whole(stage: Stage) -> None:
    first, second = stage.network(), stage.network(make_network(SECOND))
    place = stage.container(make_endpoint(second, 2), tcp(8080, 80))
    stage.serve(place, 80)
    stage.driver.remove_network(first)
    text = run("nft", "list", "ruleset")
    assert first.id not in text and "10.213" not in text
    assert stage.outside.ask(HOST_V4, 8080) == OUTSIDE_V4
    assert place.is_kept_from(OUTSIDE_V4, 9)


def test_an_attachment_that_fails_leaves_nothing(stage: Stage) -> None:
    network = stage.network()
    sandbox = stage.sandbox()
    stage.driver.attach(make_endpoint(network, 2), sandbox)
    before = links()
    with pytest.raises(Conflict):
        stage.driver.attach(make_endpoint(network, 3), sandbox)  # there is an eth0 already
    broken = replace(make_endpoint(network, 4), gateway_v4=IPv4Address("192.0.2.77"))
    with pytest.raises(Exception, match="can't be attached"):
        stage.driver.attach(broken, stage.sandbox())
    assert links() == before


def test_a_bridge_that_is_full_is_said_to_be_so(stage: Stage, tmp_path: Path) -> None:
    network = stage.network()
    [bridge] = [link["ifname"] for link in json.loads(run("ip", "-j", "link", "show", "type", "bridge"))]
    links = tmp_path / "links"
    links.write_text(
        "".join(f"link add d{number} master {bridge} type veth peer name e{number}\n" for number in range(1023))
    )
    run("ip", "-batch", str(links))
    with pytest.raises(Unavailable, match=f"network {network.name} is full: a bridge has room for 1,023 containers"):
        stage.container(make_endpoint(network, 2))
    assert "spv" not in run("ip", "-br", "link")


def test_a_bridge_of_somebody_else_is_left_alone(stage: Stage) -> None:
    run("ip", "link", "add", "mine", "type", "bridge")
    network = make_network(options={"com.docker.network.bridge.name": "mine"})
    with pytest.raises(Conflict, match="mine exists already"):
        stage.driver.create_network(network)
    stage.driver.remove_network(network)
    assert "mine" in links()


def test_a_flushed_ruleset_is_put_right_with_its_ports(stage: Stage) -> None:
    network = stage.network()
    place = stage.container(make_endpoint(network, 2), tcp(8080, 80))
    stage.serve(place, 80)
    before = ruleset()
    run("nft", "flush", "ruleset")
    stage.driver.create_network(network)
    assert _without_handles(ruleset()) == _without_handles(before)
    assert stage.outside.ask(HOST_V4, 8080) == OUTSIDE_V4


def test_a_bridge_that_was_changed_is_put_right(stage: Stage) -> None:
    network = stage.network()
    place = stage.container(make_endpoint(network, 2), tcp(8080, 80))
    stage.serve(place, 80)
    run("ip", "link", "set", f"spn-{network.id[:8]}", "down")
    run("ip", "addr", "flush", "dev", f"spn-{network.id[:8]}")
    stage.driver.create_network(network)
    assert stage.outside.ask(HOST_V4, 8080) == OUTSIDE_V4


def test_a_driver_made_anew_knows_what_is_published(stage: Stage) -> None:
    network = stage.network()
    first, second = make_endpoint(network, 2), make_endpoint(network, 3)
    place = stage.container(first, tcp(8080, 80), tcp(8081, 80, "127.0.0.1"))
    stage.container(second)
    stage.serve(place, 80)
    stage.driver = stage.new_driver("test")
    for port in (tcp(8080, 80), tcp(8081, 80, "127.0.0.1")):
        with pytest.raises(Conflict, match="port is already allocated"):
            stage.driver.publish(second, (port,))
    stage.driver.publish(first, (tcp(8080, 80),))
    assert stage.outside.ask(HOST_V4, 8080) == OUTSIDE_V4
    stage.driver.unpublish(first)
    assert stage.outside.is_kept_from(HOST_V4, 8080)


def test_unpublishing_after_a_flush_is_no_error(stage: Stage) -> None:
    network = stage.network()
    endpoint = make_endpoint(network, 2)
    stage.container(endpoint, tcp(8080, 80))
    run("nft", "flush", "ruleset")
    stage.driver.unpublish(endpoint)
    stage.driver.create_network(network)
    assert "8080" not in run("nft", "list", "ruleset")


def test_two_instances_serve_side_by_side(stage: Stage) -> None:
    places = []
    for number, subnet in enumerate((make_network().pools[0].subnet, SECOND)):
        assert isinstance(subnet, IPv4Network)
        stage.driver = stage.new_driver(f"test{number}")
        network = stage.network(make_network(subnet))
        places.append(stage.container(make_endpoint(network, 2), tcp(8080 + number, 80)))
        stage.serve(places[-1], 80)
    assert stage.outside.ask(HOST_V4, 8080) == OUTSIDE_V4
    assert stage.outside.ask(HOST_V4, 8081) == OUTSIDE_V4
    assert places[0].is_kept_from("10.214.0.2", 80)
    assert places[0].reaches(HOST_V4, 8081)


@pytest.fixture
def many_files() -> Iterator[None]:
    """More files open than select(2) can wait for."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    with ExitStack() as undo:
        undo.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        for _ in range(FD_SETSIZE):
            undo.callback(os.close, os.open("/dev/null", os.O_RDONLY))
        yield


def test_rules_are_made_by_a_daemon_with_many_files_open_too(stage: Stage, many_files: None) -> None:
    network = stage.network()
    endpoint = make_endpoint(network, 2)
    container = stage.container(endpoint, tcp(8080, 80))
    stage.serve(container, 80)
    assert stage.outside.ask(HOST_V4, 8080) == OUTSIDE_V4
    sockets = SandboxKernel().listen_for_names(container.fd, 40053)
    sockets.close()
    stage.driver.unpublish(endpoint)
    assert stage.outside.is_kept_from(HOST_V4, 8080)


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What nftables is told, transaction by transaction."""
    told: list[str] = []
    run = Nft.run

    def note(nft: Nft, commands: str) -> None:
        told.append(commands)
        run(nft, commands)

    monkeypatch.setattr(Nft, "run", note)
    return told


def test_publishing_beside_5000_ports_takes_no_more_than_alone(
    stage: Stage, transactions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = stage.network()
    crowd, probe = make_endpoint(network, 2), make_endpoint(network, 3)
    stage.container(crowd)
    stage.container(probe)
    stage.driver.publish(crowd, tuple(tcp(port, 80) for port in range(20000, 25000)))
    transactions.clear()
    monkeypatch.setattr(Nft, "query", _no_listing)
    stage.driver.publish(probe, (tcp(8080, 80),))
    stage.driver.unpublish(probe)
    stage.network(make_network(SECOND))
    assert [len(told) < 1000 for told in transactions] == [True, True, False]
    assert not re.search(r"\b2\d{4}\b", "".join(transactions))
    monkeypatch.undo()
    assert "20000" in run("nft", "list", "map", "inet", "sampan_test", "published4_any")


def _no_listing(nft: Nft, command: str) -> list[Any]:
    raise AssertionError(f"{command} takes the longer the more ports there are")


def test_what_thousands_of_ports_stir_up_is_no_disturbance(stage: Stage) -> None:
    endpoint = make_endpoint(stage.network(), 2)
    stage.container(endpoint)
    stage.driver.watch()
    stage.driver.publish(endpoint, tuple(tcp(port, 80) for port in range(20000, 25000)))
    stage.driver.unpublish(endpoint)
    watch = stage.driver._watch
    assert watch is not None and not watch.saw_removal()


def test_1000_ports_are_published_and_unpublished_in_one_transaction(stage: Stage, transactions: list[str]) -> None:
    network = stage.network()
    endpoint = make_endpoint(network, 2)
    container = stage.container(endpoint)
    transactions.clear()
    stage.driver.publish(endpoint, tuple(tcp(port, 80) for port in range(20000, 21000)))
    assert len(transactions) == 1
    stage.serve(container, 80)
    assert stage.outside.ask(HOST_V4, 20999) == OUTSIDE_V4
    stage.driver.unpublish(endpoint)
    assert len(transactions) == 2
    assert stage.outside.is_kept_from(HOST_V4, 20999)


def _without_handles(items: list[dict[str, Any]]) -> list[str]:
    for item in items:
        for body in item.values():
            body.pop("handle", None)
    return sorted(json.dumps(item, sort_keys=True) for item in items)
