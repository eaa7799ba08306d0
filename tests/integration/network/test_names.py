"""The name server inside a real sandbox: its address, its upstream path, what runs next to it, its speed."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TypeVar

import dns.message
import dns.query
import dns.rcode
import pytest

from sampan.network.controller import NetworkController
from sampan.network.dns import message
from sampan.network.files import ContainerFiles
from sampan.network.ipam import pool_of
from sampan.network.records import EndpointWish, NetworkRecord
from sampan.syscalls.netns import run_in_netns
from tests.support.network_room import NetworkRoom, opened

pytestmark = pytest.mark.root
T = TypeVar("T")
WEB, CLIENT = "a1" * 32, "c3" * 32
SERVER = "127.0.0.11"
ENOUGH = 1000
"""Queries a second: far below the measured rate (see docs), so that a busy machine does not fail the test."""


class Room(NetworkRoom):
    def __init__(self, directory: Path) -> None:
        self.resolv_conf = directory / "resolv.conf"
        self.resolv_conf.write_text("nameserver 203.0.113.53\n")
        super().__init__(directory)

    def make(self) -> NetworkController:
        return NetworkController({"bridge": self.driver}, self.database, resolv_conf=self.resolv_conf)

    async def network(self, name: str, number: int, *, internal: bool = False) -> NetworkRecord:
        pools = [pool_of(IPv4Network(f"10.77.{number}.0/24"))]
        return await self.controller.create_network(NetworkRecord.new(name, "bridge", pools=pools, internal=internal))

    async def join(self, id: str, network: NetworkRecord, *names: str, files: ContainerFiles | None = None) -> None:
        await self.controller.acquire_sandbox(id)
        await self.controller.connect(id, network, EndpointWish(container_name=names[0], names=names))
        await self.controller.serve_names(id, files or ContainerFiles(names[0]))

    async def inside(self, id: str, work: Callable[[], T]) -> T:
        with self.controller.sandbox(id).path.open("rb") as namespace:
            return await asyncio.to_thread(run_in_netns, namespace.fileno(), work)

    async def ask(self, name: str, *, tcp: bool = False) -> dns.message.Message:
        query = dns.message.make_query(name, "A")
        send = dns.query.tcp if tcp else dns.query.udp
        return await self.inside(CLIENT, lambda: send(query, SERVER, timeout=20))

    async def close(self) -> None:
        for id in self.controller.owners():
            await self.controller.release_sandbox(id)
        await super().close()


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with opened(Room, tmp_path) as room:
        yield room


def told(answer: dns.message.Message) -> list[str]:
    assert answer.rcode() is dns.rcode.NOERROR, answer
    return [str(record) for rrset in answer.answer for record in rrset]


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_neighbour_is_found_at_dockers_address(room: Room, tcp: bool) -> None:
    sea = await room.network("sea", 1)
    await room.join(WEB, sea, "web", "www")
    await room.join(CLIENT, sea, "client")
    assert told(await room.ask("www", tcp=tcp)) == ["10.77.1.2"]


async def test_a_container_can_serve_names_of_its_own_at_every_address(room: Room) -> None:
    sea = await room.network("sea", 1)
    await room.join(CLIENT, sea, "client")

    def serve() -> None:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as server:
                server.bind(("0.0.0.0", 53))

    await room.inside(CLIENT, serve)
    assert told(await room.ask("client")) == ["10.77.1.2"]


async def test_the_hosts_servers_are_asked_from_the_host_and_not_for_internal_networks(room: Room) -> None:
    with NameServer("127.0.0.53") as asked:
        room.resolv_conf.write_text("nameserver 127.0.0.53\n")
        await room.join(CLIENT, await room.network("inner", 1, internal=True), "client")
        assert (await room.ask("example.com")).rcode() is dns.rcode.SERVFAIL
        assert asked == []
        await room.controller.connect(CLIENT, await room.network("outer", 2), EndpointWish(names=("client",)))
        assert told(await room.ask("example.com")) == ["9.9.9.9"]
    with NameServer("127.0.0.54"):
        room.resolv_conf.write_text("nameserver 127.0.0.54  # changed\n")
        assert told(await room.ask("example.com")) == ["9.9.9.9"]


async def test_servers_that_a_container_asks_for_are_reached_as_it_reaches_them(room: Room) -> None:
    sea = await room.network("sea", 1, internal=True)
    await room.join(WEB, sea, "dns")
    files = ContainerFiles("client", dns=("10.77.1.2",))
    await room.join(CLIENT, sea, "client", files=files)
    with room.controller.sandbox(WEB).path.open("rb") as namespace:
        server = run_in_netns(namespace.fileno(), lambda: NameServer("10.77.1.2"))
        with server:
            assert told(await room.ask("example.com")) == ["9.9.9.9"]


async def test_names_are_there_again_after_a_restart_of_the_daemon(room: Room) -> None:
    sea = await room.network("sea", 1)
    await room.join(WEB, sea, "web")
    await room.join(CLIENT, sea, "client")
    query = dns.message.make_query("web", "A").to_wire()
    client = await room.inside(CLIENT, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with client, living_in(room, WEB), living_in(room, CLIENT) as pid:
        client.connect((SERVER, 53))
        client.settimeout(20)
        for is_again in (False, True):
            if is_again:
                await room.controller.close()
                room.controller = room.make()
                await room.controller.open()
                room.controller.adopt_sandbox(CLIENT, pid)
                await room.controller.serve_names(CLIENT, ContainerFiles("client"))
            client.send(query)
            answer = await asyncio.to_thread(client.recv, 512)
            assert answer.endswith(IPv4Address("10.77.1.2").packed), "from the same socket before and after"


@contextmanager
def living_in(room: Room, id: str) -> Iterator[int]:
    """Keep a thread in the container's namespace, as its init would be; yields the thread ID."""
    ids: list[int] = []
    there, end = threading.Event(), threading.Event()

    def live() -> None:
        ids.append(threading.get_native_id())
        there.set()
        end.wait()

    with room.controller.sandbox(id).path.open("rb") as namespace:
        thread = threading.Thread(target=run_in_netns, args=(namespace.fileno(), live))
        thread.start()
        there.wait()
    try:
        yield ids[0]
    finally:
        end.set()
        thread.join()


async def test_it_answers_many_queries_a_second(room: Room) -> None:
    sea = await room.network("sea", 1)
    await room.join(WEB, sea, "web")
    await room.join(CLIENT, sea, "client")
    rate = await room.inside(CLIENT, _rate)
    assert rate > ENOUGH, f"{rate:.0f} queries a second"


def _rate(count: int = 5000, at_once: int = 32) -> float:
    query = dns.message.make_query("web", "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((SERVER, 53))
        client.settimeout(20)
        started = time.perf_counter()
        for _ in range(count // at_once):
            for _ in range(at_once):
                client.send(query)
            for _ in range(at_once):
                client.recv(512)
        return count / (time.perf_counter() - started)


class NameServer:
    """A name server on port 53 of an address in the calling thread's namespace; every name resolves to 9.9.9.9."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 100_000))
        self._socket.bind((address, 53))
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.asked: list[bytes] = []

    def __enter__(self) -> list[bytes]:
        self._thread.start()
        return self.asked

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._ending.is_set():
            try:
                packet, client = self._socket.recvfrom(4096)
            except BlockingIOError:
                continue
            self.asked.append(packet)
            if (query := message.parse_query(packet)) is not None:
                self._socket.sendto(message.answer(query, [bytes([9, 9, 9, 9])]), client)
