"""Networks: creating, listing and removing them, and containers' endpoints in them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.daemon.in_process import InProcess
from tests.api.daemon.networks import connect, create_network, disconnect, listed, networks_of, with_pool

# --- creating and removing


def test_a_network_is_as_it_was_asked_for(house: InProcess) -> None:
    pool = {
        "Subnet": "10.7.0.0/24",
        "IPRange": "10.7.0.128/25",
        "Gateway": "10.7.0.254",
        "AuxiliaryAddresses": {"printer": "10.7.0.129"},
    }
    fields: dict[str, Any] = {"Labels": {"a": "b"}, "Options": {"o": "1"}, "Internal": True, "Attachable": True}
    id = create_network(house, "sea", CheckDuplicate=True, EnableIPv6=True, **with_pool(**pool), **fields)
    seen = house.call("GET", "/networks/sea").body
    assert seen["Id"] == id == house.call("GET", f"/networks/{id[:9]}").body["Id"]
    assert seen["IPAM"]["Config"][0] == pool
    assert seen["IPAM"]["Config"][1]["Subnet"].startswith("fd")
    assert (seen["EnableIPv4"], seen["EnableIPv6"], seen["Driver"], seen["Scope"]) == (True, True, "bridge", "local")
    assert {key: seen[key] for key in fields} == fields
    name = "web"
    house.launch(name=name, HostConfig={"NetworkMode": "sea"})
    assert networks_of(house, name)["sea"]["IPAddress"] == "10.7.0.128"
    house.launch(name="db", HostConfig={"NetworkMode": "sea"})
    assert networks_of(house, "db")["sea"]["IPAddress"] == "10.7.0.130"


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"Name": ""}, 400, "invalid name: name is empty"),
        ({"Name": "bridge"}, 403, "operation is not permitted on predefined bridge network "),
        ({"Name": "sea"}, 409, "network with name sea already exists"),
        ({"Driver": "host"}, 403, 'only one instance of "host" network is allowed'),
        ({"Driver": "nosuch"}, 404, 'plugin "nosuch" not found'),
        ({"Driver": "overlay"}, 403, "This node is not a swarm manager."),
        ({"Ingress": True}, 403, "Ingress network can only be global scope network"),
        ({"Scope": "swarm"}, 403, "cannot create a swarm scoped network when swarm is not active"),
        ({"ConfigFrom": {"Network": "c"}}, 404, 'configuration network "c" does not exist'),
        ({"ConfigFrom": {"Network": "sea"}}, 404, 'configuration network "sea" does not exist'),
        (
            {"ConfigOnly": True, "Internal": True},
            403,
            "configuration network can only contain network specific fields",
        ),
        (
            {"ConfigOnly": True, "ConfigFrom": {"Network": "c"}},
            403,
            "a configuration network cannot depend on another configuration network",
        ),
        (
            {"ConfigFrom": {"Network": "c"}, "Labels": {"a": "b"}},
            403,
            "user specified configurations are not supported if the network depends on a configuration network",
        ),
        (
            {"ConfigFrom": {"Network": "c"}, "Options": {"a": "b"}},
            403,
            "network driver options are not supported if the network depends on a configuration network",
        ),
        ({"EnableIPv4": False}, 400, "IPv4 or IPv6 must be enabled"),
        ({"Options": {"com.docker.network.enable_ipv6": "maybe"}}, 400, "is not a valid bool"),
        (with_pool(Subnet="10.8.0.1/24"), 400, "invalid subnet 10.8.0.1/24: it should be 10.8.0.0/24"),
        (with_pool(Subnet="rubbish"), 400, "invalid subnet rubbish : invalid CIDR block notation"),
        (with_pool(Subnet="10.9.0.0/24"), 403, "Pool overlaps with other one on this address space"),
        (with_pool(Subnet="10.8.0.0/24", Gateway="10.9.0.1"), 400, "doesn't contain this address"),
        (with_pool(Subnet="10.8.0.0/24", IPRange="10.0.0.0/8"), 400, "CIDR block is bigger than its parent subnet"),
        (with_pool(Subnet="10.8.0.0/24", IPRange="fd00::/64"), 400, "parent subnet is an IPv4 block"),
        (with_pool(Subnet="10.8.0.0/24", AuxiliaryAddresses={"x": "fd::1"}), 400, "parent subnet is an IPv4 block"),
        (with_pool(Subnet="224.0.0.0/24"), 400, "multicast addresses can't be used"),
        (with_pool(Subnet="127.0.0.0/24"), 400, "loopback addresses can't be used"),
        (
            with_pool(Subnet="10.8.0.0/24", Gateway="10.8.0.0"),
            403,
            "allocate gateway (10.8.0.0): Address already in use",
        ),
        (with_pool(Subnet="10.8.0.0/24", Gateway="10.8.0.255"), 403, "(10.8.0.255): Address already in use"),
        (
            with_pool(Subnet="10.8.0.0/24", AuxiliaryAddresses={"x": "10.8.0.1"}),
            403,
            "failed to allocate secondary ip address (x:10.8.0.1): Address already in use",
        ),
        (
            with_pool(Subnet="10.8.0.0/24", AuxiliaryAddresses={"x": "10.8.0.7", "y": "10.8.0.7"}),
            403,
            "failed to allocate secondary ip address (y:10.8.0.7): Address already in use",
        ),
        (with_pool(Gateway="10.8.0.1"), 400, "must have a corresponding subnet"),
        ({"IPAM": {"Driver": "dhcp"}}, 404, 'plugin "dhcp" not found'),
        ({"Labels": {"a": 1}}, 400, "invalid JSON"),
    ],
)
def test_networks_that_cannot_be(house: InProcess, fields: dict[str, Any], status: int, words: str) -> None:
    create_network(house, "sea", **with_pool(Subnet="10.9.0.0/16"))
    answer = house.call("POST", "/networks/create", {"Name": "new", **fields})
    assert answer.status == status and words in answer.message, answer
    assert listed(house) == {"bridge", "host", "none", "sea"}


def test_all_that_is_wrong_with_a_pool_is_told_at_once(house: InProcess) -> None:
    answer = house.call(
        "POST", "/networks/create", {"Name": "new", **with_pool(Subnet="10.8.0.1/24", Gateway="10.9.0.1")}
    )
    assert answer.message == (
        "invalid network config:\n* invalid subnet 10.8.0.1/24: it should be 10.8.0.0/24\n"
        "* invalid gateway 10.9.0.1: parent subnet 10.8.0.0/24 doesn't contain this address"
    )


def test_a_network_of_ipv6_alone(house: InProcess) -> None:
    create_network(house, "six", EnableIPv4=False, EnableIPv6=True)
    house.launch(name="web", HostConfig={"NetworkMode": "six"})
    place = networks_of(house, "web")["six"]
    assert place["IPAddress"] == "" and place["GlobalIPv6Address"].startswith("fd")


def test_a_long_label_and_an_odd_name_are_kept(house: InProcess) -> None:
    name = "Größe / 7 🚢"
    create_network(house, name, Labels={"long": "x" * 70_000})
    assert len(house.call("GET", f"/networks/{quote(name, safe='')}").body["Labels"]["long"]) == 70_000
    assert house.call("DELETE", f"/networks/{quote(name, safe='')}").status == 204


def test_what_is_used_or_predefined_is_not_removed(house: InProcess) -> None:
    create_network(house, "sea")
    id = house.launch(name="web", HostConfig={"NetworkMode": "sea"})
    answer = house.call("DELETE", "/networks/sea")
    endpoint = networks_of(house, id)["sea"]["EndpointID"]
    assert answer.status == 403
    assert answer.message == (
        f'error while removing network: network sea has active endpoints (name:"web" id:"{endpoint[:12]}")'
    )
    for name in ("bridge", "host", "none"):
        answer = house.call("DELETE", f"/networks/{name}")
        assert (answer.status, answer.message) == (403, f"{name} is a pre-defined network and cannot be removed")
    answer = house.call("DELETE", "/networks/nosuch")
    assert (answer.status, answer.message) == (404, "network nosuch not found")
    house.call("POST", f"/containers/{id}/kill")
    assert house.call("DELETE", "/networks/sea").status == 204


def test_prune_removes_what_nobody_uses_and_the_filters_let_through(house: InProcess) -> None:
    create_network(house, "used")
    create_network(house, "kept", Labels={"keep": "1"})
    create_network(house, "idle", Labels={"tier": "a"})
    create_network(house, "other", Labels={"tier": "b"})
    house.launch(HostConfig={"NetworkMode": "used"})

    def prune(**filters: list[str]) -> Any:
        answer = house.call("POST", f"/networks/prune?filters={quote(json.dumps(filters))}")
        assert answer.status == 200, answer
        return answer.body["NetworksDeleted"]

    assert prune(until=["1h"]) is None
    assert prune(label=["tier=a"]) == ["idle"]
    assert prune(**{"label!": ["keep"]}) == ["other"]
    assert prune() == ["kept"]
    assert listed(house) == {"bridge", "host", "none", "used"}
    answer = house.call("POST", "/networks/prune?filters=" + quote('{"driver":["x"]}'))
    assert (answer.status, answer.message) == (400, "invalid filter 'driver'")


def test_another_scope_has_no_such_network(house: InProcess) -> None:
    assert house.call("GET", "/networks/bridge?scope=local&verbose=1").status == 200
    assert house.call("GET", "/networks/bridge?scope=swarm").status == 404


# --- endpoints


def test_a_running_container_is_connected_and_disconnected(house: InProcess) -> None:
    create_network(house, "sea", **with_pool(Subnet="10.7.0.0/24"))
    id = house.launch(name="web")
    connect(
        house, "sea", "web", Aliases=["www"], IPAMConfig={"IPv4Address": "10.7.0.9"}, MacAddress="02:42:00:00:00:07"
    )
    place = networks_of(house, id)["sea"]
    assert (place["IPAddress"], place["MacAddress"]) == ("10.7.0.9", "02:42:00:00:00:07")
    assert place["Aliases"] == ["www"] and place["DNSNames"] == ["web", "www", id[:12]]
    [attached] = house.call("GET", "/networks/sea").body["Containers"].values()
    assert (attached["Name"], attached["IPv4Address"]) == ("web", "10.7.0.9/24")
    hosts = house.daemon.containers.get(id).dir / "hosts"
    assert "10.7.0.9\t" in hosts.read_text()
    disconnect(house, "sea", "web")
    assert set(networks_of(house, id)) == {"bridge"}
    assert "10.7.0.9" not in hosts.read_text()
    assert house.call("GET", "/networks/sea").body["Containers"] == {}


@pytest.mark.parametrize("running", [True, False])
def test_a_connection_is_as_it_was_asked_for_but_for_what_the_engine_fills_in(
    house: InProcess, running: bool
) -> None:
    pools = [{"Subnet": "10.7.0.0/24"}, {"Subnet": "fd00:7::/64"}]
    network = create_network(house, "sea", EnableIPv6=True, IPAM={"Config": pools})
    house.launch(name="db", HostConfig={"NetworkMode": "sea"})
    id = house.launch(name="web") if running else house.create(name="web")
    asked = {
        "IPAMConfig": {"IPv4Address": "10.7.0.9", "IPv6Address": "fd00:7::9"},
        "Links": ["db:base"],
        "Aliases": ["www"],
        "MacAddress": "02:42:00:00:00:07",
        "DriverOpts": {"com.docker.network.endpoint.ifname": "eth9"},
        "GwPriority": 3,
    }
    connect(house, "sea", "web", **asked, NetworkID="x", EndpointID="x", Gateway="10.7.0.5", IPAddress="10.7.0.6")
    place = networks_of(house, id)["sea"]
    assert place.items() >= asked.items()
    assert (place["NetworkID"], place["Gateway"]) == (network, "10.7.0.1") if running else (network, "")
    if not running:
        assert (place["IPAddress"], place["EndpointID"]) == ("", "")
        assert house.call("POST", "/containers/web/start").status == 204
        place = networks_of(house, id)["sea"]
    assert (place["IPAddress"], place["GlobalIPv6Address"], len(place["EndpointID"])) == ("10.7.0.9", "fd00:7::9", 64)


def test_what_a_container_wrote_into_its_hosts_file_stays(house: InProcess) -> None:
    create_network(house, "sea")
    id = house.launch(name="web")
    hosts = house.daemon.containers.get(id).dir / "hosts"
    hosts.write_text(hosts.read_text() + "192.0.2.1\tmine\n")
    connect(house, "sea", "web")
    disconnect(house, "sea", "web")
    assert "192.0.2.1\tmine\n" in hosts.read_text()


def test_a_container_at_rest_is_connected_when_it_starts(house: InProcess) -> None:
    create_network(house, "sea")
    id = house.create(name="web")
    connect(house, "sea", "web", Aliases=["www"])
    connect(house, "sea", "web", Aliases=["other"])  # already connected: nothing changes, as with Docker
    disconnect(house, "bridge", "web")
    assert house.call("POST", f"/containers/{id}/start").status == 204
    assert networks_of(house, id)["sea"]["Aliases"] == ["www"]
    assert set(networks_of(house, id)) == {"sea"}
    disconnect(house, "sea", "web")
    assert networks_of(house, id) == {}


def test_a_network_named_by_its_id_is_found_by_its_name(house: InProcess) -> None:
    network = create_network(house, "sea")
    id = house.launch(HostConfig={"NetworkMode": network}, NetworkingConfig={"EndpointsConfig": {network: {}}})
    assert networks_of(house, id)["sea"]["NetworkID"] == network


@pytest.mark.parametrize(
    ("network", "settings", "status", "words"),
    [
        ("nosuch", {}, 404, "network nosuch not found"),
        ("sea", {}, 403, "endpoint with name web already exists in network sea"),
        (
            "host",
            {},
            400,
            "cannot connect container to host network - container must be created in host network mode",
        ),
        ("none", {}, 400, "multiple networks with one of the networks in private (none) mode"),
        (
            "lake",
            {"IPAMConfig": {"IPv4Address": "10.9.0.9"}},
            400,
            "no configured subnet contains IP address 10.9.0.9",
        ),
        ("lake", {"IPAMConfig": {"IPv4Address": "x"}}, 400, "invalid IPv4 address: x"),
        ("lake", {"IPAMConfig": {"IPv4Address": "10.8.0.2"}}, 403, "Address already in use"),
        ("bridge", {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}, 400, "supported on user-defined networks only"),
        ("bridge", {"Aliases": ["x"]}, 400, "network-scoped aliases are only supported for user-defined networks"),
        ("lake", {"MacAddress": "rubbish"}, 400, "address rubbish: invalid MAC address"),
        ("lake", {"MacAddress": "01:00:5e:00:00:01"}, 400, "address 01:00:5e:00:00:01: invalid MAC address"),
        ("lake", {"MacAddress": "00:00:00:00:00:00"}, 400, "address 00:00:00:00:00:00: invalid MAC address"),
        (
            "lake",
            {"DriverOpts": {"com.docker.network.endpoint.sysctls": "kernel.panic=1"}},
            400,
            "unrecognised network interface sysctl 'kernel.panic=1'",
        ),
        ("lake", {"DriverOpts": {"com.docker.network.endpoint.ifname": "a/b"}}, 400, "invalid interface name"),
    ],
)
def test_connections_that_cannot_be(
    house: InProcess, network: str, settings: dict[str, Any], status: int, words: str
) -> None:
    create_network(house, "sea")
    create_network(house, "lake", **with_pool(Subnet="10.8.0.0/24"))
    house.launch(name="other", HostConfig={"NetworkMode": "lake"})
    id = house.launch(name="web", HostConfig={"NetworkMode": "sea"})
    body = {"Container": "web", "EndpointConfig": settings}
    answer = house.call("POST", f"/networks/{network}/connect", body)
    assert answer.status == status and words in answer.message, answer
    assert set(networks_of(house, id)) == {"sea"}
    assert len(house.network.list().endpoints) == 2


@pytest.mark.parametrize("mode", ["host", "container:owner"])
def test_a_shared_network_namespace_joins_no_network(house: InProcess, mode: str) -> None:
    create_network(house, "sea")
    house.launch(name="owner")
    house.launch(name="guest", HostConfig={"NetworkMode": mode})
    answer = house.call("POST", "/networks/sea/connect", {"Container": "guest"})
    assert answer.status == 400
    assert answer.message == (
        "container sharing network namespace with another container or host cannot be connected to any other network"
    )


def test_a_container_is_only_disconnected_from_where_it_is(house: InProcess) -> None:
    create_network(house, "sea")
    id = house.launch(name="web")
    answer = house.call("POST", "/networks/sea/disconnect", {"Container": "web"})
    assert (answer.status, answer.message) == (404, f"container {id} is not connected to network sea")
    answer = house.call("POST", "/networks/sea/disconnect", {"Container": "nosuch"})
    assert (answer.status, answer.message) == (404, "No such container: nosuch")
    answer = house.call("POST", "/networks/sea/disconnect", {"Container": "nosuch", "Force": True})
    assert (answer.status, answer.message) == (404, "endpoint nosuch not found")


def test_connecting_and_disconnecting_are_events(house: InProcess) -> None:
    network = create_network(house, "sea")
    id = house.launch(name="web")
    connect(house, "sea", "web")
    disconnect(house, "sea", "web")
    house.call("DELETE", "/networks/sea")
    with house.opened("GET", f"/events?since=1&until={2**33}&filters=" + quote('{"network":["sea"]}')) as answer:
        told = [json.loads(answer.readline()) for _ in range(4)]
    assert [one["Action"] for one in told] == ["create", "connect", "disconnect", "destroy"]
    assert {one["Actor"]["ID"] for one in told} == {network}
    assert told[1]["Actor"]["Attributes"] == {"container": id, "name": "sea", "type": "bridge"}


def test_link_local_addresses_are_given_besides(house: InProcess) -> None:
    create_network(house, "sea", **with_pool(Subnet="10.42.0.0/16"))
    house.launch(name="web")
    connect(house, "sea", "web", IPAMConfig={"LinkLocalIPs": ["169.254.8.8", "fe80::8"]})
    assert house.sandboxes.addresses == [("eth1", "169.254.8.8/16"), ("eth1", "fe80::8/64")]
    told = house.call("GET", "/containers/web/json").body["NetworkSettings"]["Networks"]["sea"]
    assert told["IPAMConfig"]["LinkLocalIPs"] == ["169.254.8.8", "fe80::8"]
    answer = house.call(
        "POST",
        "/networks/sea/connect",
        {"Container": "web", "EndpointConfig": {"IPAMConfig": {"LinkLocalIPs": ["x"]}}},
    )
    assert answer.status == 400 and "invalid link-local IP address: x" in answer.message


# --- which network carries routes and ports


def test_of_equal_networks_the_first_by_name_carries_routes_and_ports(house: InProcess) -> None:
    for name in ("b", "c"):
        create_network(house, name)
    ports = {"80/tcp": [{"HostIp": "127.0.0.1"}]}
    id = house.launch(
        HostConfig={"NetworkMode": "c", "PortBindings": ports},
        NetworkingConfig={"EndpointsConfig": {"c": {}, "b": {}}},
    )
    carriers = [(one.network_name, one.carries_gateway) for one in house.daemon.networks.endpoints(id)]
    assert carriers == [("b", True), ("c", False)]
    assert house.sandboxes.default_routes == []
    [published] = house.network.published()
    disconnect(house, "b", id)
    assert [one.network_name for one in house.sandboxes.default_routes] == ["c"]
    assert house.network.published() == {published}


def test_a_greater_priority_takes_routes_and_ports_over(house: InProcess) -> None:
    create_network(house, "sea")
    id = house.launch(HostConfig={"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}})
    before = house.network.published()
    connect(house, "sea", id, GwPriority=5)
    first, second = house.daemon.networks.endpoints(id)
    assert (first.network_name, second.network_name, second.carries_gateway) == ("sea", "bridge", False)
    assert house.network.published() == before == set(first.ports)
    told = house.call("GET", f"/containers/{id}/json").body["NetworkSettings"]
    assert told["Networks"]["sea"]["GwPriority"] == 5
    house.stop()
    house.start()
    assert house.daemon.networks.endpoints(id) == (first, second)


def test_settings_of_the_interface_are_made(house: InProcess) -> None:
    create_network(house, "sea")
    options = {
        "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1",
        "com.docker.network.endpoint.ifname": "wan0",
    }
    id = house.launch(
        NetworkingConfig={"EndpointsConfig": {"sea": {"DriverOpts": options}}}, HostConfig={"NetworkMode": "sea"}
    )
    assert house.sandboxes.sysctls == [("wan0", "net.ipv4.conf.IFNAME.log_martians=1")]
    [endpoint] = house.daemon.networks.endpoints(id)
    assert endpoint.ifname == "wan0"
