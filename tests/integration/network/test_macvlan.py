"""The macvlan driver on the real kernel: its containers share a wire with a foreign machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from sampan.drivers import L4, Endpoint, NetworkDriver, NetworkSettings, Sandbox
from sampan.errdefs import Conflict, InvalidArgument
from sampan.network.controller import NetworkController
from sampan.network.ipam import pool_of
from sampan.network.records import EndpointWish, NetworkRecord, PortBinding
from sampan.state import Database
from sampan.syscalls.netns import run_in_netns
from sampan.testing.memory_network import MemoryNetwork
from sampan.testing.network_suite import HostNamespace, host_namespace, make_endpoint, make_network
from sampan_macvlan_net.driver import MacvlanDriver
from tests.support.network_stage import Place, run, serving

pytestmark = pytest.mark.root
NEIGHBOUR = "10.213.0.200"


class Wire:
    """A host whose link `wire` leads to a neighbour on the containers' subnet."""

    def __init__(self, namespaces: HostNamespace, directory: Path, undo: ExitStack) -> None:
        self.namespaces = namespaces
        self.undo = undo
        self.directory = directory
        self.neighbour = Place(namespaces.new_namespace())
        peer = f"/proc/{os.getpid()}/fd/{self.neighbour.fd}"
        run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", peer)
        run("ip", "link", "set", "wire", "up")
        self.neighbour.run("ip", "addr", "add", f"{NEIGHBOUR}/16", "dev", "wire")
        self.neighbour.run("ip", "link", "set", "wire", "up")
        self.driver = self.new_driver()

    def new_driver(self) -> MacvlanDriver:
        driver = MacvlanDriver(NetworkSettings(self.directory, "wire"))
        self.undo.callback(driver.close)
        return driver

    def container(self, endpoint: Endpoint) -> Place:
        sandbox = self.namespaces.new_sandbox()
        self.driver.attach(endpoint, sandbox)
        return Place(sandbox.netns_fd)


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    with host_namespace() as namespaces, ExitStack() as undo:
        yield Wire(namespaces, tmp_path, undo)


def links(place: Place) -> set[str]:
    return {link["ifname"] for link in json.loads(place.run("ip", "-j", "link"))}


@pytest.mark.parametrize(("mode", "meet"), [("bridge", True), ("private", False), ("", True)])
def test_containers_are_on_the_wire_and_meet_as_the_mode_says(wire: Wire, mode: str, meet: bool) -> None:
    network = make_network(options={"parent": "wire", "macvlan_mode": mode})
    wire.driver.create_network(network)
    server, client = (wire.container(make_endpoint(network, number)) for number in (2, 3))
    with serving(server, 80), serving(wire.neighbour, 80):
        assert wire.neighbour.ask("10.213.0.2", 80) == NEIGHBOUR
        assert server.ask(NEIGHBOUR, 80) == "10.213.0.2"
        assert client.is_kept_from("10.213.0.2", 80) is not meet


def test_without_a_parent_there_is_a_wire_of_its_own(wire: Wire) -> None:
    network = make_network(internal=True)
    wire.driver.create_network(network)
    server, client = (wire.container(make_endpoint(network, number)) for number in (2, 3))
    with serving(server, 80):
        assert client.reaches("10.213.0.2", 80)
    assert f"spd-{network.id[:8]}" in run("ip", "link")
    wire.driver.remove_network(network)
    assert "spd-" not in run("ip", "link")


def test_passthru_takes_a_parent_for_itself(wire: Wire) -> None:
    options = {"parent": "wire", "macvlan_mode": "passthru"}
    wire.driver.create_network(make_network(options=options))
    with pytest.raises(Conflict, match="is already using parent interface wire"):
        wire.driver.create_network(make_network(IPv4Network("10.214.0.0/16"), options=options))


@pytest.mark.parametrize(
    "options",
    [{"parent": "nosuch"}, {"parent": "a/b"}, {"macvlan_mode": "sideways"}, {"com.docker.network.driver.mtu": "x"}],
)
def test_options_that_make_no_sense_are_refused(wire: Wire, options: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        wire.driver.create_network(make_network(options=options))
    assert wire.driver.list().networks == frozenset()


def test_a_driver_made_anew_takes_interfaces_out_of_sandboxes_that_it_is_told_of(wire: Wire) -> None:
    network = make_network(options={"parent": "wire"})
    wire.driver.create_network(network)
    endpoint = make_endpoint(network, 2)
    place = wire.container(endpoint)
    wire.driver.close()
    wire.driver = wire.new_driver()
    assert wire.driver.list().endpoints == {endpoint.id}
    wire.driver.adopt(endpoint, Sandbox("sandbox", place.fd))
    wire.driver.detach(endpoint)
    assert links(place) == {"lo"}
    assert wire.driver.list().endpoints == frozenset()


async def test_the_core_publishes_no_ports_there(wire: Wire, tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    drivers: dict[str, NetworkDriver] = {
        "bridge": MemoryNetwork(NetworkSettings(tmp_path, "test")),
        "macvlan": wire.driver,
    }
    controller = NetworkController(drivers, database)
    await controller.open()
    pools = [pool_of(IPv4Network("10.213.0.0/16"), IPv4Address(NEIGHBOUR))]
    network = await controller.create_network(
        NetworkRecord.new("lan", "macvlan", pools=pools, options={"parent": "wire"})
    )
    record = await controller.acquire_sandbox("a1" * 32)
    endpoint = await controller.connect("a1" * 32, network, EndpointWish(ports=(PortBinding(L4.TCP, 80),)))
    assert (endpoint.ports, str(endpoint.gateway_v4)) == ((), NEIGHBOUR)
    with record.path.open("rb") as namespace:
        route = run_in_netns(namespace.fileno(), lambda: run("ip", "route", "show", "default"))
    assert f"via {NEIGHBOUR} dev eth0" in route
    await controller.release_sandbox("a1" * 32)
    await controller.close()
    database.close()
    assert wire.driver.list().endpoints == frozenset()
