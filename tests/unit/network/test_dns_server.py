"""A name server on loopback, queried by dnspython."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.reversename
import dns.rrset
import pytest

from sampan.network.dns import HostServers, Names, NameServer, Relay, ServerSettings, Upstream, message
from sampan.network.dns.message import Query
from sampan.network.records import EndpointRecord
from sampan.testing.memory_sandbox import MemorySandboxKernel
from tests.support.dns_packets import query_packet

HERE = "127.0.0.1"


def endpoint(number: int, *names: str, network: str = "sea", **more: Any) -> EndpointRecord:
    fields: dict[str, Any] = {"ipv4": IPv4Interface(f"10.0.0.{number}/24"), **more}
    id = f"{number:02x}" * 32
    return EndpointRecord(
        id, f"{network}-id", network, f"c{number}", names[0] if names else "", names=names, **fields
    )


class Asking:
    """A name server, and queries to it."""

    def __init__(self, server: NameServer, port: int) -> None:
        self.server = server
        self.port = port

    async def ask(self, name: str, kind: str = "A", *, tcp: bool = False, edns_size: int = 0) -> dns.message.Message:
        use_edns = 0 if edns_size else -1
        query = dns.message.make_query(name, kind, use_edns=use_edns, payload=edns_size or 512)
        send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
        return await send(query, HERE, port=self.port, timeout=20)

    async def addresses(self, name: str, kind: str = "A", **how: Any) -> list[str]:
        answer = await self.ask(name, kind, **how)
        assert answer.rcode() is dns.rcode.NOERROR, answer
        return [str(record) for rrset in answer.answer for record in rrset]


MakeServer = Callable[..., Any]


@pytest.fixture
async def serve() -> AsyncIterator[MakeServer]:
    async with AsyncExitStack() as undo:

        async def make(
            names: Names,
            *own: EndpointRecord,
            upstream: list[Upstream] | None = None,
            timeout_s: float = 20,
            **more: Any,
        ) -> Asking:
            sockets = MemorySandboxKernel().listen_for_names(0, 0)
            settings = ServerSettings(lambda: own, lambda: upstream or [], **more)
            server = NameServer(sockets, names, Relay(timeout_s=timeout_s), settings)
            await server.start()
            undo.callback(server.close)
            return Asking(server, sockets.udp.getsockname()[1])

        yield make


def known(*endpoints: EndpointRecord) -> Names:
    names = Names()
    for one in endpoints:
        names.put(one)
    return names


# --- local names


@pytest.mark.parametrize("tcp", [False, True])
async def test_names_of_a_network_are_answered(serve: MakeServer, tcp: bool) -> None:
    web = endpoint(2, "web", "www", ipv6=IPv6Interface("fd00::2/64"))
    asking = await serve(known(web), endpoint(3, "client"))
    for name in ("web", "WWW", "web.sea", "Web.Sea"):
        assert await asking.addresses(name, tcp=tcp) == ["10.0.0.2"]
        assert await asking.addresses(name, "AAAA", tcp=tcp) == ["fd00::2"]
    for address in ("10.0.0.2", "fd00::2"):
        answer = await asking.ask(dns.reversename.from_address(address).to_text(), "PTR", tcp=tcp)
        assert answer.answer[0][0].to_text() == "web.sea."


async def test_a_name_without_an_address_of_that_family_has_none(serve: MakeServer) -> None:
    asking = await serve(known(endpoint(2, "web")), endpoint(3, "client"))
    assert await asking.addresses("web", "AAAA") == []
    assert await asking.addresses("web", "MX") == []


async def test_each_of_several_takes_its_turn_to_be_first(serve: MakeServer) -> None:
    asking = await serve(known(*(endpoint(number, f"web{number}", "web") for number in (2, 3, 4))), endpoint(9, "c"))
    first = [(await asking.addresses("web"))[0] for _ in range(6)]
    assert sorted(first) == sorted(["10.0.0.2", "10.0.0.3", "10.0.0.4"] * 2)


async def test_names_of_other_networks_are_not_known(serve: MakeServer) -> None:
    names = known(endpoint(2, "web", network="lake"), endpoint(3, "db"))
    asking = await serve(names, endpoint(4, "client"))
    assert (await asking.ask("web")).rcode() is dns.rcode.SERVFAIL
    assert (await asking.ask("web.lake")).rcode() is dns.rcode.SERVFAIL
    assert (await asking.ask("2.0.0.10.in-addr.arpa", "PTR")).rcode() is dns.rcode.SERVFAIL
    assert await asking.addresses("db") == ["10.0.0.3"]


async def test_a_link_is_a_name_of_ones_own(serve: MakeServer) -> None:
    names = known(endpoint(2, "db-1"), endpoint(3, "db-2"))
    asking = await serve(names, endpoint(4, "client", links=(("DB", "db-2"),)))
    assert await asking.addresses("db") == ["10.0.0.3"]
    other = await serve(names, endpoint(5, "other"))
    assert (await other.ask("db")).rcode() is dns.rcode.SERVFAIL


async def test_what_has_gone_or_changed_is_not_known_as_before(serve: MakeServer) -> None:
    web = endpoint(2, "web", "www")
    names = known(web, endpoint(3, "www"))
    asking = await serve(names, endpoint(4, "client"))
    names.put(replace(web, names=("api",)))
    assert (await asking.ask("web")).rcode() is dns.rcode.SERVFAIL
    assert await asking.addresses("www") == ["10.0.0.3"]
    assert await asking.addresses("api") == ["10.0.0.2"]
    names.drop(web)
    assert (await asking.ask("api")).rcode() is dns.rcode.SERVFAIL
    assert (await asking.ask("2.0.0.10.in-addr.arpa", "PTR")).rcode() is dns.rcode.SERVFAIL


async def test_a_long_answer_is_cut_over_udp_and_whole_over_tcp(serve: MakeServer) -> None:
    asking = await serve(
        known(*(endpoint(number, f"w{number}", "web") for number in range(2, 102))), endpoint(200, "c")
    )
    assert (await asking.ask("web")).flags & dns.flags.TC
    assert len(await asking.addresses("web", edns_size=4096)) == 100
    assert len(await asking.addresses("web", tcp=True)) == 100


async def test_a_name_without_a_dot_is_left_to_search_domains_if_asked_for(serve: MakeServer) -> None:
    asking = await serve(known(), endpoint(2, "client"), single_labels=False)
    assert await asking.addresses("printer") == []


async def test_rubbish_is_passed_over_and_ends_a_conversation(serve: MakeServer) -> None:
    asking = await serve(known(endpoint(2, "web")), endpoint(3, "client"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"rubbish", (HERE, asking.port))
    assert await asking.addresses("web") == ["10.0.0.2"]
    reader, writer = await asyncio.open_connection(HERE, asking.port)
    writer.write(b"\0\7rubbish")
    assert await reader.read() == b""
    writer.close()


# --- forwarded queries


class Upstreams:
    """An upstream name server, on UDP and TCP at one port, that answers as the test says."""

    def __init__(self, answer: Callable[[Query], bytes | None]) -> None:
        sockets = MemorySandboxKernel().listen_for_names(0, 0)
        self.sockets = sockets
        self.answer = answer
        self.asked: list[bytes] = []

    async def __aenter__(self) -> Upstream:
        asyncio.get_running_loop().add_reader(self.sockets.udp, self._on_datagram)
        self._server = await asyncio.start_server(self._on_connection, sock=self.sockets.tcp)
        return Upstream(HERE, None, self.sockets.udp.getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self.sockets.udp)
        self._server.close()
        self.sockets.close()

    def _on_datagram(self) -> None:
        packet, client = self.sockets.udp.recvfrom(4096)
        if (answer := self._answer(packet)) is not None:
            self.sockets.udp.sendto(answer, client)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packet = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        if (answer := self._answer(packet)) is not None:
            writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()

    def _answer(self, packet: bytes) -> bytes | None:
        self.asked.append(packet)
        query = message.parse_query(packet)
        assert query is not None
        return self.answer(query)


def ninth(query: Query) -> bytes:
    return message.answer(query, [bytes([9, 9, 9, 9])], most=4096)


def failing(query: Query) -> bytes:
    return message.refusal(query, message.SERVER_FAILURE)


@pytest.mark.parametrize("tcp", [False, True])
async def test_what_is_not_known_here_is_asked_elsewhere(serve: MakeServer, tcp: bool) -> None:
    upstreams = Upstreams(ninth)
    async with upstreams as upstream:
        asking = await serve(known(), endpoint(2, "client"), upstream=[upstream])
        assert await asking.addresses("example.com", tcp=tcp, edns_size=1400) == ["9.9.9.9"]
    sent = query_packet("example.com", edns_size=1400)
    assert upstreams.asked[0][2:] == sent[2:], "it goes on as it came, under another number"


def services(query: Query) -> bytes:
    """Sixty SRV records and the address of one target, some 3,000 bytes."""
    asked = dns.message.make_query(query.name.decode(), "SRV", use_edns=0, payload=query.size, id=query.id)
    answer = dns.message.make_response(asked)
    records = [f"10 5 {port} target{port}.example.com." for port in range(60)]
    answer.answer.append(dns.rrset.from_text_list(query.name.decode() + ".", 60, "IN", "SRV", records))
    answer.additional.append(dns.rrset.from_text("target0.example.com.", 60, "IN", "A", "192.0.2.1"))
    return answer.to_wire()


@pytest.mark.parametrize("tcp", [False, True])
async def test_answers_of_other_kinds_come_through_whole(serve: MakeServer, tcp: bool) -> None:
    async with Upstreams(services) as upstream:
        asking = await serve(known(), endpoint(2, "client"), upstream=[upstream])
        found = await asking.ask("_sip._tcp.example.com", "SRV", tcp=tcp, edns_size=4096)
    assert sorted(rdata.port for rdata in found.answer[0]) == list(range(60))
    assert found.additional[0][0].address == "192.0.2.1" and found.edns == 0


async def test_an_answer_that_was_cut_off_says_so(serve: MakeServer) -> None:
    """The client then retries over TCP, as it would with the upstream itself."""

    def cut(query: Query) -> bytes:
        return message.answer(query, [bytes([9, 9, 9, number]) for number in range(60)])

    async with Upstreams(cut) as upstream:
        asking = await serve(known(), endpoint(2, "client"), upstream=[upstream])
        assert (await asking.ask("example.com")).flags & dns.flags.TC


async def test_a_server_that_fails_or_is_silent_is_passed_over(serve: MakeServer) -> None:
    async with Upstreams(failing) as first, Upstreams(lambda _: None) as second, Upstreams(ninth) as third:
        asking = await serve(known(), endpoint(2, "c"), upstream=[first, second, third], timeout_s=1.0)
        assert await asking.addresses("example.com") == ["9.9.9.9"]
        only = await serve(known(), endpoint(2, "c"), upstream=[first])
        assert (await only.ask("example.com")).rcode() is dns.rcode.SERVFAIL


async def test_an_answer_under_another_number_is_not_believed(serve: MakeServer) -> None:
    def forged(query: Query) -> bytes:
        return message.with_id(ninth(query), query.id ^ 1)

    async with Upstreams(forged) as upstream:
        asking = await serve(known(), endpoint(2, "client"), upstream=[upstream], timeout_s=0.3)
        assert (await asking.ask("example.com")).rcode() is dns.rcode.SERVFAIL


async def test_one_that_asks_for_everything_is_refused_and_keeps_nobody_from_asking(
    serve: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.network.dns.server._MOST_RELAYED", 3)

    def selective(query: Query) -> bytes | None:
        return None if query.name == b"silent" else ninth(query)

    async with Upstreams(selective) as upstream:
        greedy = await serve(known(), endpoint(2, "greedy"), upstream=[upstream])
        other = await serve(known(), endpoint(3, "other"), upstream=[upstream])
        waiting = [asyncio.create_task(greedy.ask("silent")) for _ in range(3)]
        while len(greedy.server._relaying) < 3:
            await asyncio.sleep(0)
        assert (await greedy.ask("example.com")).rcode() is dns.rcode.REFUSED
        assert await greedy.addresses("example.com", tcp=True) == ["9.9.9.9"]
        assert await other.addresses("example.com") == ["9.9.9.9"]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_nobody_to_ask_is_a_failure(serve: MakeServer) -> None:
    asking = await serve(known(), endpoint(2, "client"))
    assert (await asking.ask("example.com")).rcode() is dns.rcode.SERVFAIL


def test_the_hosts_servers_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    servers = HostServers(path)
    assert servers.get() == ()
    path.write_text("nameserver 192.0.2.1\nnameserver rubbish\nsearch example\nnameserver fe80::1%eth0\n")
    assert [one.address for one in servers.get()] == ["192.0.2.1", "fe80::1%eth0"]
    path.with_name("new").write_text("nameserver 192.0.2.2\n")
    path.with_name("new").rename(path)
    assert [one.address for one in servers.get()] == ["192.0.2.2"]
