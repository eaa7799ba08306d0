"""The controller over the in-memory driver; its namespaces are this process's own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from sampan.drivers import L4, Attachment, Endpoint, Network, NetworkSettings, Sandbox
from sampan.errdefs import Conflict, Forbidden, InvalidArgument, NotFound, SystemFailure, Unavailable
from sampan.network.controller import NetworkController, NetworkDefaults
from sampan.network.files import ContainerFiles
from sampan.network.ipam import PoolRange, pool_of
from sampan.network.records import EndpointWish, NetworkRecord, PortBinding
from sampan.state import Database
from sampan.testing.memory_network import MemoryNetwork
from sampan.testing.memory_sandbox import MemorySandboxKernel

WEB, DB = "a1" * 32, "b2" * 32
LOOPBACK = IPv4Address("127.0.0.1")


class HeldUpNetwork(MemoryNetwork):
    """Blocks `attach`, `detach` and `remove_network` until the test releases them.

    `failure` is raised by `publish` and `remove_network`.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__(settings)
        self.attaching, self.go_attach = threading.Event(), threading.Event()
        self.go_detach = threading.Event()
        self.removing, self.go_remove = threading.Event(), threading.Event()
        for go in (self.go_attach, self.go_detach, self.go_remove):
            go.set()
        self.failure: Exception | None = None

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> Attachment:
        self.attaching.set()
        self.go_attach.wait()
        return super().attach(endpoint, sandbox)

    def detach(self, endpoint: Endpoint) -> None:
        self.go_detach.wait()
        super().detach(endpoint)

    def remove_network(self, network: Network) -> None:
        self.removing.set()
        self.go_remove.wait()
        if self.failure is not None:
            raise self.failure
        super().remove_network(network)

    def publish(self, endpoint: Endpoint, ports: Any) -> None:
        if self.failure is not None:
            raise self.failure
        super().publish(endpoint, ports)


class Room:
    """A controller on a database and a driver that outlive it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.driver = HeldUpNetwork(NetworkSettings(directory, "test"))
        self.database = Database(directory / "state.db")
        self.controller = self.make()

    def make(self, **defaults: Any) -> NetworkController:
        return NetworkController(
            {"bridge": self.driver},
            self.database,
            defaults=NetworkDefaults(**defaults),
            kernel=MemorySandboxKernel(),
        )

    async def restart(self, **defaults: Any) -> NetworkController:
        """As after `kill -9`: no cleanup runs, only what the kernel would close is closed."""
        self.controller._ports.close()
        await self.controller._sandboxes.close()
        self.controller = self.make(**defaults)
        await self.controller.open()
        return self.controller

    def rows(self, table: str) -> int:
        query = f"SELECT count(*) FROM {table}"
        return self.database.read(lambda db: int(db.execute(query).fetchone()[0]))


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(tmp_path)
    await room.controller.open()
    yield room
    await room.controller.close()
    room.database.close()


def tcp(first: int, last: int | None = None) -> PortBinding:
    return PortBinding(L4.TCP, 80, LOOPBACK, first, first if last is None else last)


async def start(controller: NetworkController, id: str, **wishes: Any) -> Any:
    await controller.acquire_sandbox(id)
    return await controller.connect(id, controller.get("bridge"), EndpointWish(container_name="web", **wishes))


# --- networks


async def test_the_predefined_networks_are_there(room: Room) -> None:
    listed = {network.name: network.driver for network in room.controller.list()}
    assert listed == {"bridge": "bridge", "host": "host", "none": "null"}
    assert str(room.controller.get("bridge").pools[0].gateway) == "172.17.0.1"


async def test_the_default_bridge_keeps_off_subnets_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(tmp_path)
    monkeypatch.setattr(room.driver, "networks_on_host", lambda: iter([IPv4Network("172.17.0.0/16")]))
    await room.controller.open()
    assert str(room.controller.get("bridge").pools[0].subnet) == "172.18.0.0/16"
    await room.controller.close()
    room.database.close()


async def test_what_is_left_of_a_removed_data_root_makes_room(tmp_path: Path) -> None:
    room = Room(tmp_path)
    left = Network("cd" * 32, "bridge", (pool_of(IPv4Network("172.17.0.0/16")),))  # type: ignore[arg-type]
    room.driver.create_network(left)
    await room.controller.open()
    assert room.driver.list().networks == {room.controller.get("bridge").id}
    assert str(room.controller.get("bridge").pools[0].subnet) == "172.17.0.0/16"
    await room.controller.close()
    room.database.close()


async def test_the_default_bridge_has_the_address_asked_for(tmp_path: Path) -> None:
    room = Room(tmp_path)
    controller = await room.restart(bip=IPv4Interface("10.9.0.9/24"))
    assert (await start(controller, WEB)).ipv4 == IPv4Interface("10.9.0.1/24")
    await controller.close()
    room.database.close()


async def test_a_changed_binding_address_holds_for_the_default_bridge_also_where_it_is_used(room: Room) -> None:
    await start(room.controller, "cd" * 32)
    controller = await room.restart(binding=LOOPBACK)
    assert controller.get("bridge").options["com.docker.network.bridge.host_binding_ipv4"] == "127.0.0.1"
    endpoint = await start(controller, WEB, ports=(PortBinding(L4.TCP, 80),))
    assert [port.host_ip for port in endpoint.ports] == [LOOPBACK]


async def test_a_changed_bip_counts_when_no_container_is_on_the_bridge(room: Room) -> None:
    await start(room.controller, WEB)
    controller = await room.restart(bip=IPv4Interface("10.9.0.1/24"))
    assert str(controller.get("bridge").pools[0].subnet) == "172.17.0.0/16"
    await controller.release_sandbox(WEB)
    controller = await room.restart(bip=IPv4Interface("10.9.0.1/24"))
    assert str(controller.get("bridge").pools[0].subnet) == "10.9.0.0/24"
    assert room.driver.list().networks == {controller.get("bridge").id}


async def test_without_a_default_bridge_there_is_none(room: Room) -> None:
    controller = await room.restart(has_bridge=False)
    assert not controller.has_default_bridge
    assert {network.name for network in controller.list()} == {"host", "none"}
    assert room.driver.list().networks == frozenset()


async def test_a_default_bridge_that_should_not_be_there_serves_only_those_that_are_on_it(room: Room) -> None:
    endpoint = await start(room.controller, WEB)
    controller = await room.restart(has_bridge=False)
    assert controller.endpoints(WEB) == (endpoint,)
    assert room.driver.list().networks == {controller.get("bridge").id}
    with pytest.raises(NotFound, match=r"^network bridge not found$"):
        await start(controller, DB)
    await controller.release_sandbox(WEB)
    controller = await room.restart(has_bridge=False)
    assert controller.find("bridge") is None
    controller = await room.restart()
    assert (await start(controller, WEB)).network_name == "bridge"


async def test_a_default_bridge_whose_containers_ended_meanwhile_goes(room: Room) -> None:
    await start(room.controller, WEB)
    lost = room.driver.list()
    for endpoint in lost.endpoints:  # as after a reboot
        room.driver.detach(Endpoint(endpoint, Network("", "", ()), "", ()))
    controller = await room.restart(has_bridge=False)
    assert controller.find("bridge") is None
    assert (room.rows("endpoints"), room.driver.list().networks) == (0, frozenset())


async def test_a_network_is_found_by_id_name_and_beginning_of_its_id(room: Room) -> None:
    bridge = room.controller.get("bridge")
    assert room.controller.get(bridge.id) == room.controller.get(bridge.id[:12]) == bridge
    with pytest.raises(NotFound, match=r"^network nowhere not found$"):
        room.controller.get("nowhere")
    with pytest.raises(NotFound):
        room.controller.get("")


async def test_a_beginning_of_two_ids_is_ambiguous_in_dockers_words(room: Room) -> None:
    prefixes = [network.id[0] for network in room.controller.list()]
    number = 0
    while len(set(prefixes)) == len(prefixes):
        network = await room.controller.create_network(NetworkRecord.new(f"lan{number}", "null"))
        prefixes.append(network.id[0])
        number += 1
    with pytest.raises(InvalidArgument, match=r"is ambiguous \([23] matches found based on ID prefix\)"):
        room.controller.get(max(prefixes, key=prefixes.count))


async def test_a_network_of_ones_own_gets_the_next_subnet(room: Room) -> None:
    network = await room.controller.create_network(NetworkRecord.new("lan", "bridge", ipv6=True))
    assert str(network.pools[0].subnet) == "172.18.0.0/16"
    assert network.pools[1].subnet.version == 6
    assert network.id in room.driver.list().networks
    with pytest.raises(Conflict, match=r"^network with name lan already exists$"):
        await room.controller.create_network(NetworkRecord.new("lan", "bridge"))


async def test_pools_that_overlap_another_networks_are_refused(room: Room) -> None:
    with pytest.raises(Forbidden, match="Pool overlaps with other one on this address space"):
        await room.controller.create_network(
            NetworkRecord.new("lan", "bridge", pools=(pool_of(IPv4Network("172.17.4.0/24")),))
        )
    assert len(room.controller.list()) == 3


async def test_a_driver_that_is_not_installed_is_said_so(room: Room) -> None:
    pools = [pool_of(IPv4Network("10.1.0.0/24"))]
    with pytest.raises(NotFound, match='plugin "macvlan" not found'):
        await room.controller.create_network(NetworkRecord.new("lan", "macvlan", pools=pools))
    assert room.rows("networks") == 3


async def test_a_removed_network_is_gone_for_good(room: Room) -> None:
    network = await room.controller.create_network(NetworkRecord.new("lan", "bridge"))
    await room.controller.remove_network(network)
    assert network.id not in room.driver.list().networks
    controller = await room.restart()
    with pytest.raises(NotFound):
        controller.get("lan")


async def test_networks_in_use_and_predefined_ones_stay(room: Room) -> None:
    network = await room.controller.create_network(NetworkRecord.new("lan", "bridge"))
    await room.controller.acquire_sandbox(WEB)
    await room.controller.connect(WEB, network, EndpointWish(container_name="web"))
    with pytest.raises(Forbidden, match=r'network lan has active endpoints \(name:"web" id:"'):
        await room.controller.remove_network(network)
    with pytest.raises(Forbidden, match=r"^bridge is a pre-defined network and cannot be removed$"):
        await room.controller.remove_network(room.controller.get("bridge"))


# --- endpoints


async def test_a_container_gets_address_mac_gateway_and_default_route(room: Room) -> None:
    endpoint = await start(room.controller, WEB)
    assert str(endpoint.ipv4) == "172.17.0.2/16"
    assert (endpoint.mac, endpoint.ifname) == ("02:42:ac:11:00:02", "eth0")
    assert (str(endpoint.gateway_v4), endpoint.carries_gateway) == ("172.17.0.1", True)
    assert (
        room.controller.endpoints(WEB) == room.controller.endpoints_of(room.controller.get("bridge")) == (endpoint,)
    )
    assert room.driver.list().endpoints == {endpoint.id}


async def test_a_mac_asked_for_is_given(room: Room) -> None:
    assert (await start(room.controller, WEB, mac="02:00:00:00:00:77")).mac == "02:00:00:00:00:77"


async def test_a_second_network_becomes_a_second_interface_without_default_route(room: Room) -> None:
    first = await start(room.controller, WEB)
    network = await room.controller.create_network(NetworkRecord.new("lan", "bridge"))
    second = await room.controller.connect(WEB, network, EndpointWish(names=("www",), ipv4=IPv4Address("172.18.0.9")))
    assert (second.ifname, second.carries_gateway, second.names) == ("eth1", False, ("www",))
    assert str(second.ipv4) == "172.18.0.9/16"
    assert room.controller.endpoints(WEB) == (first, second)
    await room.controller.disconnect(WEB, network)
    assert room.controller.endpoints(WEB) == (first,)
    assert room.driver.list().endpoints == {first.id}
    with pytest.raises(NotFound):
        await room.controller.disconnect(WEB, network)


async def test_an_internal_network_gives_no_gateway(room: Room) -> None:
    network = await room.controller.create_network(NetworkRecord.new("lan", "bridge", internal=True))
    await room.controller.acquire_sandbox(WEB)
    endpoint = await room.controller.connect(WEB, network)
    assert (endpoint.gateway_v4, endpoint.carries_gateway) == (None, False)


async def test_the_same_network_twice_is_refused(room: Room) -> None:
    await start(room.controller, WEB)
    with pytest.raises(Forbidden, match="endpoint with name web already exists in network bridge"):
        await start(room.controller, WEB)


async def test_an_address_on_a_predefined_network_cannot_be_asked_for(room: Room) -> None:
    with pytest.raises(InvalidArgument, match="supported on user-defined networks only"):
        await start(room.controller, WEB, ipv4=IPv4Address("172.17.0.9"))


async def test_host_and_none_are_only_noted(room: Room) -> None:
    for id, name in ((WEB, "host"), (DB, "none")):
        endpoint = await room.controller.connect(id, room.controller.get(name))
        assert (endpoint.addresses, endpoint.ifname) == ((), "")
    assert room.driver.list().endpoints == frozenset()
    for id in (WEB, DB):
        await room.controller.release_sandbox(id)
    assert room.rows("endpoints") == 0


async def test_without_a_sandbox_there_is_nothing_to_attach(room: Room) -> None:
    with pytest.raises(NotFound, match="has no sandbox"):
        await room.controller.connect(WEB, room.controller.get("bridge"))
    assert room.controller.owners() == set()
    assert (room.rows("endpoints"), room.rows("addresses")) == (0, 0)


async def test_nobody_joins_a_network_that_is_being_removed(room: Room) -> None:
    network = await room.controller.create_network(NetworkRecord.new("sea", "bridge"))
    room.driver.go_remove.clear()
    removal = asyncio.create_task(room.controller.remove_network(network))
    await asyncio.to_thread(room.driver.removing.wait)
    await room.controller.acquire_sandbox(WEB)
    try:
        with pytest.raises(NotFound, match=r"^network sea not found$"):
            await room.controller.connect(WEB, network)
    finally:
        room.driver.go_remove.set()
    await removal
    assert room.controller.find("sea") is None
    with pytest.raises(NotFound, match=r"^network sea not found$"):
        await room.controller.connect(WEB, network)
    assert (room.rows("endpoints"), room.rows("addresses")) == (0, 0)


async def test_a_network_that_could_not_be_removed_can_be_joined_again(room: Room) -> None:
    network = await room.controller.create_network(NetworkRecord.new("sea", "bridge"))
    room.driver.failure = SystemFailure("the bridge is on fire")
    with pytest.raises(SystemFailure, match="on fire"):
        await room.controller.remove_network(network)
    room.driver.failure = None
    await room.controller.acquire_sandbox(WEB)
    assert (await room.controller.connect(WEB, network)).network_name == "sea"


async def test_published_ports_are_chosen_and_told(room: Room) -> None:
    endpoint = await start(room.controller, WEB, ports=[tcp(0), tcp(0)])
    assert len({port.host_port for port in endpoint.ports}) == 2
    assert room.driver.published() == set(endpoint.ports)


async def test_a_taken_port_is_refused_in_dockers_words_and_leaves_nothing(room: Room) -> None:
    taken = (await start(room.controller, WEB, ports=[tcp(0)])).ports[0].host_port
    words = (
        r"^driver failed programming external connectivity on endpoint web \([0-9a-f]{64}\): "
        rf"Bind for 127\.0\.0\.1:{taken} failed: port is already allocated$"
    )
    with pytest.raises(SystemFailure, match=words):
        await start(room.controller, DB, ports=[tcp(taken)])
    assert room.controller.endpoints(DB) == ()
    assert (room.rows("endpoints"), room.rows("addresses")) == (1, 1)
    assert str((await room.controller.connect(DB, room.controller.get("bridge"))).ipv4) == "172.17.0.3/16"


async def test_a_driver_that_fails_half_way_leaves_nothing(room: Room) -> None:
    room.driver.failure = SystemFailure("the firewall is on fire")
    with pytest.raises(SystemFailure, match="on fire"):
        await start(room.controller, WEB, ports=[tcp(0)])
    assert room.driver.list().endpoints == frozenset()
    assert (room.rows("endpoints"), room.rows("addresses")) == (0, 0)
    room.driver.failure = None
    assert str((await start(room.controller, WEB)).ipv4) == "172.17.0.2/16"


async def test_a_cancelled_connect_is_undone_whole(room: Room) -> None:
    room.driver.go_attach.clear()
    task = asyncio.create_task(start(room.controller, WEB, ports=[tcp(0)]))
    await asyncio.to_thread(room.driver.attaching.wait)
    task.cancel()
    await asyncio.sleep(0)
    room.driver.go_attach.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert room.driver.list().endpoints == frozenset()
    assert room.driver.published() == set()
    assert (room.rows("endpoints"), room.rows("addresses")) == (0, 0)


async def test_after_release_everything_is_free(room: Room) -> None:
    endpoint = await start(room.controller, WEB, ports=[tcp(0)])
    await room.controller.release_sandbox(WEB)
    assert room.driver.published() == set()
    again = await start(room.controller, WEB, ports=[tcp(endpoint.ports[0].host_port)])
    assert again.ports == endpoint.ports
    await room.controller.release_sandbox(WEB)
    await room.controller.release_sandbox(WEB)
    await room.controller.close()
    assert (room.rows("endpoints"), room.rows("addresses")) == (0, 0)
    assert room.controller.owners() == set()


async def test_an_address_is_given_again_only_when_its_interface_is_gone(room: Room) -> None:
    first = await start(room.controller, WEB)
    room.driver.go_detach.clear()
    await room.controller.release_sandbox(WEB)
    assert (await start(room.controller, DB)).ipv4 != first.ipv4
    room.driver.go_detach.set()


async def test_a_fixed_address_waits_until_its_former_interface_is_gone(room: Room) -> None:
    network = await room.controller.create_network(NetworkRecord.new("lan", "bridge"))
    await room.controller.acquire_sandbox(WEB)
    fixed = IPv4Address("172.18.0.9")
    await room.controller.connect(WEB, network, EndpointWish(ipv4=fixed))
    room.driver.go_detach.clear()
    await room.controller.release_sandbox(WEB)
    await room.controller.acquire_sandbox(WEB)
    connecting = asyncio.create_task(room.controller.connect(WEB, network, EndpointWish(ipv4=fixed)))
    await asyncio.sleep(0)
    assert not connecting.done()
    room.driver.go_detach.set()
    endpoint = await connecting
    assert endpoint.ipv4 is not None and endpoint.ipv4.ip == fixed


async def test_a_full_network_says_so(room: Room) -> None:
    network = await room.controller.create_network(
        NetworkRecord.new("lan", "bridge", pools=(pool_of(IPv4Network("10.1.0.0/30")),))
    )
    for id in (WEB, DB):
        await room.controller.acquire_sandbox(id)
    await room.controller.connect(WEB, network)
    with pytest.raises(Unavailable, match="no available IPv4 addresses on this network's address pools: lan"):
        await room.controller.connect(DB, network)


async def test_pools_run_out_in_dockers_words(room: Room) -> None:
    controller = await room.restart(pools=[PoolRange(IPv4Network("172.17.0.0/16"), 16)])
    with pytest.raises(InvalidArgument, match="all predefined address pools have been fully subnetted"):
        await controller.create_network(NetworkRecord.new("lan", "bridge"))


async def test_many_containers_at_once_get_addresses_of_their_own(room: Room) -> None:
    ids = [f"{number:064x}" for number in range(40)]
    endpoints = await asyncio.gather(*(start(room.controller, id, ports=[tcp(0)]) for id in ids))
    assert len({endpoint.ipv4 for endpoint in endpoints}) == len(ids)
    assert len({port for endpoint in endpoints for port in endpoint.ports}) == len(ids)
    await asyncio.gather(*(room.controller.release_sandbox(id) for id in ids))


async def test_the_files_name_the_container_and_its_gateway(room: Room, tmp_path: Path) -> None:
    await start(room.controller, WEB)
    files = ContainerFiles("web", extra_hosts=("me:host-gateway",))
    await asyncio.to_thread(room.controller.write_files, WEB, tmp_path, files)
    text = (tmp_path / "hosts").read_text()
    assert "172.17.0.2\tweb\n" in text and "172.17.0.1\tme\n" in text


# --- restart


async def test_after_a_restart_what_runs_is_adopted(room: Room) -> None:
    endpoint = await start(room.controller, WEB, ports=[tcp(0)])
    controller = await room.restart()
    assert controller.endpoints(WEB) == (endpoint,)
    assert controller.owners() == {WEB}
    controller.adopt_sandbox(WEB, os.getpid())
    other = await start(controller, DB)
    assert other.ipv4 != endpoint.ipv4
    with pytest.raises(SystemFailure, match="port is already allocated"):
        await start(controller, "c3" * 32, ports=[tcp(endpoint.ports[0].host_port)])
    await controller.release_sandbox(WEB)
    assert room.driver.published() == set()


async def test_after_a_restart_what_ended_meanwhile_is_freed(room: Room) -> None:
    endpoint = await start(room.controller, WEB, ports=[tcp(0)])
    network = room.controller.get("bridge").for_driver()
    room.driver.detach(Endpoint(endpoint.id, network, "eth0", ()))
    controller = await room.restart()
    assert controller.owners() == set()
    assert (room.rows("endpoints"), room.rows("addresses")) == (0, 0)
    assert (await start(controller, DB, ports=[tcp(endpoint.ports[0].host_port)])).ipv4 == endpoint.ipv4


async def test_after_a_restart_what_nobody_owns_is_removed(room: Room) -> None:
    stray = Network("ef" * 32, "stray", (pool_of(IPv4Network("10.5.0.0/24")),))  # type: ignore[arg-type]
    room.driver.create_network(stray)
    room.driver.attach(Endpoint("ee" * 32, stray, "eth0", ()), Sandbox(WEB, -1))
    controller = await room.restart()
    assert room.driver.list().networks == {controller.get("bridge").id}
    assert room.driver.list().endpoints == frozenset()


async def test_an_address_left_by_a_kill_during_release_is_free_again(room: Room) -> None:
    endpoint = await start(room.controller, WEB)
    room.driver.go_detach.clear()
    await room.controller.release_sandbox(WEB)
    assert room.rows("addresses") == 1
    room.driver.go_detach.set()
    controller = await room.restart()
    assert room.rows("addresses") == 0
    assert (await start(controller, DB)).ipv4 == endpoint.ipv4


async def test_a_sandbox_of_a_process_that_is_gone_is_not_found(room: Room) -> None:
    with pytest.raises(NotFound, match="is gone"):
        room.controller.adopt_sandbox(WEB, 2**22 + 1)


async def test_sandboxes_are_made_ahead(room: Room) -> None:
    record = await room.controller.acquire_sandbox(WEB)
    assert os.readlink(record.path) == os.readlink("/proc/self/ns/net")
    assert await room.controller.acquire_sandbox(WEB) == record == room.controller.sandbox(WEB)
