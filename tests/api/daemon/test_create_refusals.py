"""Invalid values for every field of a create request: Docker's status and wording, and nothing is left behind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import IMAGE, InProcess

LONG = "x" * 65
UNDEFINED = "This would result in undefined behavior"


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house()


CONFIG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"Hostname": LONG}, f'hostname "{LONG}" is too long (maximum 64 bytes)'),
    ({"Hostname": "a\nb"}, 'invalid hostname: "a\\nb"'),
    ({"Domainname": LONG}, f'domainname "{LONG}" is too long'),
    ({"Domainname": "a b"}, 'invalid domainname: "a b"'),
    ({"WorkingDir": "/a\0"}, "can't contain a NUL character"),
    ({"User": "a\0"}, "can't contain a NUL character"),
    ({"Volumes": {"data": {}}}, "invalid mount path: 'data' mount path must be absolute"),
    ({"Volumes": {"/": {}}}, "invalid specification: destination can't be '/'"),
    ({"ExposedPorts": {"9-8/tcp": {}}}, 'invalid port specification: "9-8/tcp"'),
    ({"ExposedPorts": {"0/tcp": {}}}, 'invalid port specification: "0/tcp"'),
    ({"ExposedPorts": {"80/icmp": {}}}, 'invalid port specification: "80/icmp"'),
    ({"ExposedPorts": {"8_0": {}}}, 'invalid port specification: "8_0"'),
    ({"MacAddress": "92:d0:c6:0a:29:33"}, "container-wide MAC address no longer supported"),
)
HOST: tuple[tuple[dict[str, Any], str], ...] = (
    ({"Binds": ["/a:/b:zz"]}, "invalid mode: zz"),
    ({"Binds": ["/a:/b", "/c:/b"]}, "Duplicate mount point: /b"),
    ({"Binds": ["/:/host:private"]}, 'must use either propagation mode "rslave" or "rshared"'),
    ({"Binds": ["a/b:/c"]}, "includes invalid characters for a local volume name"),
    ({"Tmpfs": {"t": ""}}, "invalid mount path: 't' mount path must be absolute"),
    ({"Tmpfs": {"/t": "lowerdir=/"}}, 'invalid tmpfs option ["lowerdir" "/"]'),
    ({"VolumesFrom": ["nobody"]}, "No such container: nobody"),
    ({"VolumesFrom": [""]}, "volumes-from specification cannot be an empty string"),
    ({"Mounts": [{"Type": "npipe", "Source": "a", "Target": "/a"}]}, "mount type unknown"),
    (
        {"Mounts": [{"Type": "volume", "Target": "/v", "ReadOnly": True}]},
        'invalid mount config for type "volume": must not set ReadOnly mode when using anonymous volumes',
    ),
    ({"PortBindings": {"8000-8010/tcp": [{}]}}, 'invalid port specification: "8000-8010/tcp"'),
    ({"PortBindings": {"80": [{"HostIp": "nowhere"}]}}, "invalid IP address: nowhere"),
    ({"NetworkMode": "container:"}, "invalid network mode: invalid container format container:<name|id>"),
    ({"NetworkMode": "container:a", "Dns": ["1.1.1.1"]}, "conflicting options: dns and the network mode"),
    (
        {"NetworkMode": "container:a", "ExtraHosts": ["a:1.1.1.1"]},
        "conflicting options: custom host-to-IP mapping and the network mode",
    ),
    (
        {"NetworkMode": "container:a", "PublishAllPorts": True},
        "conflicting options: port publishing and the container type network mode",
    ),
    (
        {"NetworkMode": "container:a", "Links": ["b"]},
        f"conflicting options: container type network can't be used with links. {UNDEFINED}",
    ),
    (
        {"NetworkMode": "host", "Links": ["b"]},
        f"conflicting options: host type networking can't be used with links. {UNDEFINED}",
    ),
    ({"Links": ["nobody:db"]}, "could not get container for nobody: No such container: nobody"),
    ({"Links": ["a:b:c"]}, "bad format for links: a:b:c"),
    ({"Links": [""]}, "empty string specified for links"),
    ({"Dns": ["nowhere"]}, 'ParseAddr("nowhere"): unable to parse IP'),
    ({"ExtraHosts": ["a"]}, 'bad format for add-host: "a"'),
    ({"ExtraHosts": ["a:b"]}, 'invalid IP address in add-host: "b"'),
    ({"CapAdd": ["FLY"]}, 'invalid CapAdd: unknown capability: "CAP_FLY"'),
    ({"CapDrop": ["CAP_FLY"]}, 'invalid CapDrop: unknown capability: "CAP_FLY"'),
    ({"CgroupnsMode": "mine"}, "invalid cgroup namespace mode: mine"),
    ({"IpcMode": "mine"}, "invalid IPC mode: mine"),
    ({"PidMode": "mine"}, "invalid PID mode: mine"),
    ({"PidMode": "container:"}, "invalid PID mode: container:"),
    ({"UTSMode": "mine"}, "invalid UTS mode: mine"),
    ({"Isolation": "hyperv"}, "invalid isolation (hyperv): linux only supports 'default'"),
    ({"Annotations": {"": "a"}}, "the empty string is not permitted as an annotation key"),
    ({"ShmSize": -1}, "SHM size can not be less than 0"),
    ({"OomScoreAdj": 1001}, "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
    ({"Runtime": "nope"}, "unknown or invalid runtime name: nope"),
    (
        {"StorageOpt": {"size": "1G"}},
        "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
    ),
    ({"StorageOpt": {"size": "much"}}, "invalid size: 'much'"),
    ({"StorageOpt": {"colour": "red"}}, "Unknown option colour"),
    ({"SecurityOpt": ["seccomp"]}, 'invalid --security-opt 1: "seccomp"'),
    ({"SecurityOpt": ["colour=red"]}, 'invalid --security-opt 2: "colour=red"'),
    ({"SecurityOpt": ["systempaths=some"]}, 'invalid --security-opt 2: "systempaths=some"'),
    ({"SecurityOpt": ["no-new-privileges=maybe"]}, 'invalid --security-opt 2: "no-new-privileges=maybe"'),
    ({"SecurityOpt": ["seccomp={"]}, "Decoding seccomp profile failed"),
    ({"Sysctls": {"kernel.core_pattern": "x"}}, 'sysctl "kernel.core_pattern" is not in a separate kernel namespace'),
    ({"Sysctls": {"net/../kernel/core_pattern": "x"}}, "invalid sysctl"),
    ({"Sysctls": {"kernel.shm_rmid_forced": "1\nx"}}, "invalid sysctl"),
    ({"Sysctls": {"kernel.shm_rmid_forced+net.a": "1"}}, "invalid sysctl"),
    ({"Sysctls": {"net.core.somaxconn": "1"}, "NetworkMode": "host"}, "not allowed in host network namespace"),
    ({"Sysctls": {"kernel.sem": "1"}, "IpcMode": "host"}, "not allowed in the hosts ipc namespace"),
    ({"Sysctls": {"kernel.hostname": "a"}}, 'conflicts with the OCI "hostname" field'),
    ({"Sysctls": {"net.ipv4.conf.eth0.forwarding": "1"}}, "must be supplied using driver option"),
    ({"Ulimits": [{"Name": "fun", "Soft": 1, "Hard": 1}]}, "invalid ulimit type: fun"),
    (
        {"Ulimits": [{"Name": "nofile", "Soft": 2, "Hard": 1}]},
        "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
    ),
    ({"Devices": [{"PathOnHost": "/dev/null", "CgroupPermissions": "rx"}]}, "bad mode specified: rx"),
    ({"DeviceCgroupRules": ["c 1:3 x"]}, "invalid device cgroup rule format: 'c 1:3 x'"),
    (
        {"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu", "x"], ["y"]]}]},
        'could not select device driver "" with capabilities: [[gpu x] [y]]',
    ),
    ({"IOMaximumBandwidth": 1}, "QoS maximum bandwidth configuration is not supported on linux"),
    ({"IOMaximumIOps": 1}, "QoS maximum IOPs configuration is not supported on linux"),
    ({"CpuRealtimePeriod": 1000}, "kernel does not support CPU real-time scheduler"),
    ({"CpuShares": -1}, "invalid CPU shares (-1): value must be a positive integer"),
    ({"Memory": -1}, "Minimum memory limit allowed is 6MB"),
    ({"MemoryReservation": 1}, "Minimum memory reservation allowed is 6MB"),
    ({"MemorySwap": 1 << 30}, "You should always set the Memory limit when using Memoryswap limit, see usage"),
    (
        {"Memory": 64 << 20, "MemorySwap": 32 << 20},
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    ),
    (
        {"Memory": 64 << 20, "MemoryReservation": 65 << 20},
        "Minimum memory limit can not be less than memory reservation limit, see usage",
    ),
    ({"NanoCpus": 1, "CpuPeriod": 1000}, "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
    ({"NanoCpus": 1, "CpuQuota": 1000}, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
    ({"NanoCpus": 10**15}, "range of CPUs is from 0.01 to"),
    ({"CpuPeriod": 1}, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
    ({"CpuQuota": 1}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    ({"CpusetCpus": "a"}, "Invalid value a for cpuset cpus: invalid format: a"),
    ({"CpusetCpus": "0-9223372036854775807"}, "value of out range, maximum is 8192"),
    ({"CpusetCpus": "8000"}, "Requested CPUs are not available - requested 8000, available: 0"),
    ({"CpusetMems": "8000"}, "Requested memory nodes are not available - requested 8000, available: 0"),
    ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
    ({"BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 5}]}, "Range of blkio weight is from 10 to 1000"),
    ({"BlkioDeviceReadBps": [{"Path": "/dev/nowhere", "Rate": 1}]}, "stat /dev/nowhere: no such file or directory"),
)
ENDPOINTS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"net": None}, "invalid config for network net: EndpointsConfig is nil"),
    ({"bridge": {"Aliases": ["a"]}}, "network-scoped aliases are only supported for user-defined networks"),
    (
        {"bridge": {"IPAMConfig": {"IPv4Address": "10.0.0.2"}}},
        "user-specified IP address is supported on user-defined networks only",
    ),
    ({"net": {"IPAMConfig": {"IPv4Address": "fd00::1"}}}, "invalid IPv4 address: fd00::1"),
    ({"net": {"IPAMConfig": {"IPv6Address": "::"}}}, "invalid IPv6 address: ::"),
    ({"net": {"MacAddress": "nope"}}, "address nope: invalid MAC address"),
    (
        {"net": {"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.eth0.x=1"}}},
        "unrecognised network interface sysctl 'net.ipv4.conf.eth0.x=1'",
    ),
    ({"bridge": {"Aliases": ["a"], "MacAddress": "x"}}, "* network-scoped aliases are only supported"),
)


def assert_refused(house: InProcess, body: dict[str, Any], words: str, status: int = 400) -> None:
    answer = house.call("POST", "/containers/create", {"Image": IMAGE, **body})
    assert (answer.status, words in answer.message) == (status, True), answer
    assert house.ps() == []
    assert [one for one in house.storage.list() if one.labels] == []
    assert house.call("GET", "/volumes").body["Volumes"] == []


@pytest.mark.parametrize(("fields", "words"), CONFIG)
def test_configurations_that_cannot_be(shared: InProcess, fields: dict[str, Any], words: str) -> None:
    assert_refused(shared, fields, words)


@pytest.mark.parametrize(("fields", "words"), HOST)
def test_host_configurations_that_cannot_be(shared: InProcess, fields: dict[str, Any], words: str) -> None:
    assert_refused(shared, {"HostConfig": fields}, words)


@pytest.mark.parametrize(("fields", "words"), ENDPOINTS)
def test_endpoints_that_cannot_be(shared: InProcess, fields: dict[str, Any], words: str) -> None:
    assert_refused(shared, {"NetworkingConfig": {"EndpointsConfig": fields}}, words)


@pytest.mark.parametrize("mode", ["UTSMode", "NetworkMode"])
def test_a_host_name_needs_a_namespace_of_its_own(shared: InProcess, mode: str) -> None:
    value, which = ("host", "UTS") if mode == "UTSMode" else ("container:a", "network")
    words = f"conflicting options: hostname and the {which} mode"
    assert_refused(shared, {"Hostname": "a", "HostConfig": {mode: value}}, words)


def test_ports_need_a_network_of_their_own(shared: InProcess) -> None:
    body = {"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"NetworkMode": "container:a"}}
    assert_refused(shared, body, "conflicting options: port exposing and the container type network mode")


def test_what_is_not_served_says_so(shared: InProcess) -> None:
    driver = {"VolumeDriver": "nosuch", "Binds": ["v:/v"]}
    assert_refused(shared, {"HostConfig": driver}, 'plugin "nosuch" not found', 404)


@pytest.mark.parametrize(
    ("host", "warning"),
    [
        ({"MemorySwappiness": 5}, "Your kernel does not support memory swappiness capabilities"),
        ({"OomKillDisable": True}, "Your kernel does not support OomKillDisable. OomKillDisable discarded."),
        ({"CpuPercent": 5}, "linux does not support CPU percent. Percent discarded."),
        (
            {"NetworkMode": "host", "PortBindings": {"80": [{}]}},
            "Published ports are discarded when using host network",
        ),
        ({"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 1 << 40}]}, "Your host does not allow ulimit nofile="),
        (
            {"VolumeDriver": "local", "Mounts": [{"Type": "volume", "Target": "/v"}]},
            "the container-wide volume-driver configuration is ignored",
        ),
    ],
)
def test_what_is_ignored_is_warned_of(shared: InProcess, host: dict[str, Any], warning: str) -> None:
    answer = shared.call("POST", "/containers/create", {"Image": IMAGE, "HostConfig": host})
    assert answer.status == 201, answer
    shared.call("DELETE", f"/containers/{answer.body['Id']}?v=1")
    assert [one for one in answer.body["Warnings"] if warning in one], answer.body


@pytest.mark.parametrize(
    "host",
    [
        {"MemorySwappiness": -1},
        {"OomKillDisable": False},
        {"PidsLimit": -1},
        {"UsernsMode": "host"},
        {"CapAdd": ["all", "cap_net_admin", "SYS_TIME"], "CapDrop": ["ALL"]},
        {
            "SecurityOpt": [
                "no-new-privileges:true",
                "label:disable",
                "apparmor=x",
                "systempaths=unconfined",
                "disable",
            ]
        },
        {"SecurityOpt": ["seccomp=unconfined"]},
        {"SecurityOpt": ['seccomp={"defaultAction": "SCMP_ACT_ALLOW"}']},
        {"Sysctls": {"net.core.somaxconn": "512", "kernel.msgmax": "65536", "fs.mqueue.msg_max": "20"}},
        {"Isolation": "Default"},
        {"PortBindings": {"80": [{"HostIp": "::", "HostPort": "8000-8010"}]}},
        {"Binds": ["vv:/v:ro,Z,nocopy", "/tmp:/t:cached"]},
        {"Runtime": "memory"},
    ],
)
def test_what_docker_takes_is_taken_without_a_word(shared: InProcess, host: dict[str, Any]) -> None:
    answer = shared.call("POST", "/containers/create", {"Image": IMAGE, "HostConfig": host})
    assert (answer.status, answer.body.get("Warnings")) == (201, []), answer
    assert shared.call("DELETE", f"/containers/{answer.body['Id']}").status == 204
    shared.call("DELETE", "/volumes/vv")
