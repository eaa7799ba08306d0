"""Ports: which are reachable from outside, and which a container is reported to expose."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.daemon.in_process import InProcess
from tests.api.daemon.networks import create_network, disconnect, free_port, with_pool

UNPROTECTED = {"com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected"}
ROUTED = {"com.docker.network.bridge.gateway_mode_ipv4": "routed"}


def exposed(house: InProcess) -> list[tuple[Any, ...]]:
    answer = house.call("GET", "/ports")
    assert answer.status == 200, answer
    keys = ("ContainerName", "Network", "Address", "Port", "Protocol", "ContainerPort", "ReachedBy")
    return [tuple(one[key] for key in keys) for one in answer.body]


def test_published_ports_are_exposed_but_those_at_loopback(house: InProcess) -> None:
    port = free_port()
    bindings = {"80/tcp": [{"HostPort": str(port)}], "53/udp": [{"HostIp": "127.0.0.1"}]}
    house.launch(name="web", HostConfig={"PortBindings": bindings})
    house.create(name="asleep", HostConfig={"PortBindings": {"80/tcp": [{"HostPort": "18081"}]}})
    assert exposed(house) == [("web", "bridge", "0.0.0.0", port, "tcp", 80, "everybody")]
    house.stop()
    house.start(enforce_host_firewall=True)
    assert exposed(house) == [("web", "bridge", "0.0.0.0", port, "tcp", 80, "host-firewall")]


def told_ports(house: InProcess, container: str) -> tuple[Any, Any]:
    """A container's ports according to inspect and list."""
    [listed] = house.call("GET", f"/containers/json?filters={quote(json.dumps({'name': [container]}))}").body
    return house.call("GET", f"/containers/{container}/json").body["NetworkSettings"]["Ports"], listed["Ports"]


@pytest.mark.parametrize("mode", ["none", "host", "inner"])
def test_a_container_exposes_no_port_where_none_could_be_published(house: InProcess, mode: str) -> None:
    create_network(house, "inner", Internal=True)
    house.launch(name="web", ExposedPorts={"80/tcp": {}}, HostConfig={"NetworkMode": mode})
    assert told_ports(house, "web") == ({}, [])


def test_a_container_exposes_its_ports_as_long_as_they_could_be_published(house: InProcess) -> None:
    house.launch(name="web", ExposedPorts={"80/tcp": {}})
    assert told_ports(house, "web") == ({"80/tcp": None}, [{"PrivatePort": 80, "Type": "tcp"}])
    disconnect(house, "bridge", "web")
    assert told_ports(house, "web") == ({}, [])


def test_networks_in_the_open_are_told_of_too(house: InProcess) -> None:
    create_network(house, "bare", Options=UNPROTECTED, **with_pool(Subnet="10.31.0.0/24"))
    create_network(house, "routed", Options=ROUTED, **with_pool(Subnet="10.32.0.0/24"))
    house.launch(name="aa", HostConfig={"NetworkMode": "bare"})
    house.launch(name="bb", HostConfig={"NetworkMode": "routed", "PortBindings": {"80/tcp": [{}]}})
    house.launch(name="cc", HostConfig={"NetworkMode": "host"})
    house.launch(name="dd", HostConfig={"NetworkMode": "none"})
    assert exposed(house) == [
        ("aa", "bare", "10.31.0.2", 0, "", 0, "route"),
        ("bb", "routed", "10.32.0.2", 80, "tcp", 80, "route"),
        ("cc", "host", "0.0.0.0", 0, "", 0, "host-firewall"),
        ("cc", "host", "::", 0, "", 0, "host-firewall"),
    ]
