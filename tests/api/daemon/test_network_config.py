"""Configuration-only networks, and the networks created from them."""

from __future__ import annotations

from tests.api.daemon.in_process import InProcess
from tests.api.daemon.networks import create_network, with_pool


def test_a_network_takes_all_from_its_configuration(house: InProcess) -> None:
    fields = {"Options": {"com.docker.network.driver.mtu": "1400"}, "Labels": {"sea": "north"}}
    create_network(house, "plan", ConfigOnly=True, EnableIPv6=True, **with_pool(Subnet="10.41.0.0/16"), **fields)
    create_network(house, "twin", ConfigOnly=True, **with_pool(Subnet="10.41.0.0/16"))
    create_network(house, "sea", ConfigFrom={"Network": "plan"}, Internal=True)
    plan, sea = (house.call("GET", f"/networks/{name}").body for name in ("plan", "sea"))
    assert (plan["Driver"], plan["ConfigOnly"], plan["ConfigFrom"]) == ("null", True, {"Network": ""})
    assert (sea["Driver"], sea["ConfigOnly"], sea["ConfigFrom"]) == ("bridge", False, {"Network": "plan"})
    assert (sea["EnableIPv6"], sea["Internal"]) == (True, True)
    assert {key: sea[key] for key in fields} == fields
    assert sea["IPAM"]["Config"][0]["Subnet"] == "10.41.0.0/16"
    house.stop()
    house.start()
    assert house.call("GET", "/networks/sea").body == sea


def test_a_configuration_is_asked_for_by_name_only(house: InProcess) -> None:
    firsts = [create_network(house, f"plan-{n}", ConfigOnly=True)[0] for n in range(17)]
    shared = next(first for first in firsts if firsts.count(first) > 1)
    answer = house.call("POST", "/networks/create", {"Name": "new", "ConfigFrom": {"Network": shared}})
    assert (answer.status, answer.message) == (404, f'configuration network "{shared}" does not exist')


def test_a_configuration_has_no_containers_and_stays_as_long_as_it_is_used(house: InProcess) -> None:
    create_network(house, "plan", ConfigOnly=True)
    create_network(house, "sea", ConfigFrom={"Network": "plan"})
    id = house.create(name="web")
    answer = house.call("POST", "/networks/plan/connect", {"Container": id})
    assert answer.status == 403 and "configuration-only network" in answer.message
    answer = house.call("DELETE", "/networks/plan")
    assert answer.status == 403
    assert answer.message == 'error while removing network: configuration network "plan" is in use'
    assert house.call("POST", "/networks/prune").body["NetworksDeleted"] == ["sea"]
    assert house.call("DELETE", "/networks/plan").status == 204
