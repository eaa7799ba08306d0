"""A daemon with the default network `bridge` disabled, and enabled again."""

from __future__ import annotations

from sampan.network.controller import NetworkDefaults
from tests.api.daemon.in_process import InProcess
from tests.api.daemon.networks import connect, create_network, listed, networks_of, with_pool


def again(house: InProcess, *, has_bridge: bool) -> None:
    """Restart the daemon with that setting."""
    house.stop()
    house.network_defaults = NetworkDefaults(has_bridge=has_bridge)
    house.start()


def addresses(house: InProcess, container: str) -> dict[str, str]:
    return {name: settings["IPAddress"] for name, settings in networks_of(house, container).items()}


def test_without_a_default_bridge_containers_have_a_loopback_only(house: InProcess) -> None:
    again(house, has_bridge=False)
    assert listed(house) == {"host", "none"}
    ports = {"PortBindings": {"80/tcp": [{"HostPort": "18080"}]}}
    for name, mode in (("plain", ""), ("named", "bridge")):
        house.launch(name=name, HostConfig={"NetworkMode": mode, **ports})
        assert addresses(house, name) == {"bridge": ""}
        assert house.network.list().endpoints == frozenset()
    assert house.network.published() == set()
    answer = house.call("POST", "/networks/bridge/connect", {"Container": "plain"})
    assert (answer.status, answer.message) == (404, "network bridge not found")


def test_without_a_default_bridge_other_networks_are_there(house: InProcess) -> None:
    again(house, has_bridge=False)
    create_network(house, "sea", **with_pool(Subnet="10.42.0.0/16"))
    house.launch(name="web", HostConfig={"NetworkMode": "sea"})
    assert addresses(house, "web") == {"sea": "10.42.0.2"}
    house.launch(name="both")
    connect(house, "sea", "both")
    assert addresses(house, "both") == {"bridge": "", "sea": "10.42.0.3"}


def test_whoever_runs_stays_on_the_default_bridge_that_goes(house: InProcess) -> None:
    house.launch(name="early")
    address = addresses(house, "early")
    again(house, has_bridge=False)
    house.launch(name="late")
    assert (addresses(house, "early"), addresses(house, "late")) == (address, {"bridge": ""})
    assert house.call("POST", "/containers/early/restart?t=0").status == 204
    assert addresses(house, "early") == {"bridge": ""}
    again(house, has_bridge=False)
    assert listed(house) == {"host", "none"}


def test_containers_join_the_default_bridge_that_is_back(house: InProcess) -> None:
    again(house, has_bridge=False)
    house.launch(name="web")
    again(house, has_bridge=True)
    assert addresses(house, "web") == {"bridge": ""}
    assert house.call("POST", "/containers/web/restart?t=0").status == 204
    assert addresses(house, "web") == {"bridge": "172.17.0.2"}
