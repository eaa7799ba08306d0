"""Docker's field names, from moby's api/swagger.yaml 1.56, compared with ours."""

import json
from pathlib import Path

import pytest

from sampan import models
from sampan.models.base import Model, docker_name

DOCKER: dict[str, list[str]] = json.loads(Path(__file__).with_name("docker_fields.json").read_text())
# Fields in Docker's spec that we lack: for features we don't have, or never sent by its engine.
NOT_OURS = {
    "ContainerInspect": {"Storage"},  # containerd image store
    "ImageInspect": {"Identity"},
    "NetworkInspect": {"Peers", "Services", "Status"},  # swarm
    "Volume": {"ClusterVolume"},
    "SwarmInfo": {"Nodes", "Managers", "Cluster"},
    "SystemInfo": {"Containerd", "DiscoveredDevices", "NRI"},
}


@pytest.mark.parametrize("name", sorted(DOCKER))
def test_every_field_of_docker_is_there_under_its_name(name: str) -> None:
    model: type[Model] = getattr(models, name)
    ours = set(model.model_json_schema(by_alias=True)["properties"])
    assert set(DOCKER[name]) - ours == NOT_OURS.get(name, set())


def test_nothing_that_a_client_sends_is_lost() -> None:
    sent = {
        "CpuShares": 1,
        "NanoCpus": 2,
        "OomKillDisable": True,
        "UTSMode": "host",
        "BlkioDeviceReadIOps": [{"Path": "/dev/sda", "Rate": 5}],
        "IOMaximumIOps": 3,
        "ContainerIDFile": "/id",
        "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
        "Mounts": [
            {
                "Type": "volume",
                "Target": "/data",
                "VolumeOptions": {"DriverConfig": {"Name": "local", "Options": {"o": "ro"}}, "Subpath": "a"},
            }
        ],
        "PortBindings": {"80/tcp": [{"HostIp": "::1", "HostPort": "8080"}], "81/tcp": None},
        "Init": False,
    }
    host = models.HostConfig.model_validate_json(json.dumps(sent))
    assert host.mounts is not None
    assert host.mounts[0].volume_options is not None
    back = host.model_dump(by_alias=True, mode="json")
    assert {name: back[name] for name in sent} == sent


def test_docker_names_follow_its_abbreviations() -> None:
    names = {
        "cpu_shares": "CpuShares",
        "id": "Id",
        "image_id": "ImageID",
        "ipv6_gateway": "IPv6Gateway",
        "exec_ids": "ExecIDs",
        "from_": "From",
    }
    assert {attribute: docker_name(attribute) for attribute in names} == names
