"""A host with a network driver and a neighbour on the wire, each a network namespace that tests can act from."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Any, TypeVar

from sampan.drivers import L4, Endpoint, Network, NetworkSettings, Pool, PublishedPort, Sandbox
from sampan.syscalls.namespaces import open_namespace
from sampan.syscalls.netns import run_in_netns
from sampan.testing.network_suite import HostNamespace, make_network
from sampan_bridge_net.driver import BridgeDriver

T = TypeVar("T")
ANY_V4, ANY_V6 = IPv4Address("0.0.0.0"), IPv6Address("::")
HOST_V4, HOST_V6 = "203.0.113.1", "2001:db8::1"
OUTSIDE_V4, OUTSIDE_V6 = "203.0.113.2", "2001:db8::2"
SECOND = IPv4Network("10.214.0.0/16")
REFUSAL_S = 0.7  # how long to wait for a connection that must not succeed


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
        """Connect; returns the client address that the server saw."""

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
    """A server in `place` that sends each client its address."""
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
        if kind == socket.SOCK_STREAM:  # wakes the thread; a datagram server stops at an empty datagram
            server.shutdown(socket.SHUT_RDWR)
        else:
            server.sendto(b"", server.getsockname())
        thread.join()
        server.close()


def await_host(address: str) -> None:
    """Wait until the other end of a new link answers: the kernel notifies IPv6 of the carrier asynchronously."""
    for _ in range(10):
        try:
            socket.create_connection((address, 9), timeout=5).close()
        except ConnectionRefusedError:
            return
        except OSError:
            continue
    raise AssertionError(f"{address} does not answer")


class Stage:
    """A host running the driver, and a neighbour."""

    def __init__(self, namespaces: HostNamespace, state_dir: Path, undo: ExitStack) -> None:
        self._namespaces = namespaces
        self._undo = undo
        self.state_dir = state_dir
        self.host = Place(open_namespace("net"))
        undo.callback(os.close, self.host.fd)
        self.outside = self.add_neighbour("wire", HOST_V4, OUTSIDE_V4)
        self.driver = self.new_driver("test")
        undo.callback(self._forget_driver)

    def _forget_driver(self) -> None:
        """Free the driver's nftables connection: pytest keeps the last test's stage until after the leak check."""
        del self.driver

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
