"""The same create requests to dockerd 20.10 (API 1.41) and sampand: the same responses, or a reason why not."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.api.daemon.test_create_refusals import CONFIG, ENDPOINTS, HOST
from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.containers import IMAGE, call
from tests.support.engines import Dockerd, Engine, Sampand, running

VERSION = "/v1.41"
LATER = {
    # Docker 20.10 accepts these and fails at start or silently ignores them; newer versions reject most.
    *("Hostname", "Domainname", "User", "Volumes", "ExposedPorts"),
    *("HostConfig.Tmpfs", "HostConfig.Dns", "HostConfig.IpcMode", "HostConfig.PidMode", "HostConfig.UTSMode"),
    *("HostConfig.Sysctls", "HostConfig.Ulimits", "HostConfig.Devices", "HostConfig.DeviceCgroupRules"),
    *("HostConfig.DeviceRequests", "HostConfig.CpuRealtimePeriod", "HostConfig.CpuShares"),
    *("HostConfig.BlkioWeight", "HostConfig.BlkioWeightDevice", "HostConfig.BlkioDeviceReadBps"),
    *("EndpointsConfig.bridge", "EndpointsConfig.net"),
    # It accepts some of these: a profile that is not JSON, an invalid address.
    *("HostConfig.SecurityOpt", "HostConfig.PortBindings"),
}
NEWER = {
    # Messages that have changed since.
    "WorkingDir": "invalid argument",
    "HostConfig.NetworkMode": "Invalid network mode: invalid container format container:<name|id>",
    "HostConfig.Isolation": "Invalid isolation: \"hyperv\" - linux only supports 'default'",
    "HostConfig.Runtime": "Unknown runtime specified nope",
    "HostConfig.PortBindings": 'invalid port specification: "8000-8010"',
    "HostConfig.StorageOpt": "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
    "HostConfig.IOMaximumBandwidth": "linux does not support configuration of maximum bandwidth",
    "HostConfig.IOMaximumIOps": "Invalid QoS settings: linux does not support configuration of maximum IOPs",
    "HostConfig.NanoCpus": "Range of CPUs is from 0.01 to",
    "EndpointsConfig.net": "no EndpointSettings for net",
}
REFUSED: tuple[tuple[str, dict[str, Any]], ...] = (
    *((next(iter(fields)), fields) for fields, _ in CONFIG if "MacAddress" not in fields),
    *(
        (f"HostConfig.{next(iter(fields))}", {"HostConfig": fields})
        for fields, _ in HOST
        if "eth0" not in str(fields)
    ),
    *(
        (f"EndpointsConfig.{next(iter(fields))}", {"NetworkingConfig": {"EndpointsConfig": fields}})
        for fields, _ in ENDPOINTS
    ),
)
TAKEN: tuple[dict[str, Any], ...] = (
    {},
    {
        "User": "1",
        "WorkingDir": "/a/../b",
        "Hostname": "h",
        "Domainname": "d",
        "Env": ["A=1", "PATH"],
        "Labels": {"a": "b"},
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "INT",
        "StopTimeout": 3,
        "Entrypoint": [""],
        "Cmd": ["x", "y"],
        "Tty": True,
        "OpenStdin": True,
    },
    {
        "HostConfig": {
            "Binds": ["/tmp:/t:ro", "named:/n", "named2:/m:nocopy", "/:/host"],
            "Tmpfs": {"/tm": "size=1m"},
            "Mounts": [
                {"Type": "tmpfs", "Target": "/tt", "TmpfsOptions": {"SizeBytes": 5}},
                {"Type": "volume", "Source": "named3", "Target": "/o"},
                {"Type": "bind", "Source": "/tmp", "Target": "/p", "ReadOnly": True},
            ],
        }
    },
    {
        "HostConfig": {
            "Privileged": True,
            "PidsLimit": -1,
            "PidMode": "host",
            "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
            "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}],
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
            "CapAdd": ["net_admin"],
            "SecurityOpt": ["seccomp=unconfined"],
            "ExtraHosts": ["a:1.1.1.1"],
            "PortBindings": {"80/tcp": [{"HostPort": "8080"}]},
        }
    },
    {"HostConfig": {"IpcMode": "host", "UTSMode": "host", "NetworkMode": "host", "CgroupnsMode": "host"}},
    {
        "HostConfig": {
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "Init": True,
            "ShmSize": 1000000,
            "OomScoreAdj": 5,
        }
    },
)
OWN = {
    # Inherently different, or added to Docker after 20.10.
    *("Config.OnBuild", "Config.Volumes", "HostConfig.CgroupnsMode", "HostConfig.KernelMemory"),
    *("HostConfig.KernelMemoryTCP", "HostConfig.MaskedPaths", "HostConfig.NetworkMode", "HostConfig.PortBindings"),
    *("HostConfig.Runtime", "HostConfig.RestartPolicy.Name", "HostConfig.LogConfig.Config"),
}


@pytest.fixture(scope="module")
def pair(session_dir: Path, leak_marks: list[str], archives: Archives) -> Iterator[tuple[Engine, Engine]]:
    """dockerd and sampand."""
    with ExitStack() as undo:
        engines = []
        for kind in (Dockerd, Sampand):
            engine = kind(Path(tempfile.mkdtemp(prefix="p", dir=session_dir)))
            leak_marks.extend(engine.marks)
            engines.append(undo.enter_context(running(engine)))
            Client("docker", engine)("load", "-q", "-i", str(archives.busybox))
        yield engines[0], engines[1]


def create(engine: Engine, body: dict[str, Any]) -> tuple[int, str]:
    """Status and message; a container that was created is removed."""
    status, answer = call(engine, "POST", f"{VERSION}/containers/create", {"Image": IMAGE, "Cmd": ["true"], **body})
    if status == 201:
        call(engine, "DELETE", f"/containers/{answer['Id']}?v=1")
    return status, answer.get("message", "")


@pytest.mark.parametrize(("field", "body"), REFUSED, ids=[f"{field} {n}" for n, (field, _) in enumerate(REFUSED)])
def test_what_is_refused(pair: tuple[Engine, Engine], field: str, body: dict[str, Any]) -> None:
    dockerd, sampand = pair
    (dockers_status, dockers), (status, ours) = create(dockerd, body), create(sampand, body)
    if status == dockers_status == 201:  # the field does not exist in that API version
        return
    assert status == 400
    if dockers_status == 201:
        assert field in LATER, "Docker takes it"
        return
    assert dockers_status in (400, 500)  # 500 for errors Docker does not classify; sampan treats them as bad input
    same = dockers.replace(str(dockerd.data_root), str(sampand.data_root)) == ours
    assert same or ours.endswith(dockers) or (field in NEWER and NEWER[field] in dockers), (dockers, ours)


@pytest.mark.parametrize("number", range(len(TAKEN)))
def test_what_is_taken_is_told_alike(pair: tuple[Engine, Engine], number: int) -> None:
    told = []
    for engine in pair:
        status, answer = call(
            engine, "POST", f"{VERSION}/containers/create", {"Image": IMAGE, "Cmd": ["true"], **TAKEN[number]}
        )
        assert (status, answer.get("Warnings")) == (201, []), answer
        shown = engine.get(f"{VERSION}/containers/{answer['Id']}/json")
        text = json.dumps(shown).replace(str(engine.data_root), "DATA").replace(answer["Id"][:12], "SHORT")
        told.append(_plain(json.loads(text)))
        call(engine, "DELETE", f"/containers/{answer['Id']}?v=1")
    assert {name: value for name, value in told[0].items() if told[1].get(name) != value} == {}


def _plain(shown: dict[str, Any]) -> dict[str, Any]:
    """The inspect output for the requested settings, by dotted name, except `OWN`."""
    parts = {name: shown[name] for name in ("Config", "HostConfig", "Path", "Args", "State")}
    parts["Mounts"] = {mount["Destination"]: mount for mount in shown["Mounts"]}
    return {name: value for name, value in _flat(parts) if name not in OWN}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _flat(below, f"{name}.{key}" if name else key)
    else:
        yield name, value
