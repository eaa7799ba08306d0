"""info, version, system df and the prune operations, over the whole daemon in memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sampan import __version__
from sampan.drivers import ResourceSettings
from sampan.testing.memory_resource import MemoryResource
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import IMAGE, InProcess


def prune(house: InProcess, kind: str, filters: dict[str, list[str]] | None = None, *, version: str = "") -> Any:
    answer = house.call("POST", f"{version}/{kind}/prune?filters={quote(json.dumps(filters or {}))}")
    assert answer.status == 200, answer
    return answer.body


def info(house: InProcess, version: str = "") -> Any:
    return house.call("GET", f"{version}/info").body


def test_info_counts_what_there_is(house: InProcess) -> None:
    house.create("true")
    house.launch()
    told = info(house)
    counts = (told["Containers"], told["ContainersRunning"], told["ContainersPaused"], told["ContainersStopped"])
    assert counts == (2, 1, 0, 1)
    assert (told["Images"], told["ServerVersion"], told["Swarm"]["LocalNodeState"]) == (3, __version__, "inactive")
    with house.opened("GET", "/events"):
        assert info(house)["NEventsListener"] == 1


def test_info_counts_the_cpus_that_the_daemon_may_use(house: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert info(house)["NCPU"] == 1


def test_info_says_what_the_daemon_was_told(make_house: MakeHouse) -> None:
    told = info(
        make_house(
            debug=True,
            labels=("a=b",),
            insecure_registries=("harbour:5000", "10.0.0.0/8"),
            registry_mirrors=("https://mirror:5000",),
            address_pools=(("10.9.0.0/16", 24),),
        )
    )
    assert (told["Debug"], told["Labels"]) == (True, ["a=b"])
    assert told["DefaultAddressPools"] == [{"Base": "10.9.0.0/16", "Size": 24}]
    registries = told["RegistryConfig"]
    assert registries["InsecureRegistryCIDRs"] == ["::1/128", "127.0.0.0/8", "10.0.0.0/8"]
    assert registries["Mirrors"] == registries["IndexConfigs"]["docker.io"]["Mirrors"] == ["https://mirror:5000/"]
    assert {name: one["Secure"] for name, one in registries["IndexConfigs"].items()} == {
        "docker.io": True,
        "harbour:5000": False,
    }


def test_info_says_what_the_network_driver_filters_with(house: InProcess) -> None:
    assert info(house)["FirewallBackend"] == {"Driver": "memory"}
    assert "FirewallBackend" not in info(house, "/v1.48")


def test_info_shows_proxies_without_their_passwords(house: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HTTPS_PROXY", "http://hannah:plank@proxy:3128")
    assert info(house)["HttpsProxy"] == "http://xxxxx:xxxxx@proxy:3128"


def test_info_warns_of_what_the_host_can_not_do(house: InProcess) -> None:
    assert not [one for one in info(house)["Warnings"] if "forwarding" not in one]
    settings = ResourceSettings(house.root, "/sampan-test")
    house.daemon.resources = MemoryResource(settings, controllers=frozenset({"cpu", "pids"}))
    told = info(house)
    assert (told["MemoryLimit"], told["CpuCfsQuota"], told["CPUSet"]) == (False, True, False)
    assert {
        "WARNING: No memory limit support",
        "WARNING: No swap limit support",
        "WARNING: No cpuset support",
    } <= set(told["Warnings"])


def test_version_names_the_programs(make_house: MakeHouse, tmp_path: Path) -> None:
    monitor = tmp_path / "conmon"
    monitor.write_text("#!/bin/sh\necho conmon version 9.9\necho commit: abc\n")
    monitor.chmod(0o755)
    house = make_house(conmon_path=monitor)
    components = {one["Name"]: one for one in house.call("GET", "/version").body["Components"]}
    assert components["Engine"]["Version"] == __version__
    assert (components["conmon"]["Version"], components["conmon"]["Details"]) == ("9.9", {"GitCommit": "abc"})


def df(house: InProcess, query: str = "", version: str = "") -> Any:
    answer = house.call("GET", f"{version}/system/df{query}")
    assert answer.status == 200, answer
    return answer.body


@pytest.fixture
def filled(house: InProcess) -> InProcess:
    """Two containers, one of them running; a volume that it uses, and an unused one."""
    house.launch(name="web", HostConfig={"Binds": ["used:/data"]})
    house.create(name="idle")
    house.call("POST", "/volumes/create", {"Name": "unused"})
    (house.root / "data/volumes/unused/_data/file").write_bytes(b"x" * 10_000)
    return house


def test_df_counts_each_kind(filled: InProcess) -> None:
    told = df(filled)
    assert (told["ContainerUsage"]["TotalCount"], told["ContainerUsage"]["ActiveCount"]) == (2, 1)
    assert (told["ImageUsage"]["TotalCount"], told["ImageUsage"]["ActiveCount"]) == (3, 1)
    volumes = told["VolumeUsage"]
    assert (volumes["TotalCount"], volumes["ActiveCount"]) == (2, 1)
    assert 10_000 <= volumes["Reclaimable"] == volumes["TotalSize"]
    sizes = {one["Name"]: one["UsageData"] for one in told["Volumes"]}
    assert (sizes["used"]["RefCount"], sizes["unused"]["RefCount"]) == (1, 0)
    assert sizes["unused"]["Size"] == volumes["Reclaimable"]
    assert told["SampanLogUsage"]["TotalCount"] == 2
    assert told["BuildCache"] == []


def test_a_container_whose_files_are_gone_keeps_nobody_from_the_others_sizes(filled: InProcess) -> None:
    """Such a container is being removed, or dead."""
    id = filled.create(name="hollow")
    filled.storage.remove(id)
    listed = {one["Names"][0]: one for one in filled.call("GET", "/containers/json?all=1&size=1").body}
    assert len(listed) > 1
    assert [name for name, one in listed.items() if "SizeRootFs" not in one] == ["/hollow"]
    assert "/hollow" in [one["Names"][0] for one in df(filled)["Containers"]]
    filled.call("DELETE", "/containers/hollow")


def test_df_has_the_shape_of_the_version(filled: InProcess) -> None:
    old = df(filled, version="/v1.43")
    assert set(old) == {"LayersSize", "Images", "Containers", "Volumes", "BuildCache", "SampanLogUsage"}
    assert all(image["VirtualSize"] == image["Size"] for image in old["Images"])
    assert "VirtualSize" not in df(filled, version="/v1.44")["Images"][0]
    verbose = df(filled, "?verbose=1")
    assert "Images" not in verbose
    assert len(verbose["ContainerUsage"]["Items"]) == 2
    assert "Items" not in df(filled)["ContainerUsage"]


def test_df_of_some_types(filled: InProcess) -> None:
    assert set(df(filled, "?type=volume&type=image&verbose=1")) == {"VolumeUsage", "ImageUsage"}
    assert len(df(filled, "?type=volume", version="/v1.41")) == 6  # that version lacks the parameter
    answer = filled.call("GET", "/system/df?type=cargo")
    assert (answer.status, answer.message) == (400, "unknown object type: cargo")


def test_volumes_without_a_name_are_pruned_and_named_ones_on_request(filled: InProcess) -> None:
    filled.call("POST", "/volumes/create", {})
    anonymous = prune(filled, "volumes")
    assert len(anonymous["VolumesDeleted"]) == 1 and len(anonymous["VolumesDeleted"][0]) == 64
    named = prune(filled, "volumes", {"all": ["true"]})
    assert named["VolumesDeleted"] == ["unused"]
    assert named["SpaceReclaimed"] >= 10_000
    assert [one["Name"] for one in filled.call("GET", "/volumes").body["Volumes"]] == ["used"]


def test_before_1_42_volumes_with_names_are_pruned_too(filled: InProcess) -> None:
    assert prune(filled, "volumes", version="/v1.41")["VolumesDeleted"] == ["unused"]


def test_prunes_choose_by_labels(house: InProcess) -> None:
    for name, labels in (("one", {"keep": "1"}), ("two", {"keep": "0"}), ("three", {})):
        house.call("POST", "/volumes/create", {"Name": name, "Labels": labels})
    assert prune(house, "volumes", {"all": ["1"], "label!": ["keep=1"], "label": ["keep"]})["VolumesDeleted"] == [
        "two"
    ]
    assert prune(house, "volumes", {"all": ["1"], "label!": ["keep"]})["VolumesDeleted"] == ["three"]


def test_images_are_pruned(house: InProcess) -> None:
    house.create("true")
    house.call("POST", "/images/labelled:1/tag?repo=other&tag=1")
    assert prune(house, "images") == {"ImagesDeleted": None, "SpaceReclaimed": 0}
    assert prune(house, "images", {"dangling": ["false"], "until": ["2000-01-01T00:00:00Z"]})["ImagesDeleted"] is None
    before = house.call("GET", "/system/df?verbose=1").body["ImageUsage"]["TotalSize"]
    pruned = prune(house, "images", {"dangling": ["false"], "label": ["planks=3"]})
    after = house.call("GET", "/system/df?verbose=1").body["ImageUsage"]["TotalSize"]
    assert {"Untagged": "labelled:1"} in pruned["ImagesDeleted"]
    assert {"Untagged": "other:1"} in pruned["ImagesDeleted"]
    assert pruned["SpaceReclaimed"] == before - after > 0
    prune(house, "images", {"dangling": ["0"]})
    assert [one["RepoTags"] for one in house.call("GET", "/images/json").body] == [[IMAGE]]


def test_networks_and_the_build_cache_have_nothing_to_prune(house: InProcess) -> None:
    assert prune(house, "networks") == {"NetworksDeleted": None}
    assert prune(house, "build") == {"CachesDeleted": None, "SpaceReclaimed": 0}


@pytest.mark.parametrize(
    ("kind", "filters", "message"),
    [
        ("images", {"nope": ["1"]}, "invalid filter 'nope'"),
        ("images", {"dangling": ["x"]}, "invalid filter 'dangling=x'"),
        ("images", {"until": ["1h", "2h"]}, "more than one until filter specified"),
        ("images", {"until": ["x"]}, "invalid filter 'until=x'"),
        ("volumes", {"until": ["1h"]}, "invalid filter 'until'"),
        ("networks", {"dangling": ["1"]}, "invalid filter 'dangling'"),
        ("build", {"label": ["1"]}, "invalid filter 'label'"),
    ],
)
def test_filters_that_a_prune_does_not_have_are_refused(
    house: InProcess, kind: str, filters: Any, message: str
) -> None:
    answer = house.call("POST", f"/{kind}/prune?filters={quote(json.dumps(filters or {}))}")
    assert (answer.status, answer.message) == (400, message)


def test_a_prune_is_told_with_what_it_gave_back(filled: InProcess) -> None:
    prune(filled, "volumes", {"all": ["1"]})
    for kind in ("images", "networks", "build"):
        prune(filled, kind)
    with filled.opened("GET", "/events?since=0&until=1&filters=" + quote('{"event":["prune"]}')) as answer:
        assert answer.read() == b""
    with filled.opened("GET", "/events?since=0&filters=" + quote('{"event":["prune"]}')) as answer:
        told = [json.loads(answer.readline()) for _ in range(4)]
    assert [one["Type"] for one in told] == ["volume", "image", "network", "builder"]
    assert int(told[0]["Actor"]["Attributes"]["reclaimed"]) >= 10_000
    assert told[0]["Actor"]["ID"] == ""
