"""The controller on the bridge driver, on a host of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, ip_interface
from pathlib import Path

import pytest

from sampan.drivers import L4
from sampan.errdefs import SystemFailure
from sampan.network.controller import NetworkController
from sampan.network.records import EndpointWish, PortBinding
from sampan.syscalls.netns import run_in_netns
from sampan.testing.network_suite import host_namespace
from tests.support.network_room import NetworkRoom, opened

pytestmark = pytest.mark.root

WEB, DB = "a1" * 32, "b2" * 32
LOOPBACK = IPv4Address("127.0.0.1")

DAEMON = """
import asyncio, os, sys
from ipaddress import IPv4Address
from pathlib import Path
from sampan.drivers import L4, NetworkSettings
from sampan.network.controller import NetworkController
from sampan.network.records import EndpointWish, PortBinding
from sampan.state import Database
from sampan.syscalls.namespaces import CLONE_NEWNET, setns
from sampan_bridge_net.driver import BridgeDriver

async def main(directory):
    database = Database(directory / "state.db")
    driver = BridgeDriver(NetworkSettings(directory, "test"))
    controller = NetworkController({"bridge": driver}, database)
    await controller.open()
    for id in ("a1" * 32, "b2" * 32):
        record = await controller.acquire_sandbox(id)
        await controller.connect(id, controller.get("bridge"), EndpointWish(ports=(PortBinding(L4.TCP, 80),)))
    web = controller.sandbox("a1" * 32)
    print(web.path, flush=True)
    sys.stdin.read()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[NetworkRoom]:
    async with opened(NetworkRoom, tmp_path) as room:
        yield room


def link_count() -> int:
    return len(json.loads(subprocess.run(["ip", "-j", "link"], check=True, capture_output=True).stdout))


async def test_a_sandbox_has_loopback_ping_and_low_ports_for_everybody(room: NetworkRoom) -> None:
    record = await room.controller.acquire_sandbox(WEB)
    with record.path.open("rb") as namespace:

        def look() -> tuple[str, str, int]:
            with socket.create_server(("127.0.0.1", 80)) as server, socket.create_connection(server.getsockname()):
                pass
            ping, low = (
                Path("/proc/sys/net/ipv4", name).read_text().split()
                for name in ("ping_group_range", "ip_unprivileged_port_start")
            )
            return " ".join(ping), low[0], len(socket.if_nameindex())

        assert run_in_netns(namespace.fileno(), look) == ("0 2147483647", "0", 1)


async def started_in(namespace: Path) -> subprocess.Popen[bytes]:
    """A program that has entered the network namespace: one still starting might find it gone."""
    init = subprocess.Popen(["nsenter", f"--net={namespace}", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert init.stdin is not None and init.stdout is not None
    os.write(init.stdin.fileno(), b"entered\n")
    assert await asyncio.to_thread(init.stdout.readline) == b"entered\n"
    return init


async def test_a_program_started_in_the_sandbox_keeps_it_when_the_daemon_lets_go(room: NetworkRoom) -> None:
    record = await room.controller.acquire_sandbox(WEB)
    init = await started_in(record.path)
    try:
        endpoint = await room.controller.connect(WEB, room.controller.get("bridge"))
        assert endpoint.ipv4 is not None
        await room.controller.close()
        inside = subprocess.run(
            ["nsenter", "-t", str(init.pid), "-n", "ip", "-j", "addr"], check=True, capture_output=True
        ).stdout
        assert str(endpoint.ipv4.ip) in inside.decode()
        room.controller = NetworkController({"bridge": room.driver}, room.database)
        await room.controller.open()
        adopted = room.controller.adopt_sandbox(WEB, init.pid)
        assert os.readlink(adopted.path) == os.readlink(f"/proc/{init.pid}/ns/net")
    finally:
        init.communicate(timeout=5)
    await room.controller.release_sandbox(WEB)


async def test_after_a_kill_the_running_container_is_adopted_and_the_ended_one_freed(tmp_path: Path) -> None:
    with host_namespace():
        before = link_count()
        daemon = subprocess.Popen(
            [sys.executable, "-c", DAEMON, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert daemon.stdout is not None
        path = (await asyncio.to_thread(daemon.stdout.readline)).strip()
        init = await started_in(Path(path))
        daemon.send_signal(signal.SIGKILL)
        daemon.communicate()
        while link_count() > before + 2:  # until the kernel has removed the other one's namespace
            await asyncio.sleep(0.01)
        room = NetworkRoom(tmp_path)
        await room.controller.open()
        assert room.controller.owners() == {WEB}
        (endpoint,) = room.controller.endpoints(WEB)
        assert endpoint.id in room.driver.list().endpoints
        ruleset = subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
        assert endpoint.id in ruleset and ruleset.count(" . 80 }") == 1
        init.communicate(timeout=5)
        await room.controller.release_sandbox(WEB)
        await room.controller.close()
        assert room.driver.list().endpoints == frozenset()
        await room.close()


async def test_after_release_nothing_of_the_container_is_in_the_kernel(room: NetworkRoom) -> None:
    links = link_count()
    await room.controller.acquire_sandbox(WEB)
    await room.controller.connect(
        WEB,
        room.controller.get("bridge"),
        EndpointWish(ports=(PortBinding(L4.TCP, 80), PortBinding(L4.UDP, 53))),
    )
    await room.controller.release_sandbox(WEB)
    await room.controller.close()
    ruleset = subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
    assert link_count() == links - 1  # without containers, closing the controller removes the bridge
    assert "table inet sampan" not in ruleset


async def test_a_port_where_a_program_of_the_host_listens_is_refused_in_dockers_words(room: NetworkRoom) -> None:
    with socket.create_server(("0.0.0.0", 8080)):
        await room.controller.acquire_sandbox(WEB)
        words = (
            r"endpoint web \([0-9a-f]{64}\): failed to bind host port 0\.0\.0\.0:8080/tcp: address already in use$"
        )
        with pytest.raises(SystemFailure, match=words):
            await room.controller.connect(
                WEB,
                room.controller.get("bridge"),
                EndpointWish(container_name="web", ports=(PortBinding(L4.TCP, 80, None, 8080, 8080),)),
            )
    assert link_count() == 2  # loopback and the bridge


@pytest.mark.parametrize("bridge_netfilter", ["0", "1"])
async def test_neighbours_meet_at_link_local_addresses_which_lead_nowhere_else(
    room: NetworkRoom, bridge_netfilter: str
) -> None:
    setting = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not setting.exists():
        pytest.skip("this kernel has no br_netfilter")
    setting.write_text(bridge_netfilter)
    own, others = ip_interface("169.254.8.1/16"), ip_interface("169.254.8.2/16")
    for id, address in ((WEB, own), (DB, others)):
        await room.controller.acquire_sandbox(id)
        await room.controller.connect(id, room.controller.get("bridge"), EndpointWish(link_local=(address,)))
    web, db = (room.controller.sandbox(id).path for id in (WEB, DB))
    with web.open("rb") as here, db.open("rb") as there:
        server = run_in_netns(there.fileno(), lambda: socket.create_server((str(others.ip), 80)))
        host = socket.create_server(("0.0.0.0", 8080))
        with server, host:
            run_in_netns(here.fileno(), lambda: connect_from(own.ip, (str(others.ip), 80), 10))
            gateway = str(room.controller.get("bridge").pools[0].gateway)
            with pytest.raises(TimeoutError):
                run_in_netns(here.fileno(), lambda: connect_from(own.ip, (gateway, 8080), 0.7))


def connect_from(source: object, target: tuple[str, int], timeout_s: float) -> None:
    socket.create_connection(target, timeout=timeout_s, source_address=(str(source), 0)).close()


async def test_rules_that_another_program_takes_away_are_put_back(room: NetworkRoom) -> None:
    await room.controller.acquire_sandbox(WEB)
    port = PortBinding(L4.TCP, 80, None, 8080, 8080)
    await room.controller.connect(WEB, room.controller.get("bridge"), EndpointWish(ports=(port,)))
    before = rules()
    assert "8080" in before
    for vandalism in ("flush ruleset", "flush table inet sampan_test", "delete table inet sampan_test"):
        subprocess.run(["nft", vandalism], check=True)
        deadline = asyncio.get_running_loop().time() + 20
        while rules() != before:
            assert asyncio.get_running_loop().time() < deadline, vandalism
            await asyncio.sleep(0.01)


def rules() -> str:
    return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
