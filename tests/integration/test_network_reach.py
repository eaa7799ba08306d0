"""Who reaches whom: a table, each cell of which is tried, over IPv4 and IPv6.

The host is a network namespace with another one, `outside`, as its neighbour on the wire, who has routes to the
containers' networks. `net` and `other` are networks as users make them, `shy` has no ICC, `inner` is internal;
`routed`, `bare` (nat-unprotected) and `alone` (isolated) have gateway modes of that name.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import TypeVar

import pytest

from sampan.drivers import L4, Endpoint, Network, NetworkSettings, Pool, PublishedPort
from sampan.network.ports import ANY
from sampan.syscalls.namespaces import open_namespace
from sampan.syscalls.netns import run_in_netns
from sampan.testing.network_suite import HostNamespace, host_namespace
from sampan_bridge_net.driver import BridgeDriver
from sampan_bridge_net.settings import ENABLE_ICC, GATEWAY_MODE
from tests.integration.test_network_bridge import run

pytestmark = pytest.mark.root
T = TypeVar("T")
REFUSAL_S = 0.5

HOST = {4: "203.0.113.1", 6: "2001:db8::1"}
OUTSIDE = {4: "203.0.113.2", 6: "2001:db8::2"}
PORTS = {"open": 8000, "published": 80, "loopback": 81}
"""Of each container: one that is not published, and two that are, at all addresses and at 127.0.0.1."""


def mode(text: str) -> dict[str, str]:
    return dict.fromkeys(GATEWAY_MODE.values(), text)


NETWORKS: dict[str, tuple[int, bool, dict[str, str]]] = {
    "net": (1, False, {}),
    "other": (2, False, {}),
    "shy": (3, False, {ENABLE_ICC: "false"}),
    "inner": (4, True, {}),
    "routed": (5, False, mode("routed")),
    "bare": (6, False, mode("nat-unprotected")),
    "alone": (7, True, mode("isolated")),
}

# from → to: which of the container's ports answer at its own address
DIRECT = {
    ("net", "net"): "open published loopback",
    ("net", "other"): "",
    ("net", "shy"): "",
    ("net", "inner"): "",
    ("net", "routed"): "published",
    ("net", "bare"): "",
    ("shy", "shy"): "",
    ("inner", "inner"): "open published loopback",
    ("inner", "net"): "",
    ("inner", "routed"): "",
    ("routed", "routed"): "open published loopback",
    ("alone", "alone"): "open published loopback",
    ("alone", "net"): "",
    ("outside", "net"): "",
    ("outside", "shy"): "",
    ("outside", "inner"): "",
    ("outside", "routed"): "published",
    ("outside", "bare"): "open published loopback",
    ("outside", "alone"): "",
    ("host", "net"): "open published loopback",
    ("host", "inner"): "open published loopback",
    ("host", "routed"): "open published loopback",
    ("host", "alone"): "",
}

# from → whether the ports that `net`'s container publishes at the host's addresses, and at 127.0.0.1, answer
THROUGH_THE_HOST = {
    ("outside", "published"): True,
    ("outside", "loopback"): False,
    ("net", "published"): True,
    ("other", "published"): True,
    ("other", "loopback"): False,
    ("shy", "published"): True,
    ("inner", "published"): False,
    ("alone", "published"): False,
    ("host", "published"): True,
}

# from → whether it reaches what is outside, and under which address it is seen there
OUTWARD = {
    "net": "host",
    "other": "host",
    "shy": "host",
    "bare": "host",
    "routed": "own",
    "inner": None,
    "alone": None,
}


@dataclass(frozen=True)
class Place:
    fd: int
    addresses: dict[int, str]

    def do(self, work: Callable[[], T]) -> T:
        return run_in_netns(self.fd, work)

    def ask(self, address: str, port: int) -> str | None:
        """The address that the server saw, `None` if there was no connection."""

        def talk() -> str | None:
            try:
                with socket.create_connection((address, port), timeout=REFUSAL_S) as connection:
                    connection.settimeout(10)
                    return connection.makefile().read()
            except OSError:
                return None

        return self.do(talk)


@contextmanager
def serving(place: Place, port: int) -> Iterator[None]:
    server = place.do(lambda: socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))

    def serve() -> None:
        while True:
            try:
                connection, client = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(client[0].removeprefix("::ffff:").encode())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        server.close()


class World:
    """All of it, with two containers on each network; `first` serves."""

    def __init__(self, namespaces: HostNamespace, directory: Path, undo: ExitStack) -> None:
        self._namespaces = namespaces
        self._undo = undo
        self.driver = BridgeDriver(NetworkSettings(directory, "reach"))
        undo.callback(self.driver.unwatch)
        own = open_namespace("net")
        undo.callback(os.close, own)
        self.places = {"host": Place(own, HOST), "outside": self._outside()}
        self.first: dict[str, Place] = {}
        for name, (number, internal, options) in NETWORKS.items():
            self._furnish(name, number, internal, options)
        for place in (*self.first.values(), self.places["outside"]):
            for port in PORTS.values():
                undo.enter_context(serving(place, port))

    def _outside(self) -> Place:
        place = Place(self._namespaces.new_namespace(), OUTSIDE)
        namespace = f"/proc/{os.getpid()}/fd/{place.fd}"
        run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", namespace)
        for version, length in ((4, 24), (6, 64)):
            more = ["nodad"] if version == 6 else []
            run("ip", "addr", "add", f"{HOST[version]}/{length}", "dev", "wire", *more)
            place.do(
                lambda v=version, n=length, m=more: run("ip", "addr", "add", f"{OUTSIDE[v]}/{n}", "dev", "wire", *m)
            )
        run("ip", "link", "set", "wire", "up")
        place.do(lambda: run("ip", "link", "set", "wire", "up"))
        place.do(lambda: run("ip", "route", "add", "10.0.0.0/8", "via", HOST[4]))
        place.do(lambda: run("ip", "-6", "route", "add", "fd00::/16", "via", HOST[6]))
        return place

    def _furnish(self, name: str, number: int, internal: bool, options: dict[str, str]) -> None:
        four, six = IPv4Network(f"10.{number}.0.0/16"), IPv6Network(f"fd00:{number}::/64")
        network = Network(str(number) * 64, name, (Pool(four, four[1]), Pool(six, six[1])), internal, options)
        self.driver.create_network(network)
        self._undo.callback(self.driver.remove_network, network)
        self.first[name] = self._container(network, number, 2)
        self.places[name] = self._container(network, number, 3)

    def _container(self, network: Network, number: int, host: int) -> Place:
        four, six = (pool.subnet[host] for pool in network.pools)
        gateways = (None, None) if network.internal else (network.pools[0].gateway, network.pools[1].gateway)
        endpoint = Endpoint(
            f"{number}{host}" * 32,
            network,
            "eth0",
            (IPv4Interface(f"{four}/16"), IPv6Interface(f"{six}/64")),
            None,
            gateways[0] if isinstance(gateways[0], IPv4Address) else None,
            gateways[1] if isinstance(gateways[1], IPv6Address) else None,
        )
        sandbox = self._namespaces.new_sandbox()
        self.driver.attach(endpoint, sandbox)
        if host == 2 and not network.internal:
            self.driver.publish(endpoint, published_ports(number, network))
        return Place(sandbox.netns_fd, {4: str(four), 6: str(six)})


def published_ports(number: int, network: Network) -> tuple[PublishedPort, ...]:
    routed = "routed" in network.options.values()
    everywhere = [
        PublishedPort(L4.TCP, ANY[version], 0 if routed else 9000 + number, PORTS["published"]) for version in (4, 6)
    ]
    if routed:
        return tuple(everywhere)
    return (*everywhere, PublishedPort(L4.TCP, IPv4Address("127.0.0.1"), 9100 + number, PORTS["loopback"]))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with host_namespace() as namespaces, ExitStack() as undo:
        yield World(namespaces, tmp_path_factory.mktemp("reach"), undo)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("source", "target"), DIRECT)
def test_at_a_containers_own_address(world: World, source: str, target: str, version: int) -> None:
    address = world.first[target].addresses[version]
    answering = [name for name, port in PORTS.items() if world.places[source].ask(address, port) is not None]
    assert " ".join(answering) == DIRECT[source, target]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("source", "kind"), THROUGH_THE_HOST)
def test_through_the_host(world: World, source: str, kind: str, version: int) -> None:
    if kind == "loopback" and version == 6:
        pytest.skip("the kernel does not route [::1], so nothing is published there")
    port = {"published": 9001, "loopback": 9101}[kind]
    answered = world.places[source].ask(HOST[version], port) is not None
    assert answered == THROUGH_THE_HOST[source, kind]


def test_a_port_at_loopback_answers_the_host_alone(world: World) -> None:
    assert world.places["host"].ask("127.0.0.1", 9101) is not None


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("source", OUTWARD)
def test_outward(world: World, source: str, version: int) -> None:
    place = world.places[source]
    seen = place.ask(OUTSIDE[version], PORTS["open"])
    assert seen == {"host": HOST[version], "own": place.addresses[version], None: None}[OUTWARD[source]]


@pytest.mark.parametrize("version", [4, 6])
def test_a_container_sends_under_no_address_of_another_network(world: World, version: int) -> None:
    """What it sends under another's address does not leave its bridge."""
    place = world.places["routed"]
    false = {4: "10.2.0.77", 6: "fd00:2::77"}[version]
    extra = ["nodad"] if version == 6 else []
    place.do(lambda: run("ip", "addr", "add", f"{false}/{32 if version == 4 else 128}", "dev", "lo", *extra))
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    receiver = world.places["outside"].do(lambda: socket.socket(family, socket.SOCK_DGRAM))
    sender = place.do(lambda: socket.socket(family, socket.SOCK_DGRAM))
    honest = place.do(lambda: socket.socket(family, socket.SOCK_DGRAM))
    with receiver, sender, honest:
        receiver.bind((OUTSIDE[version], 7777))
        receiver.settimeout(10)
        sender.bind((false, 0))
        sender.sendto(b"false", (OUTSIDE[version], 7777))
        honest.sendto(b"honest", (OUTSIDE[version], 7777))
        assert receiver.recv(100) == b"honest"
