"""Lists cache container summaries, and never show stale ones."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from sampan.daemon.reports import listing
from sampan.network.records import NetworkRecord
from tests.api.daemon.in_process import InProcess


@pytest.fixture
def house(session_dir: Path) -> Iterator[InProcess]:
    with TemporaryDirectory(dir=session_dir) as root:
        house = InProcess(Path(root))
        try:
            house.start()
            yield house
        finally:
            house.close()


def shown(house: InProcess, query: str = "all=1") -> Any:
    """The only container in the list."""
    [line] = house.call("GET", f"/containers/json?{query}").body
    return line


def test_what_is_kept_is_the_very_summary_of_before(house: InProcess) -> None:
    id = house.create()
    shown(house)
    container = house.daemon.containers.get(id)
    made = listing._made[container]
    shown(house)
    assert listing._made[container][1] is made[1]


def test_state_and_status_are_those_of_now(house: InProcess) -> None:
    id = house.create()
    assert (shown(house)["State"], shown(house)["Status"]) == ("created", "Created")
    house.call("POST", f"/containers/{id}/start")
    assert (shown(house)["State"], shown(house)["Status"]) == ("running", "Up Less than a second")
    house.daemon.containers.get(id).state.started_at_ns -= 120 * 10**9
    assert shown(house)["Status"] == "Up 2 minutes"
    house.call("POST", f"/containers/{id}/kill")
    house.call("POST", f"/containers/{id}/wait")
    assert shown(house)["State"] == "exited"
    assert shown(house)["Status"].startswith("Exited (137) ")


def test_an_address_and_a_port_come_with_the_start_and_go_with_the_end(house: InProcess) -> None:
    host = {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}}
    id = house.create(HostConfig=host, ExposedPorts={"80/tcp": {}, "81/tcp": {}})
    before = shown(house)
    assert (before["Ports"], before["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]) == ([], "")
    house.call("POST", f"/containers/{id}/start")
    running = shown(house)
    assert [(port["PrivatePort"], port.get("PublicPort", 0) > 0) for port in running["Ports"]] == [
        (80, True),
        (81, False),
    ]
    assert running["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    house.call("POST", f"/containers/{id}/kill")
    house.call("POST", f"/containers/{id}/wait")
    house.call("POST", f"/containers/{id}/start")
    assert shown(house)["NetworkSettings"]["Networks"]["bridge"]["EndpointID"] not in (
        "",
        running["NetworkSettings"]["Networks"]["bridge"]["EndpointID"],
    )
    house.call("POST", f"/containers/{id}/kill")
    house.call("POST", f"/containers/{id}/wait")
    assert shown(house) == {**before, "State": "exited", "Status": shown(house)["Status"]}


def test_another_name_shows(house: InProcess) -> None:
    id = house.create(name="before")
    assert shown(house)["Names"] == ["/before"]
    house.daemon.containers.get(id).record.name = "after"
    assert shown(house)["Names"] == ["/after"]


def test_a_network_that_is_joined_or_left_shows(house: InProcess) -> None:
    id = house.launch()
    networks = house.daemon.networks
    network = house.run(networks.create_network(NetworkRecord.new("sea", "bridge")))
    assert list(shown(house)["NetworkSettings"]["Networks"]) == ["bridge"]
    asked = house.daemon.containers.get(id).record.networks
    asked["sea"] = asked["bridge"].model_copy()
    assert shown(house)["NetworkSettings"]["Networks"]["sea"]["NetworkID"] == network.id
    house.run(networks.connect(id, network))
    assert shown(house)["NetworkSettings"]["Networks"]["sea"]["IPAddress"]
    house.run(networks.disconnect(id, network))
    assert shown(house)["NetworkSettings"]["Networks"]["sea"]["IPAddress"] == ""
    house.run(networks.remove_network(network))
    again = house.run(networks.create_network(NetworkRecord.new("sea", "bridge")))
    assert shown(house)["NetworkSettings"]["Networks"]["sea"]["NetworkID"] == again.id
    del asked["sea"]
    assert list(shown(house)["NetworkSettings"]["Networks"]) == ["bridge"]


def test_sizes_and_older_versions_leave_no_trace(house: InProcess) -> None:
    house.create()
    plain = shown(house)
    assert shown(house, "all=1&size=1")["SizeRootFs"] > 0
    assert house.call("GET", "/v1.24/containers/json?all=1").status == 200
    assert shown(house) == plain


def test_filters_see_what_is_so_now(house: InProcess) -> None:
    id = house.create(name="one")
    assert house.ps({"status": ["created"], "network": ["bridge"]}) == ["one"]
    house.call("POST", f"/containers/{id}/start")
    assert house.ps({"status": ["created"]}) == []
    assert house.ps({"status": ["running"]}) == ["one"]
