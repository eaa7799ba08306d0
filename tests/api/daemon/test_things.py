"""Names, volumes, images and networks: in-use checks, lookups and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sampan.daemon.volumes.volumes import ANONYMOUS_LABEL
from sampan.network.records import NetworkRecord
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import IMAGE, Answer, InProcess

KEEPER = "keeper:1"


@pytest.fixture(scope="module")
def fleet(make_shared_house: MakeHouse) -> InProcess:
    """Three containers to filter."""
    house = make_shared_house()
    house.create("true", name="first", Labels={"tier": "back"}, Image="labelled:1")
    house.launch(name="second", Labels={"tier": "front", "a": ""}, HostConfig={"Binds": ["cargo:/cargo"]})
    house.finish("sh", "-c", "exit 3", name="third", Image=KEEPER, HostConfig={"NetworkMode": "none"})
    house.call("POST", "/volumes/create", {"Name": "idle", "Labels": {"tier": "back"}})
    return house


def found(house: InProcess, path: str, filters: dict[str, list[str]]) -> Answer:
    return house.call("GET", f"{path}{'&' if '?' in path else '?'}filters={quote(json.dumps(filters))}")


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, {"first", "second", "third"}),
        ({"name": ["second"]}, {"second"}),
        ({"name": ["^/fir", "third$"]}, {"first", "third"}),
        ({"status": ["created", "exited"]}, {"first", "third"}),
        ({"status": ["running"]}, {"second"}),
        ({"exited": ["3"]}, {"third"}),
        ({"exited": ["0"]}, set()),
        ({"label": ["tier"]}, {"first", "second"}),
        ({"label": ["tier=front"]}, {"second"}),
        ({"label": ["tier=front", "tier=back"]}, set()),
        ({"ancestor": ["labelled:1"]}, {"first"}),
        ({"ancestor": [IMAGE, KEEPER]}, {"second", "third"}),
        ({"ancestor": ["nosuch"]}, set()),
        ({"volume": ["cargo"]}, {"second"}),
        ({"volume": ["/data"]}, {"third"}),
        ({"network": ["bridge"]}, {"first", "second"}),
        ({"network": ["none"]}, {"third"}),
        ({"before": ["second"]}, {"first"}),
        ({"since": ["second"]}, {"third"}),
        ({"expose": ["80"]}, set()),
        ({"expose": ["80/udp"]}, set()),
        ({"publish": ["80"]}, set()),
        ({"health": ["none"]}, {"first", "second", "third"}),
        ({"is-task": ["true"]}, set()),
    ],
)
def test_filters_of_ps(fleet: InProcess, filters: Any, names: set[str]) -> None:
    assert set(fleet.ps(filters)) == names


@pytest.mark.parametrize(
    ("path", "filters", "message"),
    [
        ("/containers/json", {"nope": ["1"]}, "invalid filter 'nope'"),
        ("/containers/json", {"is-task": ["maybe"]}, "invalid filter 'is-task=maybe'"),
        ("/images/json", {"nope": ["1"]}, "invalid filter 'nope'"),
        ("/volumes", {"nope": ["1"]}, "invalid filter 'nope'"),
        ("/networks", {"nope": ["1"]}, "invalid filter 'nope'"),
    ],
)
def test_bad_filters_are_refused(fleet: InProcess, path: str, filters: Any, message: str) -> None:
    answer = found(fleet, path, filters)
    assert answer.status == 400
    assert message in answer.message


def test_a_limit_shows_the_newest_running_or_not(fleet: InProcess) -> None:
    assert [one["Names"] for one in fleet.call("GET", "/containers/json?limit=2").body] == [["/third"], ["/second"]]


def test_a_list_tells_what_docker_ps_shows(fleet: InProcess) -> None:
    [shown] = fleet.call("GET", "/containers/json?size=1").body
    assert (shown["Image"], shown["Command"], shown["State"]) == (IMAGE, "sleep infinity", "running")
    assert shown["Status"].startswith("Up ")
    assert shown["HostConfig"] == {"NetworkMode": "bridge"}
    assert shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert shown["SizeRootFs"] >= shown["SizeRw"] >= 0
    [mount] = shown["Mounts"]
    assert (mount["Type"], mount["Name"], mount["Destination"], mount["RW"]) == ("volume", "cargo", "/cargo", True)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, {IMAGE, "labelled:1", KEEPER}),
        ({"reference": ["busybox"]}, {IMAGE}),
        ({"reference": ["*:1"]}, {"labelled:1", KEEPER}),
        ({"label": ["planks=3"]}, {"labelled:1"}),
        ({"dangling": ["true"]}, set()),
        ({"until": ["1"]}, set()),
        ({"before": [IMAGE]}, set()),
    ],
)
def test_filters_of_images(fleet: InProcess, filters: Any, names: set[str]) -> None:
    assert {tag for image in found(fleet, "/images/json", filters).body for tag in image["RepoTags"]} == names


def test_of_two_images_made_in_one_second_one_is_older(house: InProcess) -> None:
    house.create("true", name="mother")
    names = [f"child:{number}" for number in range(3)]
    for name in names:
        repository, tag = name.split(":")
        assert house.call("POST", f"/commit?container=mother&repo={repository}&tag={tag}").status == 201
    images = found(house, "/images/json", {"since": [names[0]], "before": [names[2]]}).body
    assert [image["RepoTags"] for image in images] == [[names[1]]]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"name": ["carg"]}, {"cargo"}),
        ({"label": ["tier=back"]}, {"idle"}),
        ({"dangling": ["true"]}, {"idle"}),
        ({"driver": ["local"], "name": ["idle", "cargo"]}, {"idle", "cargo"}),
        ({"driver": ["nfs"]}, set()),
    ],
)
def test_filters_of_volumes(fleet: InProcess, filters: Any, names: set[str]) -> None:
    assert {volume["Name"] for volume in found(fleet, "/volumes", filters).body["Volumes"]} == names


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, {"bridge", "host", "none"}),
        ({"name": ["bri"]}, {"bridge"}),
        ({"driver": ["host", "null"]}, {"host", "none"}),
        ({"type": ["builtin"]}, {"bridge", "host", "none"}),
        ({"type": ["custom"]}, set()),
        ({"scope": ["swarm"]}, set()),
    ],
)
def test_filters_of_networks(fleet: InProcess, filters: Any, names: set[str]) -> None:
    assert {network["Name"] for network in found(fleet, "/networks", filters).body} == names


def test_a_network_names_its_containers(fleet: InProcess) -> None:
    [attached] = fleet.call("GET", "/networks/bridge").body["Containers"].values()
    assert attached["Name"] == "second"
    assert fleet.call("GET", "/networks/nosuch").message == "network nosuch not found"


# --- names


def test_of_many_at_once_one_gets_the_name(house: InProcess) -> None:
    body = {"Image": IMAGE, "Cmd": ["true"]}
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: house.call("POST", "/containers/create?name=one", body), range(8)))
    [made] = [answer for answer in answers if answer.status == 201]
    refused = [answer for answer in answers if answer.status != 201]
    assert {(answer.status, answer.message) for answer in refused} == {
        (
            409,
            f'Conflict. The container name "/one" is already in use by container "{made.body["Id"]}". '
            "You have to remove (or rename) that container to be able to reuse that name.",
        )
    }
    assert house.ps() == ["one"]
    assert len([one for one in house.storage.list() if one.labels]) == 1


def test_a_name_is_free_again_after_a_create_that_failed(house: InProcess) -> None:
    body = {"Image": IMAGE, "HostConfig": {"Binds": ["/a:/x", "/b:/x"]}}
    answer = house.call("POST", "/containers/create?name=one", body)
    assert (answer.status, answer.message) == (400, "Duplicate mount point: /x")
    house.create("true", name="one")


# --- volumes


def test_an_anonymous_volume_is_filled_from_the_image_and_goes_with_its_container(house: InProcess) -> None:
    id = house.create("true", Image=KEEPER)
    [volume] = house.call("GET", "/volumes").body["Volumes"]
    assert ANONYMOUS_LABEL in volume["Labels"]
    assert (Path(volume["Mountpoint"]) / "seed").read_text() == "planted\n"
    assert house.call("DELETE", f"/containers/{id}?v=1").status == 204
    assert house.call("GET", "/volumes").body["Volumes"] == []


@pytest.mark.parametrize(("remove", "left"), [({}, 2), ({"v": 1}, 1)])
def test_a_named_volume_outlives_its_container(house: InProcess, remove: dict[str, int], left: int) -> None:
    id = house.create("true", Image=KEEPER, HostConfig={"Binds": ["kept:/kept"]})
    query = "".join(f"{name}={value}" for name, value in remove.items())
    assert house.call("DELETE", f"/containers/{id}?{query}").status == 204
    volumes = house.call("GET", "/volumes").body["Volumes"]
    assert len(volumes) == left
    assert "kept" in {volume["Name"] for volume in volumes}


def test_auto_remove_takes_container_and_anonymous_volumes_along(house: InProcess) -> None:
    host = {"AutoRemove": True, "Binds": ["kept:/kept"]}
    id = house.create("true", Image=KEEPER, HostConfig=host)
    with house.opened("POST", f"/containers/{id}/wait?condition=removed") as waiting:
        house.call("POST", f"/containers/{id}/start")
        assert json.loads(waiting.read()) == {"StatusCode": 0}
    assert house.ps() == []
    assert [volume["Name"] for volume in house.call("GET", "/volumes").body["Volumes"]] == ["kept"]


def test_auto_remove_follows_a_start_that_fails(house: InProcess) -> None:
    id = house.create("nosuch", HostConfig={"AutoRemove": True})
    with house.opened("POST", f"/containers/{id}/wait?condition=removed") as waiting:
        assert house.call("POST", f"/containers/{id}/start").status == 400
        assert json.loads(waiting.read())["StatusCode"] == 127
    assert house.ps() == []


def test_a_volume_in_use_is_not_removed(house: InProcess) -> None:
    id = house.create("true", HostConfig={"Binds": ["held:/held"]})
    for query in ("", "?force=1"):
        answer = house.call("DELETE", f"/volumes/held{query}")
        assert (answer.status, answer.message) == (409, f"remove held: volume is in use - [{id}]")
    house.call("DELETE", f"/containers/{id}")
    assert house.call("DELETE", "/volumes/held").status == 204


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/volumes/nosuch", None, 404, "get nosuch: no such volume"),
        ("DELETE", "/volumes/nosuch", None, 404, "get nosuch: no such volume"),
        ("POST", "/volumes/create", {"Name": "a/b"}, 400, "includes invalid characters for a local volume name"),
        ("POST", "/volumes/create", {"Name": "x", "Driver": "nfs"}, 404, 'plugin "nfs" not found'),
    ],
)
def test_volumes_that_cannot_be(
    fleet: InProcess, method: str, path: str, body: Any, status: int, message: str
) -> None:
    answer = fleet.call(method, path, body)
    assert answer.status == status
    assert message in answer.message


def test_force_takes_a_missing_volume_for_removed(fleet: InProcess) -> None:
    assert fleet.call("DELETE", "/volumes/nosuch?force=1").status == 204


def test_a_volume_that_is_there_is_created_again_as_it_is(fleet: InProcess) -> None:
    again = fleet.call("POST", "/volumes/create", {"Name": "idle", "Labels": {"tier": "other"}})
    assert (again.status, again.body["Labels"]) == (201, {"tier": "back"})


# --- images


@pytest.fixture
def user_of_image(house: InProcess) -> Iterator[str]:
    yield house.create("true")


def test_an_image_with_a_container_loses_no_last_name(house: InProcess, user_of_image: str) -> None:
    answer = house.call("DELETE", f"/images/{IMAGE}")
    assert answer.status == 409
    assert answer.message.startswith(
        f'conflict: unable to remove repository reference "{IMAGE}" (must force) - container {user_of_image[:12]} '
        "is using its referenced image "
    )


def test_an_image_is_removed_from_under_a_stopped_container_by_force_only(
    house: InProcess, user_of_image: str
) -> None:
    id = house.call("GET", f"/images/{IMAGE}/json").body["Id"]
    answer = house.call("DELETE", f"/images/{id}")
    assert answer.status == 409
    assert f"(must be forced) - image is being used by stopped container {user_of_image[:12]}" in answer.message
    assert house.call("DELETE", f"/images/{id}?force=1").status == 200
    assert house.call("POST", f"/containers/{user_of_image}/start").status == 204
    assert house.call("GET", f"/containers/{user_of_image}/json").body["Image"] == id


def test_an_image_under_a_running_container_stays(house: InProcess) -> None:
    id = house.launch()
    answer = house.call("DELETE", f"/images/{IMAGE}?force=1")
    assert answer.status == 200
    assert answer.body == [{"Untagged": IMAGE}]
    image = house.call("GET", f"/containers/{id}/json").body["Image"]
    answer = house.call("DELETE", f"/images/{image}?force=1")
    assert answer.status == 409
    assert f"(cannot be forced) - image is being used by running container {id[:12]}" in answer.message


def test_an_image_nobody_uses_goes_with_its_snapshots(house: InProcess) -> None:
    house.call("DELETE", f"/containers/{house.create('true', Image='labelled:1')}")
    before = {snapshot.name for snapshot in house.storage.list()}
    answer = house.call("DELETE", "/images/labelled:1")
    assert (answer.status, answer.body[0]) == (200, {"Untagged": "labelled:1"})
    gone = before - {snapshot.name for snapshot in house.storage.list()}
    assert len(gone) == 2  # its layer, and the one with mount points on top of it
    assert house.call("GET", "/images/labelled:1/json").message == "No such image: labelled:1"


def test_prune_takes_along_what_broken_off_pulls_left(house: InProcess) -> None:
    beginning = house.root / "data/images/content/begun/sha256" / ("a" * 64)
    beginning.parent.mkdir()
    beginning.write_bytes(bytes(2 << 20))
    filters = quote(json.dumps({"dangling": ["true"]}))
    some = quote(json.dumps({"until": ["1h"]}))
    assert house.call("POST", f"/images/prune?filters={some}").body["SpaceReclaimed"] == 0
    assert house.call("POST", f"/images/prune?filters={filters}").body["SpaceReclaimed"] == 2 << 20
    assert not beginning.exists()


def test_an_image_of_another_platform_than_asked_for_is_refused(fleet: InProcess) -> None:
    body = {"Image": IMAGE}
    assert fleet.call("POST", "/containers/create?platform=linux/amd64&name=fits", body).status == 201
    fleet.call("DELETE", "/containers/fits")
    answer = fleet.call("POST", "/containers/create?platform=linux/s390x", body)
    assert (answer.status, answer.message) == (
        404,
        f"image with reference {IMAGE} was found but its platform (linux/amd64) does not match the specified "
        "platform (linux/s390x)",
    )


# --- networks


def test_only_the_first_network_that_leads_out_publishes(house: InProcess) -> None:
    for name, internal in (("inner", True), ("outer", False)):
        house.run(house.daemon.networks.create_network(NetworkRecord.new(name, "bridge", internal=internal)))
    networks: Any = {"EndpointsConfig": {"inner": {}, "outer": {}, "bridge": {}}}
    host = {"NetworkMode": "inner", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}}
    id = house.launch(HostConfig=host, NetworkingConfig=networks)
    [port] = house.network.published()
    told = house.call("GET", f"/containers/{id}/json").body["NetworkSettings"]
    assert told["Ports"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port.host_port)}]}
    assert set(told["Networks"]) == {"inner", "outer", "bridge"}
    house.call("POST", f"/containers/{id}/kill")
    assert house.network.published() == set()


def test_a_port_that_is_taken_is_refused_and_nothing_is_left(house: InProcess) -> None:
    first = house.launch(HostConfig={"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}})
    [port] = house.network.published()
    binding = {"HostIp": "127.0.0.1", "HostPort": str(port.host_port)}
    second = house.create(name="late", HostConfig={"PortBindings": {"80/tcp": [binding]}})
    answer = house.call("POST", f"/containers/{second}/start")
    assert answer.status == 500
    assert f"Bind for 127.0.0.1:{port.host_port} failed: port is already allocated" in answer.message
    assert house.state("late")["Status"] == "created"
    assert house.runtime.list() == [first]
    house.call("POST", f"/containers/{first}/kill")
    assert house.call("POST", f"/containers/{second}/start").status == 204


def test_a_network_that_is_not_there_is_missed_at_the_start(house: InProcess) -> None:
    id = house.create(HostConfig={"NetworkMode": "nosuch"})
    answer = house.call("POST", f"/containers/{id}/start")
    assert (answer.status, answer.message) == (404, "network nosuch not found")


def test_a_container_joins_the_network_of_a_running_one_only(house: InProcess) -> None:
    house.create(name="owner")
    guest = house.create(HostConfig={"NetworkMode": "container:owner"})
    answer = house.call("POST", f"/containers/{guest}/start")
    assert (answer.status, answer.message) == (
        409,
        "cannot join network namespace of a non running container: container owner is created",
    )
    house.call("POST", "/containers/owner/start")
    assert house.call("POST", f"/containers/{guest}/start").status == 204


# --- volume options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"type": "tmpfs"}, 'create x1: missing required option: "device"'),
        ({"device": "/a"}, 'create x1: missing required option: "type"'),
        ({"size": "1m"}, "create x1: quota size requested but no quota support"),
        ({"colour": "red"}, 'create x1: invalid option: "colour"'),
    ],
)
def test_volume_options_that_make_no_sense(house: InProcess, options: Any, words: str) -> None:
    answer = house.call("POST", "/volumes/create", {"Name": "x1", "DriverOpts": options})
    assert (answer.status, answer.message) == (400, words)
    assert house.call("GET", "/volumes").body["Volumes"] == []


def test_volume_options_are_told_and_outlive_the_daemon(house: InProcess) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    house.call("POST", "/volumes/create", {"Name": "x1", "DriverOpts": options})
    house.stop()
    house.start()
    assert house.call("GET", "/volumes/x1").body["Options"] == options


def test_there_are_no_cluster_volumes(house: InProcess) -> None:
    answer = house.call("PUT", "/volumes/x1?version=7", {"Spec": {}})
    assert (answer.status, answer.message) == (
        503,
        "volume update only valid for cluster volumes, but swarm is unavailable",
    )
    assert house.call("POST", "/volumes/create", {"Name": "x1", "ClusterVolumeSpec": {}}).status == 503
