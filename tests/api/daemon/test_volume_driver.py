"""Volumes of a volume driver: what the daemon asks of it, and when."""

from __future__ import annotations

from typing import Any

from tests.api.daemon.in_process import InProcess


def create(house: InProcess, name: str, **fields: Any) -> Any:
    answer = house.call("POST", "/volumes/create", {"Name": name, "Driver": "shelf", **fields})
    assert answer.status == 201, answer
    return answer.body


def places(house: InProcess) -> dict[str, set[str]]:
    """Which volumes are on the shelf, and which are in use."""
    shelf = house.root / "shelf"
    return {name: {entry.name for entry in (shelf / name).glob("*")} for name in ("shelf", "used")}


def test_a_volume_of_a_driver_is_listed_as_its_own(house: InProcess) -> None:
    made = create(house, "cargo", DriverOpts={"owner": "me"}, Labels={"a": "b"})
    assert (made["Driver"], made["Options"], made["Labels"]) == ("shelf", {"owner": "me"}, {"a": "b"})
    assert made["Mountpoint"] == str(house.shelf.path("cargo"))
    house.call("POST", "/volumes/create", {"Name": "plain"})
    listed = house.call("GET", "/volumes?filters=%7B%22driver%22%3A%5B%22shelf%22%5D%7D").body["Volumes"]
    assert [volume["Name"] for volume in listed] == ["cargo"]
    assert house.call("GET", "/info").body["Plugins"]["Volume"] == ["local", "shelf"]


def test_it_is_mounted_from_the_first_users_start_to_the_lasts_end(house: InProcess) -> None:
    create(house, "cargo")
    assert places(house) == {"shelf": {"cargo"}, "used": set()}
    for name in ("one", "two"):
        house.launch(name=name, HostConfig={"Binds": ["cargo:/cargo"]})
    point = house.call("GET", "/containers/one/json").body["Mounts"][0]
    assert (point["Driver"], point["Source"]) == ("shelf", str(house.shelf.path("cargo")))
    assert places(house) == {"shelf": set(), "used": {"cargo"}}
    house.call("POST", "/containers/one/kill")
    house.call("POST", "/containers/one/wait")
    assert places(house) == {"shelf": set(), "used": {"cargo"}}
    house.stop()
    house.start()
    assert places(house) == {"shelf": set(), "used": {"cargo"}}
    house.call("DELETE", "/containers/two?force=1")
    assert places(house) == {"shelf": {"cargo"}, "used": set()}


def test_a_removed_volume_is_removed_by_its_driver_but_not_while_it_is_had(house: InProcess) -> None:
    create(house, "cargo")
    house.create(name="one", HostConfig={"Binds": ["cargo:/cargo"]})
    assert house.call("DELETE", "/volumes/cargo").status == 409
    house.call("DELETE", "/containers/one")
    assert (
        house.call("POST", "/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D").body["VolumesDeleted"] == []
    )
    assert house.call("DELETE", "/volumes/cargo").status == 204
    assert places(house) == {"shelf": set(), "used": set()}
    assert house.call("GET", "/volumes/cargo").status == 404


def test_what_the_driver_refuses_is_not_made(house: InProcess) -> None:
    answer = house.call(
        "POST", "/volumes/create", {"Name": "cargo", "Driver": "shelf", "DriverOpts": {"colour": "red"}}
    )
    assert (answer.status, answer.message) == (400, "create cargo: unknown option colour")
    assert house.call("GET", "/volumes/cargo").status == 404
    answer = house.call("POST", "/volumes/create", {"Name": "cargo", "Driver": "nosuch"})
    assert (answer.status, answer.message) == (
        404,
        'create cargo: error looking up volume plugin nosuch: plugin "nosuch" not found',
    )


def test_a_name_is_of_one_driver(house: InProcess) -> None:
    create(house, "cargo")
    answer = house.call("POST", "/volumes/create", {"Name": "cargo", "Driver": "local"})
    assert (answer.status, answer.message) == (
        409,
        "create cargo: driver 'shelf' already has volume 'cargo': volume name must be unique",
    )
    mount = {
        "Type": "volume",
        "Source": "cargo",
        "Target": "/x",
        "VolumeOptions": {"DriverConfig": {"Name": "local"}},
    }
    assert (
        house.call("POST", "/containers/create", {"Image": "keeper:1", "HostConfig": {"Mounts": [mount]}}).status
        == 409
    )
    assert house.call("POST", "/volumes/create", {"Name": "cargo"}).body["Driver"] == "shelf"
    house.create(name="one", HostConfig={"Binds": ["cargo:/cargo"]})
