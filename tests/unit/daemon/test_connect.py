"""Published ports and network modes, from Docker's terms to ours."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from sampan.daemon.networks.connect import has_own_sandbox
from sampan.daemon.settings.namespaces import network_mode
from sampan.daemon.settings.ports import exposed_ports, parse_port, port_bindings
from sampan.drivers import L4
from sampan.errdefs import InvalidArgument
from sampan.models import ContainerConfig, HostConfig
from sampan.network.records import PortBinding
from tests.unit.daemon.making import container


@pytest.mark.parametrize(
    ("spec", "port", "protocol"),
    [("80", 80, L4.TCP), ("80/tcp", 80, L4.TCP), ("53/udp", 53, L4.UDP), ("9/SCTP", 9, L4.SCTP),
     ("65535/tcp", 65535, L4.TCP)],
)  # fmt: skip
def test_ports(spec: str, port: int, protocol: L4) -> None:
    assert parse_port(spec) == (port, protocol)


@pytest.mark.parametrize("spec", ["", "http", "0", "65536", "-1", "80/icmp", "80/tcp/x", "1.5"])
def test_what_is_no_port_is_refused(spec: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid port specification"):
        parse_port(spec)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, []),
        ({"80/tcp": None}, []),
        ({"80/tcp": [{"HostPort": ""}]}, [PortBinding(L4.TCP, 80)]),
        ({"80/tcp": [{"HostPort": "8080"}]}, [PortBinding(L4.TCP, 80, None, 8080, 8080)]),
        ({"80/tcp": [{"HostPort": "8000-8010"}]}, [PortBinding(L4.TCP, 80, None, 8000, 8010)]),
        (
            {"53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}, {"HostIp": "[::1]", "HostPort": "53"}]},
            [
                PortBinding(L4.UDP, 53, ip_address("127.0.0.1"), 53, 53),
                PortBinding(L4.UDP, 53, ip_address("::1"), 53, 53),
            ],
        ),
    ],
)
def test_bindings(asked: Any, expected: list[PortBinding]) -> None:
    host = HostConfig.model_validate({"PortBindings": asked})
    assert list(port_bindings(ContainerConfig(), host)) == expected


@pytest.mark.parametrize(
    ("binding", "words"),
    [
        ({"HostPort": "x"}, 'invalid port specification: "x"'),
        ({"HostPort": "9-8"}, 'invalid port specification: "9-8"'),
        ({"HostPort": "70000"}, 'invalid port specification: "70000"'),
        ({"HostIp": "here"}, "invalid IP address: here"),
    ],
)
def test_bad_bindings_are_refused(binding: dict[str, str], words: str) -> None:
    host = HostConfig.model_validate({"PortBindings": {"80/tcp": [binding]}})
    with pytest.raises(InvalidArgument, match=words):
        list(port_bindings(ContainerConfig(), host))


def test_all_exposed_ports_are_published_if_asked_for_but_none_twice() -> None:
    host = HostConfig.model_validate(
        {"PublishAllPorts": True, "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
    )
    config = ContainerConfig(exposed_ports={"80/tcp": {}, "443/tcp": {}})
    found = list(port_bindings(config, host))
    assert found == [PortBinding(L4.TCP, 80, None, 8080, 8080), PortBinding(L4.TCP, 443)]


@pytest.mark.parametrize(
    ("mode", "resolved", "own"),
    [("", "bridge", True), ("default", "bridge", True), ("host", "host", False), ("none", "none", True),
     ("container:x", "container:x", False), ("mine", "mine", True)],
)  # fmt: skip
def test_network_modes(mode: str, resolved: str, own: bool) -> None:
    assert network_mode(HostConfig(network_mode=mode)) == resolved
    assert has_own_sandbox(container(NetworkMode=mode)) is own


def test_a_range_of_exposed_ports_is_each_of_them() -> None:
    config = ContainerConfig(exposed_ports={"8000-8002": {}, "8001/TCP": {}, "53/udp": {}})
    assert exposed_ports(config) == ["8000/tcp", "8001/tcp", "8002/tcp", "53/udp"]


def test_an_image_that_exposes_the_same_over_and_over_is_refused() -> None:
    config = ContainerConfig(exposed_ports={f"{first}-65535/tcp": {} for first in range(1, 100)})
    with pytest.raises(InvalidArgument, match="too many exposed ports"):
        exposed_ports(config)
