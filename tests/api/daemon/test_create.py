"""Creating containers: what is refused, warned about, and filled in."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from sampan.drivers import PressureAlert
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import IMAGE, InProcess


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house()


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"Image": ""}, 400, "no image specified"),
        ({"Image": "nosuch:1"}, 404, "No such image: nosuch:1"),
        ({"WorkingDir": "here"}, 400, "the working directory 'here' is invalid, it needs to be an absolute path"),
        ({"Env": ["=1"]}, 400, "invalid environment variable: =1"),
        ({"Env": ["A=\0"]}, 400, "can't contain a NUL character"),
        ({"Cmd": ["a\0b"]}, 400, "can't contain a NUL character"),
        ({"StopSignal": "NOPE"}, 400, "invalid signal: NOPE"),
        ({"ExposedPorts": {"http": {}}}, 400, 'invalid port specification: "http"'),
        ({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}}, 400, 'invalid port specification: "x"'),
        ({"HostConfig": {"RestartPolicy": {"Name": "sometimes"}}}, 400, "unknown policy 'sometimes'"),
        (
            {"HostConfig": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}},
            400,
            "maximum retry count can only be used with 'on-failure'",
        ),
        (
            {"HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}}},
            400,
            "maximum retry count cannot be negative",
        ),
        ({"HostConfig": {"LogConfig": {"Type": "syslog"}}}, 400, "no log driver named 'syslog' is registered"),
        ({"HostConfig": {"Memory": 1024}}, 400, "Minimum memory limit allowed is 6MB"),
        ({"HostConfig": {"CgroupParent": "/a/../../b"}}, 400, 'invalid cgroup-parent: "/a/../../b"'),
        ({"HostConfig": {"CgroupParent": "batch.slice"}}, 400, "systemd slice received as cgroup parent"),
        ({"HostConfig": {"Binds": ["/a:b"]}}, 400, "mount path must be absolute"),
        (
            {"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/no/such", "Target": "/x"}]}},
            400,
            "bind source path does not exist: /no/such",
        ),
        (
            {"HostConfig": {"NetworkMode": "container:x"}, "NetworkingConfig": {"EndpointsConfig": {"bridge": {}}}},
            400,
            "container sharing a network can't be connected to networks",
        ),
        ({"HostConfig": {"IpcMode": "container:nobody"}}, 400, "No such container: nobody"),
        ({"HostConfig": {"PidMode": "container:nobody"}}, 400, "No such container: nobody"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    shared: InProcess, fields: dict[str, Any], status: int, message: str
) -> None:
    answer = shared.call("POST", "/containers/create", {"Image": IMAGE, **fields})
    assert answer.status == status
    assert message in answer.message
    assert shared.ps() == []
    assert [one for one in shared.storage.list() if one.labels] == []
    assert shared.call("GET", "/volumes").body["Volumes"] == []


def test_what_the_user_left_out_is_filled_in(shared: InProcess) -> None:
    id = shared.create("true", HostConfig={"Memory": 64 << 20})
    told = shared.call("GET", f"/containers/{id}/json").body
    host, config = told["HostConfig"], told["Config"]
    assert host["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert (host["NetworkMode"], host["IpcMode"], host["CgroupnsMode"]) == ("bridge", "private", "private")
    assert (host["ShmSize"], host["MemorySwap"]) == (64 << 20, 128 << 20)
    assert (config["Hostname"], config["Env"], config["Cmd"]) == (id[:12], ["PATH=/bin"], ["true"])
    assert (told["Path"], told["Args"], told["Driver"]) == ("true", [], "memory")
    shared.call("DELETE", f"/containers/{id}")


def test_ports_on_the_hosts_network_are_warned_of(shared: InProcess) -> None:
    host = {"NetworkMode": "host", "PortBindings": {"80/tcp": [{}]}}
    answer = shared.call("POST", "/containers/create", {"Image": IMAGE, "HostConfig": host})
    assert answer.body["Warnings"] == ["Published ports are discarded when using host network mode"]
    shared.call("DELETE", f"/containers/{answer.body['Id']}")


def test_limits_reach_the_resource_driver(shared: InProcess) -> None:
    id = shared.launch(HostConfig={"Memory": 64 << 20, "NanoCpus": 500_000_000, "PidsLimit": 9})
    limits = shared.resources.resources(id)
    assert (limits.memory_max_bytes, limits.swap_max_bytes) == (64 << 20, 64 << 20)
    assert (limits.cpu_quota_us, limits.cpu_period_us, limits.pids_max) == (50_000, 100_000, 9)
    shared.call("DELETE", f"/containers/{id}?force=1")


@pytest.mark.parametrize(
    "host",
    [
        {"Unified": {"memory.high": "32M"}, "PsiAlerts": ["memory:some:150ms/1s"]},
        {"Annotations": {"sampan.cgroup.memory.high": "32M", "sampan.psi-alert": "memory:some:150ms/1s"}},
    ],
)
def test_control_files_and_alerts_reach_the_resource_driver(shared: InProcess, host: dict[str, Any]) -> None:
    id = shared.launch(HostConfig=host)
    limits = shared.resources.resources(id)
    assert limits.unified == {"memory.high": "32M"}
    assert limits.pressure_alerts == (PressureAlert("memory", "some", 150_000, 1_000_000),)
    shared.call("DELETE", f"/containers/{id}?force=1")


def test_a_resource_driver_is_told_the_makers_labels_and_not_the_images(shared: InProcess) -> None:
    id = shared.launch(Image="labelled:1", Labels={"tenant": "a"})
    assert set(shared.call("GET", f"/containers/{id}/json").body["Config"]["Labels"]) > {"tenant"}
    assert shared.resources.placement(id).labels == {"tenant": "a"}
    shared.call("DELETE", f"/containers/{id}?force=1")


def test_the_cgroup_parent_reaches_the_resource_driver_and_stays_as_it_was_given(shared: InProcess) -> None:
    id = shared.launch(HostConfig={"CgroupParent": "/batch/night/"})
    assert shared.resources.placement(id).parent == "batch/night"
    assert shared.call("POST", f"/containers/{id}/update", {"CgroupParent": "/other"}).status == 200
    assert shared.call("GET", f"/containers/{id}/json").body["HostConfig"]["CgroupParent"] == "/batch/night/"
    shared.call("DELETE", f"/containers/{id}?force=1")


def test_an_alert_that_is_none_is_refused(shared: InProcess) -> None:
    body = {"Image": IMAGE, "HostConfig": {"PsiAlerts": ["memory:often"]}}
    answer = shared.call("POST", "/containers/create", body)
    assert (answer.status, "invalid pressure alert 'memory:often'" in answer.body["message"]) == (400, True)


def test_an_oom_kill_is_told_when_it_happens_and_not_again_at_the_end(shared: InProcess) -> None:
    id = shared.launch()
    wanted = quote(json.dumps({"container": [id], "event": ["oom", "die"]}))
    with shared.opened("GET", f"/events?filters={wanted}") as following:
        shared.resources.report_oom_kill(id)
        assert json.loads(following.readline())["Action"] == "oom"
        assert shared.state(id)["OOMKilled"] is True
        shared.call("POST", f"/containers/{id}/kill")
        assert json.loads(following.readline())["Action"] == "die"
    assert shared.state(id)["OOMKilled"] is True
    shared.call("DELETE", f"/containers/{id}")
