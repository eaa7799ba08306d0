"""Who can reach whom: a table, every cell of which is tested over IPv4 and IPv6.

The host is a network namespace with another one, `outside`, as its neighbour on the wire, with routes to the
containers' networks. `net` and `other` are ordinary user-defined networks, `shy` has no ICC, `inner` is internal;
`routed`, `bare` (nat-unprotected) and `alone` (isolated) have gateway modes of that name.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
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
from tests.support.network_stage import await_host, run

pytestmark = pytest.mark.root
T = TypeVar("T")
REFUSAL_S, ANSWER_S = 0.5, 10.0

HOST = {4: "203.0.113.1", 6: "2001:db8::1"}
OUTSIDE = {4: "203.0.113.2", 6: "2001:db8::2"}
PORTS = {"open": 8000, "published": 80, "loopback": 81}
"""Each container's ports: one unpublished, one published on all addresses and one on 127.0.0.1."""


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

# Which of a container's ports answer on its own address.
DIRECT = """
from     net  other  shy  inner  routed     bare  alone
net      all  -      -    -      published  -     -
other    -    all    -    -      published  -     -
shy      -    -      -    -      published  -     -
inner    -    -      -    all    -          -     -
routed   -    -      -    -      all        -     -
bare     -    -      -    -      published  all   -
alone    -    -      -    -      -          -     all
host     all  all    all  all    all        all   -
outside  -    -      -    -      published  all   -
"""

# Which ports answer on the host's addresses: `itself`, `net`'s first container, publishes there and on 127.0.0.1.
THROUGH_THE_HOST = """
from     published  loopback  unpublished
itself   yes        -         -
net      yes        -         -
other    yes        -         -
shy      yes        -         -
inner    -          -         -
routed   yes        -         -
bare     yes        -         -
alone    -          -         -
host     yes        -         -
outside  yes        -         -
"""
HOST_PORTS = {"published": 9001, "loopback": 9101, "unpublished": 9201}


def rows(table: str) -> dict[str, dict[str, str]]:
    """The cells of a table, by row and column."""
    (_, *columns), *lines = (line.split() for line in table.strip().splitlines())
    return {name: dict(zip(columns, cells, strict=True)) for name, *cells in lines}


# from → whether it can reach the outside, and the address it is seen under there
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

    def ask(
        self, address: str, port: int, *, kind: int = socket.SOCK_STREAM, timeout_s: float = REFUSAL_S
    ) -> str | None:
        """The address that the server saw, or `None` without an answer."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def talk() -> str | None:
            try:
                with socket.socket(family, kind) as connection:
                    connection.settimeout(timeout_s)
                    connection.connect((address, port))
                    connection.settimeout(ANSWER_S)
                    if kind == socket.SOCK_DGRAM:
                        connection.settimeout(timeout_s)
                        connection.send(b"?")
                    return connection.recv(100).decode()
            except OSError:
                return None

        return self.do(talk)


@contextmanager
def serving(place: Place, port: int) -> Iterator[None]:
    """Servers over TCP and UDP that tell each client its address."""
    server = place.do(lambda: socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))
    datagrams = place.do(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    datagrams.bind(("::", port))

    def serve() -> None:
        while True:
            try:
                connection, client = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(seen(client))

    def serve_datagrams() -> None:
        while (asked := datagrams.recvfrom(100))[0]:
            datagrams.sendto(seen(asked[1]), asked[1])

    threads = [threading.Thread(target=work) for work in (serve, serve_datagrams)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):  # fails, as it is not connected, but wakes all the same
            datagrams.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        server.close()
        datagrams.close()


def seen(client: tuple[str, int]) -> bytes:
    return client[0].removeprefix("::ffff:").encode()


class World:
    """The whole setup, with two containers on each network; those in `first` serve."""

    def __init__(self, namespaces: HostNamespace, directory: Path, undo: ExitStack) -> None:
        self._namespaces = namespaces
        self._undo = undo
        self.driver = BridgeDriver(NetworkSettings(directory, "reach"))
        undo.callback(self.driver.unwatch)
        undo.callback(self._forget_driver)
        own = open_namespace("net")
        undo.callback(os.close, own)
        self.places = {"host": Place(own, HOST), "outside": self._outside()}
        self.first: dict[str, Place] = {}
        for name, (number, internal, options) in NETWORKS.items():
            self._furnish(name, number, internal, options)
        for place in (*self.first.values(), self.places["outside"]):
            for port in PORTS.values():
                undo.enter_context(serving(place, port))

    def _forget_driver(self) -> None:
        """As `Stage` does: pytest keeps the last test's world alive until all checks are done."""
        del self.driver

    def _outside(self) -> Place:
        place = Place(self._namespaces.new_namespace(), OUTSIDE)
        namespace = f"/proc/{os.getpid()}/fd/{place.fd}"
        run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", namespace)
        for version, length in ((4, 24), (6, 64)):
            more = ["nodad"] if version == 6 else []
            run("ip", "addr", "add", f"{HOST[version]}/{length}", "dev", "wire", *more)
            place.do(partial(run, "ip", "addr", "add", f"{OUTSIDE[version]}/{length}", "dev", "wire", *more))
        run("ip", "link", "set", "wire", "up")
        place.do(lambda: run("ip", "link", "set", "wire", "up"))
        place.do(lambda: await_host(HOST[6]))
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
        PublishedPort(protocol, ANY[version], 0 if routed else 9000 + number, PORTS["published"])
        for protocol in (L4.TCP, L4.UDP)
        for version in (4, 6)
    ]
    if routed:
        return tuple(everywhere)
    at_loopback = [
        PublishedPort(protocol, IPv4Address("127.0.0.1"), 9100 + number, PORTS["loopback"])
        for protocol in (L4.TCP, L4.UDP)
    ]
    return (*everywhere, *at_loopback)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with host_namespace() as namespaces, ExitStack() as undo:
        yield World(namespaces, tmp_path_factory.mktemp("reach"), undo)


KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", rows(DIRECT))
def test_at_a_containers_own_address(world: World, source: str, kind: str, version: int) -> None:
    row = rows(DIRECT)[source]
    expected = {(target, name): cell == "all" or name == cell for target, cell in row.items() for name in PORTS}
    asked = {(target, name): (world.first[target].addresses[version], PORTS[name]) for target, name in expected}
    assert answering(world.places[source], asked, expected, KINDS[kind]) == expected


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", rows(THROUGH_THE_HOST))
def test_through_the_host(world: World, source: str, kind: str, version: int) -> None:
    expected = {name: cell == "yes" for name, cell in rows(THROUGH_THE_HOST)[source].items()}
    asked = {name: (HOST[version], HOST_PORTS[name]) for name in expected}
    place = world.first["net"] if source == "itself" else world.places[source]
    assert answering(place, asked, expected, KINDS[kind]) == expected


def answering(place: Place, asked: dict[T, tuple[str, int]], expected: dict[T, bool], kind: int) -> dict[T, bool]:
    """Which of them answer, all asked at once. Those expected to answer get a longer timeout."""

    def ask(what: T) -> bool:
        timeout_s = ANSWER_S if expected[what] else REFUSAL_S
        return place.ask(*asked[what], kind=kind, timeout_s=timeout_s) is not None

    with ThreadPoolExecutor(len(asked)) as threads:
        return dict(zip(asked, threads.map(ask, asked), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_at_loopback_answers_the_host_alone(world: World, kind: str) -> None:
    """The kernel does not route [::1], so nothing is published there."""
    at_loopback = ("127.0.0.1", HOST_PORTS["loopback"])
    assert world.places["host"].ask(*at_loopback, kind=KINDS[kind], timeout_s=ANSWER_S) is not None
    for name, place in world.places.items():
        assert name == "host" or place.ask(*at_loopback, kind=KINDS[kind]) is None


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("source", OUTWARD)
def test_outward(world: World, source: str, version: int) -> None:
    place = world.places[source]
    seen_as = place.ask(OUTSIDE[version], PORTS["open"], timeout_s=ANSWER_S if OUTWARD[source] else REFUSAL_S)
    assert seen_as == {"host": HOST[version], "own": place.addresses[version], None: None}[OUTWARD[source]]


@pytest.mark.parametrize("version", [4, 6])
def test_a_container_sends_under_no_address_of_another_network(world: World, version: int) -> None:
    """Packets with a spoofed source address do not leave its bridge."""
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
