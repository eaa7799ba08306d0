"""The request fields that this engine accepts but does not support, all in one place.

Supported fields follow from routes and models, unsupported ones from here. `docs/compatibility.md` is generated from
both, and a test sends each of these and checks the response.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple


class Verdict(StrEnum):
    """How a field is treated."""

    SERVED = "served"
    IGNORED = "ignored"
    WARNED = "ignored with a warning"
    REFUSED = "refused"


class Unserved(NamedTuple):
    """A field (`HostConfig.Mounts[].Consistency`) of an operation, a request that has it, and the response.

    The fields of a start are parameters of the query, as it has no body.

    `words` are part of the warning or of the refusal, whose status is `status`; `why` is for people.
    """

    operation: str
    field: str
    verdict: Verdict
    request: dict[str, Any]
    why: str
    words: str = ""
    status: int = 201


def _host(**fields: Any) -> dict[str, Any]:
    return {"HostConfig": fields}


def _endpoint(**fields: Any) -> dict[str, Any]:
    return {"NetworkingConfig": {"EndpointsConfig": {"bridge": fields}}}


_CREATE = "ContainerCreate"
_WINDOWS = "Windows only"
_ENGINES_OWN = "filled in by the engine, as with Docker"
_V1 = "cgroup v1 only"
_ENDPOINT_STATE: tuple[tuple[str, Any], ...] = (
    ("NetworkID", "x"),
    ("EndpointID", "x"),
    ("Gateway", "10.0.0.1"),
    ("IPAddress", "10.0.0.2"),
    ("IPPrefixLen", 8),
    ("IPv6Gateway", "fd00::1"),
    ("GlobalIPv6Address", "fd00::2"),
    ("GlobalIPv6PrefixLen", 64),
    ("DNSNames", ["x"]),
)
_START = "ContainerStart"
_UPDATE = "ContainerUpdate"
_DEVICE = {"PathOnHost": "/dev/null", "PathInContainer": "/dev/null", "CgroupPermissions": "rwm"}
_ULIMIT = {"Name": "nofile", "Soft": 10, "Hard": 10}
_AT_CREATION = "set at creation, as with Docker"
_REALTIME = "kernel does not support CPU real-time scheduler"
_QOS = "configuration is not supported on linux"

_LIMITS: tuple[tuple[str, Verdict, Any, str, str], ...] = (
    ("CpuRealtimePeriod", Verdict.REFUSED, 1000, _V1, _REALTIME),
    ("CpuRealtimeRuntime", Verdict.REFUSED, 1000, _V1, _REALTIME),
    ("MemorySwappiness", Verdict.WARNED, 5, _V1, "Memory swappiness discarded."),
    ("OomKillDisable", Verdict.WARNED, True, _V1, "OomKillDisable discarded."),
    ("CpuCount", Verdict.IGNORED, 1, _WINDOWS, ""),
    ("CpuPercent", Verdict.WARNED, 5, _WINDOWS, "Percent discarded."),
    ("IOMaximumIOps", Verdict.REFUSED, 5, _WINDOWS, f"QoS maximum IOPs {_QOS}"),
    ("IOMaximumBandwidth", Verdict.REFUSED, 5, _WINDOWS, f"QoS maximum bandwidth {_QOS}"),
)


def _limits() -> Iterator[Unserved]:
    """Limits, which are the same fields at creation and in an update."""
    for field, verdict, value, why, words in _LIMITS:
        refused = 400 if verdict is Verdict.REFUSED else 0
        yield Unserved(_CREATE, f"HostConfig.{field}", verdict, _host(**{field: value}), why, words, refused or 201)
        yield Unserved(_UPDATE, field, verdict, {field: value}, why, words, refused or 200)


UNSERVED: tuple[Unserved, ...] = (
    *_limits(),
    Unserved(
        _START,
        "checkpoint",
        Verdict.REFUSED,
        {"checkpoint": "harbour"},
        "there are no checkpoints, which Docker has in experimental mode only",
        "checkpoint is only supported in experimental mode",
        400,
    ),
    Unserved(
        _START,
        "checkpoint-dir",
        Verdict.IGNORED,
        {"checkpoint-dir": "/c"},
        "no effect without `checkpoint`, as with Docker",
        status=204,
    ),
    Unserved(_UPDATE, "CgroupParent", Verdict.IGNORED, {"CgroupParent": "/mine"}, _AT_CREATION, status=200),
    Unserved(_UPDATE, "Devices", Verdict.IGNORED, {"Devices": [_DEVICE]}, _AT_CREATION, status=200),
    Unserved(_UPDATE, "DeviceCgroupRules", Verdict.IGNORED, {"DeviceCgroupRules": ["a"]}, _AT_CREATION, status=200),
    Unserved(
        _UPDATE, "DeviceRequests", Verdict.IGNORED, {"DeviceRequests": [{"Count": 1}]}, _AT_CREATION, status=200
    ),
    Unserved(_UPDATE, "Ulimits", Verdict.IGNORED, {"Ulimits": [_ULIMIT]}, _AT_CREATION, status=200),
    Unserved(_CREATE, "ArgsEscaped", Verdict.IGNORED, {"ArgsEscaped": True}, _WINDOWS),
    Unserved(_CREATE, "OnBuild", Verdict.IGNORED, {"OnBuild": ["RUN true"]}, "for builds; shown by inspect"),
    Unserved(_CREATE, "Shell", Verdict.IGNORED, {"Shell": ["/bin/sh"]}, "for builds; shown by inspect"),
    Unserved(
        _CREATE,
        "HostConfig.DeviceRequests",
        Verdict.REFUSED,
        _host(DeviceRequests=[{"Count": -1, "Capabilities": [["gpu"]]}]),
        "there are no device drivers",
        'could not select device driver "" with capabilities: [[gpu]]',
        400,
    ),
    Unserved(
        _CREATE,
        "HostConfig.ContainerIDFile",
        Verdict.IGNORED,
        _host(ContainerIDFile="/id"),
        "used by the client; stored",
    ),
    Unserved(
        _CREATE,
        "HostConfig.Mounts[].Consistency",
        Verdict.IGNORED,
        _host(Mounts=[{"Type": "bind", "Source": "/", "Target": "/host", "Consistency": "cached"}]),
        "Docker Desktop only",
    ),
    Unserved(_CREATE, "HostConfig.Cgroup", Verdict.IGNORED, _host(Cgroup="container:a"), "Docker ignores it too"),
    Unserved(
        _CREATE,
        "HostConfig.StorageOpt",
        Verdict.REFUSED,
        _host(StorageOpt={"size": "1G"}),
        "needs a data root on XFS mounted with `pquota`",
        "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        400,
    ),
    Unserved(
        _CREATE, "HostConfig.UsernsMode", Verdict.IGNORED, _host(UsernsMode="host"), "there is no user remapping"
    ),
    *(
        Unserved(
            _CREATE,
            f"NetworkingConfig.EndpointsConfig{{}}.{name}",
            Verdict.IGNORED,
            _endpoint(**{name: value}),
            _ENGINES_OWN,
        )
        for name, value in _ENDPOINT_STATE
    ),
    *(
        Unserved(
            "NetworkConnect",
            f"EndpointConfig.{name}",
            Verdict.IGNORED,
            {"EndpointConfig": {name: value}},
            _ENGINES_OWN,
            status=200,
        )
        for name, value in _ENDPOINT_STATE
    ),
    Unserved(
        "NetworkCreate",
        "Ingress",
        Verdict.REFUSED,
        {"Name": "sea", "Ingress": True},
        "swarm only",
        "Ingress network can only be global scope network",
        403,
    ),
    Unserved(
        "VolumeCreate",
        "ClusterVolumeSpec",
        Verdict.REFUSED,
        {"Name": "clustered", "ClusterVolumeSpec": {"Group": "a"}},
        "swarm only",
        "This node is not a swarm manager",
        503,
    ),
)
