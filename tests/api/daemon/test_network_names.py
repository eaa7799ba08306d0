"""Names of containers on networks, and the name servers that answer for them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from sampan.errdefs import SystemFailure
from sampan.network.dns import message
from sampan.network.dns.message import parse_query
from sampan.network.kernel import NameSockets
from tests.api.daemon.in_process import InProcess
from tests.api.daemon.networks import connect, create_network, networks_of, with_pool
from tests.support.dns_packets import query_packet


@pytest.fixture
def asking(house: InProcess) -> Iterator[Any]:
    """`asking(name)`: the newest name server's answer to an A query."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)

        def ask(name: str) -> tuple[int, bytes]:
            query = query_packet(name)
            client.sendto(query, house.sandboxes.listening[-1].udp.getsockname())
            answer = client.recv(4096)
            assert parse_query(query) is not None
            return message.response_code(answer), answer

        yield ask


def test_containers_on_a_network_find_each_other_by_name(house: InProcess, asking: Any) -> None:
    create_network(house, "sea", **with_pool(Subnet="10.7.0.0/24"))
    networking = {"EndpointsConfig": {"sea": {"Aliases": ["www"]}}}
    id = house.launch(name="web", HostConfig={"NetworkMode": "sea"}, NetworkingConfig=networking)
    links = {"EndpointsConfig": {"sea": {"Links": ["web:backend"]}}}
    house.launch(name="client", HostConfig={"NetworkMode": "sea"}, NetworkingConfig=links)
    for name in ("web", "WEB", "www", id[:12], "web.sea", "backend"):
        assert asking(name)[1].endswith(IPv4Address("10.7.0.2").packed), name
    house.call("POST", "/containers/web/kill")
    assert IPv4Address("10.7.0.2").packed not in asking("web")[1]


def test_names_are_served_again_after_a_restart(house: InProcess, asking: Any) -> None:
    create_network(house, "sea", **with_pool(Subnet="10.7.0.0/24"))
    house.launch(name="web", HostConfig={"NetworkMode": "sea"})
    house.stop()
    house.start()
    assert len(house.sandboxes.listening) == 2
    assert asking("web")[1].endswith(IPv4Address("10.7.0.2").packed)


def test_a_container_of_the_default_bridge_gets_a_name_server_when_it_is_connected(house: InProcess) -> None:
    create_network(house, "sea")
    id = house.launch(name="web")
    resolv_conf = house.daemon.containers.get(id).dir / "resolv.conf"
    assert "127.0.0.11" not in resolv_conf.read_text()
    assert house.sandboxes.listening == []
    connect(house, "sea", "web")
    assert "nameserver 127.0.0.11\n" in resolv_conf.read_text()
    assert "ndots:0" in resolv_conf.read_text()
    assert len(house.sandboxes.listening) == 1


def test_a_connection_whose_name_server_fails_is_undone(house: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NameSockets:
        raise SystemFailure("the name server of a container can't listen: no")

    create_network(house, "sea")
    id = house.launch(name="web")
    hosts = house.daemon.containers.get(id).dir / "hosts"
    before = hosts.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(house.sandboxes, "listen_for_names", refuse)
        answer = house.call("POST", "/networks/sea/connect", {"Container": "web"})
    assert (answer.status, answer.message) == (500, "the name server of a container can't listen: no")
    assert set(networks_of(house, id)) == {"bridge"}
    assert hosts.read_text() == before
    connect(house, "sea", "web")


def test_a_renamed_container_is_found_by_its_new_name(house: InProcess, asking: Any) -> None:
    create_network(house, "sea", **with_pool(Subnet="10.7.0.0/24"))
    networking = {"EndpointsConfig": {"sea": {"Aliases": ["www"]}}}
    house.launch(name="web", HostConfig={"NetworkMode": "sea"}, NetworkingConfig=networking)
    assert house.call("POST", "/containers/web/rename?name=api").status == 204
    address = IPv4Address("10.7.0.2").packed
    assert [asking(name)[1].endswith(address) for name in ("api", "www", "web")] == [True, True, False]
