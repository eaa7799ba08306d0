"""The same container as seen by clients of different API versions."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.versions import NEWEST, OLDEST, text
from sampan.network.records import NetworkRecord
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import IMAGE, InProcess

VERSIONS = [text((1, minor)) for minor in range(OLDEST[1], NEWEST[1] + 1)]


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    house = make_shared_house()
    house.run(house.daemon.networks.create_network(NetworkRecord.new("own", "bridge")))
    networks: Any = {"EndpointsConfig": {"own": {}, "bridge": {}}}
    house.launch(name="web", NetworkingConfig=networks)
    return house


def test_every_version_is_served(shared: InProcess) -> None:
    for version in VERSIONS:
        for path in ("info", "version", "containers/json", "containers/web/json", "images/json", "volumes"):
            assert shared.call("GET", f"/v{version}/{path}").status == 200, (version, path)


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.41", "1.44", "1.51", "1.52", "1.56"])
def test_a_container_lives_its_life_in_every_version(shared: InProcess, version: str) -> None:
    body = {"Image": IMAGE, "Cmd": ["sleep", "infinity"]}
    id = shared.call("POST", f"/v{version}/containers/create", body).body["Id"]
    for method, verb, status in (
        ("POST", "/start", 204), ("POST", "/start", 304), ("POST", "/kill?signal=TERM", 204), ("POST", "/wait", 200),
        ("POST", "/stop", 304), ("GET", "/logs?stdout=1", 200), ("DELETE", "", 204), ("GET", "/json", 404),
    ):  # fmt: skip
        assert shared.call(method, f"/v{version}/containers/{id}{verb}").status == status, verb


@pytest.mark.parametrize(
    ("version", "multiplexed"), [("1.24", False), ("1.41", False), ("1.42", True), ("1.56", True)]
)
def test_streams_are_named_by_version(shared: InProcess, version: str, multiplexed: bool) -> None:
    kind = f"application/vnd.docker.{'multiplexed' if multiplexed else 'raw'}-stream"
    with shared.hijacked(f"/v{version}/containers/web/attach?stream=1&stdout=1") as raw:
        assert raw.headers["content-type"] == kind
    assert shared.call("GET", f"/v{version}/containers/web/logs?stdout=1").headers["content-type"] == kind


@pytest.mark.parametrize(("version", "has_them"), [("1.24", True), ("1.51", True), ("1.52", False), ("1.56", False)])
def test_addresses_are_at_the_top_in_old_versions(shared: InProcess, version: str, has_them: bool) -> None:
    told = shared.call("GET", f"/v{version}/containers/web/json").body["NetworkSettings"]
    address = told["Networks"]["bridge"]["IPAddress"]
    assert address
    assert told.get("IPAddress") == (address if has_them else None)


@pytest.mark.parametrize(("version", "known"), [("1.44", True), ("1.45", False)])
def test_the_id_is_among_the_aliases_in_old_versions(shared: InProcess, version: str, known: bool) -> None:
    told = shared.call("GET", f"/v{version}/containers/web/json").body
    assert (told["Id"][:12] in (told["NetworkSettings"]["Networks"]["own"]["Aliases"] or [])) is known


@pytest.mark.parametrize(
    ("version", "fields", "absent"),
    [("1.43", {"VirtualSize"}, set()), ("1.44", set(), {"VirtualSize"}), ("1.56", set(), {"VirtualSize"})],
)
def test_images_have_the_fields_of_the_version(
    shared: InProcess, version: str, fields: set[str], absent: set[str]
) -> None:
    for image in shared.call("GET", f"/v{version}/images/json").body:
        assert fields <= image.keys()
        assert not absent & image.keys()


@pytest.mark.parametrize(("version", "stops"), [("1.41", True), ("1.42", False)])
def test_a_stop_takes_a_signal_since_1_42(shared: InProcess, version: str, stops: bool) -> None:
    id = shared.launch()
    assert shared.call("POST", f"/v{version}/containers/{id}/stop?signal=WINCH&t=0").status == 204
    assert shared.state(id)["ExitCode"] == (143 if stops else 137)


@pytest.mark.parametrize(
    ("version", "status", "message"),
    [("1.23", 400, "client version 1.23 is too old"), ("1.57", 400, "client version 1.57 is too new")],
)
def test_other_versions_are_refused(shared: InProcess, version: str, status: int, message: str) -> None:
    answer = shared.call("GET", f"/v{version}/info")
    assert answer.status == status
    assert message in answer.message


def test_negotiation_tells_the_newest(shared: InProcess) -> None:
    headers: Any = shared.call("GET", "/_ping").headers
    assert (headers["api-version"], headers["ostype"]) == (text(NEWEST), "linux")
