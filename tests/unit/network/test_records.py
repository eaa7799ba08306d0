"""Networks and endpoints as stored documents."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address

import pytest

from sampan.drivers import L4, PublishedPort
from sampan.network.records import EndpointRecord, decode, encode

ANY_V4, ANY_V6 = IPv4Address("0.0.0.0"), IPv6Address("::")
ENDPOINT = EndpointRecord("e" * 64, "n" * 64, "net", "c" * 64, "web", ipv4=IPv4Interface("10.0.0.2/24"))


def with_ports(*ports: PublishedPort) -> EndpointRecord:
    return replace(ENDPOINT, ports=ports)


@pytest.mark.parametrize(
    ("ports", "ranges"),
    [
        pytest.param((), 0, id="none"),
        pytest.param([PublishedPort(L4.TCP, ANY_V4, 8080, 80)], 1, id="one"),
        pytest.param([PublishedPort(L4.TCP, ANY_V4, 9000 + step, 80 + step) for step in range(1000)], 1, id="range"),
        pytest.param([PublishedPort(L4.TCP, ANY_V4, 9000 + step, 80) for step in range(3)], 3, id="all to one"),
        pytest.param([PublishedPort(L4.TCP, ANY_V4, 9000 + 2 * step, 80 + step) for step in range(3)], 3, id="gaps"),
        pytest.param(
            [PublishedPort(l4, ip, 53 + step, 53 + step) for l4 in L4 for ip in (ANY_V4, ANY_V6) for step in (0, 1)],
            6,
            id="of several protocols and addresses",
        ),
        pytest.param([PublishedPort(L4.TCP, ANY_V4, 0, port) for port in (80, 81)], 2, id="opened, not the host's"),
    ],
)
def test_ports_are_stored_as_ranges(ports: list[PublishedPort], ranges: int) -> None:
    endpoint = with_ports(*ports)
    document = encode(endpoint)
    assert len(json.loads(document)["ports"]) == ranges
    assert decode(EndpointRecord, document) == endpoint


@pytest.mark.parametrize("ports", ['"all"', "[[1, 2]]", '[["tcp", "nowhere", 1, 2, 3]]', '[["icmp", "::", 1, 2, 3]]'])
def test_a_document_with_senseless_ports_is_refused(ports: str) -> None:
    document = encode(ENDPOINT).replace('"ports":[]', f'"ports":{ports}')
    with pytest.raises(ValueError, match="validation error"):
        decode(EndpointRecord, document)
