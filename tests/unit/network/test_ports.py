from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from sampan.drivers import L4, PublishedPort
from sampan.errdefs import Conflict, Unsupported
from sampan.network.ports import GATEWAY_MODE, HOST_BINDING, LOCAL_PORT_RANGE, HostPorts
from sampan.network.records import PortBinding

LOOPBACK = IPv4Address("127.0.0.1")


@pytest.fixture
def ports() -> Iterator[HostPorts]:
    ports = HostPorts()
    yield ports
    ports.close()


def reserve(ports: HostPorts, *bindings: PortBinding, ipv6: bool = False) -> tuple[PublishedPort, ...]:
    return ports.reserve(bindings, ipv4=True, ipv6=ipv6)


def binding(first: int, last: int | None = None, *, protocol: L4 = L4.TCP) -> PortBinding:
    return PortBinding(protocol, 80, LOOPBACK, first, first if last is None else last)


@pytest.fixture
def free() -> int:
    """A port nobody listens on, below the kernel's ephemeral range."""
    for number in range(20000, 30000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", number)) != 0:
                return number
    raise AssertionError("no free port")


def listens(number: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
            probe.listen()
        except OSError:
            return False
    return True


def test_a_fixed_port_is_given_and_nobody_else_can_listen_there(ports: HostPorts, free: int) -> None:
    assert reserve(ports, binding(free)) == (PublishedPort(L4.TCP, LOOPBACK, free, 80),)
    assert not listens(free)


def test_who_connects_to_a_held_port_is_refused_at_once(ports: HostPorts, free: int) -> None:
    reserve(ports, binding(free))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free), timeout=5)


def test_a_released_port_is_free(ports: HostPorts, free: int) -> None:
    ports.release(reserve(ports, binding(free)))
    assert listens(free)
    reserve(ports, binding(free))


def test_a_port_of_another_container_is_refused_in_dockers_words(ports: HostPorts, free: int) -> None:
    reserve(ports, binding(free))
    with pytest.raises(Conflict, match=rf"^Bind for 127\.0\.0\.1:{free} failed: port is already allocated$"):
        reserve(ports, binding(free))


def test_a_port_at_every_address_overlaps_one_at_a_single_address(ports: HostPorts, free: int) -> None:
    reserve(ports, binding(free))
    with pytest.raises(Conflict, match=rf"^Bind for 0\.0\.0\.0:{free} failed"):
        reserve(ports, PortBinding(L4.TCP, 80, None, free, free))


def test_two_instances_cannot_hold_one_port(ports: HostPorts, free: int) -> None:
    reserve(ports, binding(free))
    with pytest.raises(Conflict, match="address already in use"):
        reserve(HostPorts(), binding(free))


@pytest.mark.parametrize("reuse", [0, 1])
def test_a_port_where_a_program_listens_is_refused(ports: HostPorts, reuse: int) -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        server.bind(("127.0.0.1", 0))
        server.listen()
        number = server.getsockname()[1]
        wanted = rf"^failed to bind host port 127\.0\.0\.1:{number}/tcp: address already in use$"
        with pytest.raises(Conflict, match=wanted):
            reserve(ports, binding(number))


def test_a_udp_port_where_a_program_listens_is_refused(ports: HostPorts) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        with pytest.raises(Conflict, match="/udp: address already in use"):
            reserve(ports, binding(server.getsockname()[1], protocol=L4.UDP))


def test_connections_of_a_former_server_are_not_in_the_way(ports: HostPorts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", number)) as client:
            accepted, _ = server.accept()
            accepted.close()  # closed first: this end stays in TIME_WAIT
            assert client.recv(1) == b""
    reserve(ports, binding(number))


def test_an_address_this_host_has_not_is_refused(ports: HostPorts) -> None:
    wanted = r"192\.0\.2\.77:8080/tcp: cannot assign requested address"
    with pytest.raises(Conflict, match=wanted):
        reserve(ports, PortBinding(L4.TCP, 80, IPv4Address("192.0.2.77"), 8080, 8080))


def test_of_a_range_the_first_free_port_is_taken(ports: HostPorts, free: int) -> None:
    reserve(ports, binding(free))
    (chosen,) = reserve(ports, binding(free, free + 50))
    assert free < chosen.host_port <= free + 50


def test_a_used_up_range_is_said_in_dockers_words(ports: HostPorts, free: int) -> None:
    reserve(ports, binding(free))
    with pytest.raises(Conflict):
        reserve(ports, binding(free, free))
    reserve(ports, binding(free + 1))
    with pytest.raises(Conflict, match="all ports are allocated"):
        reserve(ports, binding(free, free + 1))


def test_ephemeral_ports_come_from_the_kernels_range_each_another(ports: HostPorts) -> None:
    first, last = (int(number) for number in LOCAL_PORT_RANGE.read_text().split())
    one, two = reserve(ports, binding(0), binding(0))
    assert one.host_port != two.host_port
    assert first <= one.host_port <= last and first <= two.host_port <= last


def test_all_or_none_is_held(ports: HostPorts, free: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(Conflict):
        reserve(ports, binding(free), binding(server.getsockname()[1]))
    assert listens(free)


def test_without_an_address_every_family_of_the_container_is_meant(ports: HostPorts, free: int) -> None:
    chosen = reserve(ports, PortBinding(L4.TCP, 80, None, free, free), ipv6=True)
    assert [str(port.host_ip) for port in chosen] == ["0.0.0.0", "::"]
    assert {port.host_port for port in chosen} == {free}


def test_an_address_of_a_family_the_container_has_not_is_unsupported(ports: HostPorts, free: int) -> None:
    with pytest.raises(Unsupported, match="the container has no IPv6 address"):
        reserve(ports, PortBinding(L4.TCP, 80, IPv6Address("::1"), free, free))


def test_adopted_ports_are_held_again_if_they_can_be(ports: HostPorts, free: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        ports.adopt([PublishedPort(L4.TCP, LOOPBACK, number, 80) for number in (free, taken)])
        assert not listens(free)
        for number in (free, taken):
            with pytest.raises(Conflict, match="already allocated"):
                reserve(ports, binding(number))


# --- network options


def test_a_networks_binding_address_is_taken_where_none_is_asked_for(ports: HostPorts, free: int) -> None:
    options = {HOST_BINDING: "127.0.0.1"}
    [port] = ports.reserve_on(options, [PortBinding(L4.TCP, 80, None, free, free)], versions={4, 6})
    assert (port.host_ip, port.host_port) == (LOOPBACK, free)
    asked = PortBinding(L4.TCP, 80, IPv4Address("127.0.0.2"), free, free)
    [port] = ports.reserve_on(options, [asked], versions={4})
    assert port.host_ip == IPv4Address("127.0.0.2")


def test_where_nobody_names_an_address_the_daemons_own_is_taken(free: int) -> None:
    ports = HostPorts(LOOPBACK)
    asked = PortBinding(L4.TCP, 80, None, free, free)
    [port] = ports.reserve_on({}, [asked], versions={4, 6})
    assert (port.host_ip, port.host_port) == (LOOPBACK, free)
    ports.release([port])
    [port] = ports.reserve_on({HOST_BINDING: "127.0.0.2"}, [asked], versions={4})
    assert port.host_ip == IPv4Address("127.0.0.2")
    ports.close()


def test_a_routed_network_takes_no_host_port(ports: HostPorts, free: int) -> None:
    options = {GATEWAY_MODE[4]: "routed"}
    for _ in range(2):  # several may request the same port
        found = ports.reserve_on(options, [PortBinding(L4.TCP, 80, None, free, free)], versions={4})
        assert found == (PublishedPort(L4.TCP, IPv4Address("0.0.0.0"), 0, 80),)
    both = ports.reserve_on(options, [PortBinding(L4.TCP, 80, None, free, free)], versions={4, 6})
    assert {(port.host_ip.version, port.host_port) for port in both} == {(4, 0), (6, free)}
    ports.release(both)
    ports.adopt(found)
