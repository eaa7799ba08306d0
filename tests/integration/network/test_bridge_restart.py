"""The bridge driver on the real kernel: what is left behind, what is repaired, what a new driver finds."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from sampan.errdefs import Conflict, Unavailable
from sampan.testing.network_suite import make_endpoint, make_network
from tests.support.network_stage import (
    HOST_V4,
    OUTSIDE_V4,
    SECOND,
    Stage,
    dual_stack,
    links,
    ruleset,
    run,
    tcp,
    with_ipv6,
)

pytestmark = pytest.mark.root


def test_removing_everything_leaves_nothing(stage: Stage) -> None:
    before = links()
    network = stage.network(dual_stack(make_network()))
    endpoint = with_ipv6(make_endpoint(network, 2))
    stage.container(endpoint, tcp(8080, 80), tcp(8080, 80, "::"))
    stage.driver.unpublish(endpoint)
    stage.driver.detach(endpoint)
    stage.driver.remove_network(network)
    assert links() == before
    assert ruleset() == []


def test_removing_one_network_leaves_the_other_whole(stage: Stage) -> None:
    first, second = stage.network(), stage.network(make_network(SECOND))
    place = stage.container(make_endpoint(second, 2), tcp(8080, 80))
    stage.serve(place, 80)
    stage.driver.remove_network(first)
    text = run("nft", "list", "ruleset")
    assert first.id not in text and "10.213" not in text
    assert stage.outside.ask(HOST_V4, 8080) == OUTSIDE_V4
    assert place.is_kept_from(OUTSIDE_V4, 9)


def test_an_attachment_that_fails_leaves_nothing(stage: Stage) -> None:
    network = stage.network()
    sandbox = stage.sandbox()
    stage.driver.attach(make_endpoint(network, 2), sandbox)
    before = links()
    with pytest.raises(Conflict):
        stage.driver.attach(make_endpoint(network, 3), sandbox)  # there already is an eth0
    broken = replace(make_endpoint(network, 4), gateway_v4=IPv4Address("192.0.2.77"))
    with pytest.raises(Exception, match="can't be attached"):
        stage.driver.attach(broken, stage.sandbox())
    assert links() == before


def test_a_bridge_that_is_full_is_said_to_be_so(stage: Stage, tmp_path: Path) -> None:
    network = stage.network()
    [bridge] = [link["ifname"] for link in json.loads(run("ip", "-j", "link", "show", "type", "bridge"))]
    links = tmp_path / "links"
    links.write_text(
        "".join(f"link add d{number} master {bridge} type veth peer name e{number}\n" for number in range(1023))
    )
    run("ip", "-batch", str(links))
    with pytest.raises(Unavailable, match=f"network {network.name} is full: a bridge has room for 1,023 containers"):
        stage.container(make_endpoint(network, 2))
    assert "spv" not in run("ip", "-br", "link")


def test_a_bridge_of_somebody_else_is_left_alone(stage: Stage) -> None:
    run("ip", "link", "add", "mine", "type", "bridge")
    network = make_network(options={"com.docker.network.bridge.name": "mine"})
    with pytest.raises(Conflict, match="mine exists already"):
        stage.driver.create_network(network)
    stage.driver.remove_network(network)
    assert "mine" in links()


def test_a_flushed_ruleset_is_put_right_with_its_ports(stage: Stage) -> None:
    network = stage.network()
    place = stage.container(make_endpoint(network, 2), tcp(8080, 80))
    stage.serve(place, 80)
    before = ruleset()
    run("nft", "flush", "ruleset")
    stage.driver.create_network(network)
    assert _without_handles(ruleset()) == _without_handles(before)
    assert stage.outside.ask(HOST_V4, 8080) == OUTSIDE_V4


def test_a_bridge_that_was_changed_is_put_right(stage: Stage) -> None:
    network = stage.network()
    place = stage.container(make_endpoint(network, 2), tcp(8080, 80))
    stage.serve(place, 80)
    run("ip", "link", "set", f"spn-{network.id[:8]}", "down")
    run("ip", "addr", "flush", "dev", f"spn-{network.id[:8]}")
    stage.driver.create_network(network)
    assert stage.outside.ask(HOST_V4, 8080) == OUTSIDE_V4


def test_a_driver_made_anew_knows_what_is_published(stage: Stage) -> None:
    network = stage.network()
    first, second = make_endpoint(network, 2), make_endpoint(network, 3)
    place = stage.container(first, tcp(8080, 80), tcp(8081, 80, "127.0.0.1"))
    stage.container(second)
    stage.serve(place, 80)
    stage.driver = stage.new_driver("test")
    for port in (tcp(8080, 80), tcp(8081, 80, "127.0.0.1")):
        with pytest.raises(Conflict, match="port is already allocated"):
            stage.driver.publish(second, (port,))
    stage.driver.publish(first, (tcp(8080, 80),))
    assert stage.outside.ask(HOST_V4, 8080) == OUTSIDE_V4
    stage.driver.unpublish(first)
    assert stage.outside.is_kept_from(HOST_V4, 8080)


def test_unpublishing_after_a_flush_is_no_error(stage: Stage) -> None:
    network = stage.network()
    endpoint = make_endpoint(network, 2)
    stage.container(endpoint, tcp(8080, 80))
    run("nft", "flush", "ruleset")
    stage.driver.unpublish(endpoint)
    stage.driver.create_network(network)
    assert "8080" not in run("nft", "list", "ruleset")


@pytest.mark.parametrize("forwarding", ["0", "1"])
def test_two_instances_serve_side_by_side(stage: Stage, forwarding: str) -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text(forwarding)
    places = []
    for number, subnet in enumerate((make_network().pools[0].subnet, SECOND)):
        assert isinstance(subnet, IPv4Network)
        stage.driver = stage.new_driver(f"test{number}")
        network = stage.network(make_network(subnet))
        places.append(stage.container(make_endpoint(network, 2), tcp(8080 + number, 80)))
        stage.serve(places[-1], 80)
    assert stage.outside.ask(HOST_V4, 8080) == OUTSIDE_V4
    assert stage.outside.ask(HOST_V4, 8081) == OUTSIDE_V4
    assert places[0].is_kept_from("10.214.0.2", 80)
    assert places[0].reaches(HOST_V4, 8081)


def _without_handles(items: list[dict[str, Any]]) -> list[str]:
    for item in items:
        for body in item.values():
            body.pop("handle", None)
    return sorted(json.dumps(item, sort_keys=True) for item in items)
