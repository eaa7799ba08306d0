"""`create` turns flags into the API's JSON as docker does: values recorded from the docker CLI 28.2."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Answer, FakeEngine, Outcome

Main = Callable[..., Outcome]


@pytest.fixture
def body_of(engine: FakeEngine, main: Main) -> Callable[..., Any]:
    """The body that `create FLAGS… busybox` sends."""
    engine.on("POST", "/containers/create", Answer({"Id": "abc", "Warnings": []}, 201))

    def body(*flags: str) -> Any:
        outcome = main("create", *flags, "busybox")
        assert outcome == Outcome(0, "abc\n", ""), outcome
        return engine.requests[-1].json

    return body


def test_without_flags_the_body_has_dockers_defaults(body_of: Callable[..., Any]) -> None:
    body = body_of()
    assert (body["Image"], body["Cmd"], body["Entrypoint"], body["Env"]) == ("busybox", None, None, None)
    assert (body["AttachStdin"], body["AttachStdout"], body["AttachStderr"]) == (False, True, True)
    host = body["HostConfig"]
    assert host["NetworkMode"] == "default"
    assert host["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert (host["MemorySwappiness"], host["PidsLimit"], host["OomKillDisable"]) == (-1, 0, False)
    assert body["NetworkingConfig"] == {"EndpointsConfig": {"default": {}}}
    assert "Init" not in host


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["-it"], {"Tty": True, "OpenStdin": True, "StdinOnce": True, "AttachStdin": True}),
        (["-a", "stdin", "-a", "STDERR"], {"AttachStdin": True, "AttachStdout": False, "AttachStderr": True}),
        (["-e", "A=b", "-e", "PLANK", "-e", "NOPE_"], {"Env": ["A=b", "PLANK=1", "NOPE_"]}),
        (["-l", "a=b", "--label", "c"], {"Labels": {"a": "b", "c": ""}}),
        (["-w", "/w", "-u", "1:2", "-h", "host"], {"WorkingDir": "/w", "User": "1:2", "Hostname": "host"}),
        (["--entrypoint", "/x"], {"Entrypoint": ["/x"]}),
        (["--entrypoint", ""], {"Entrypoint": [""]}),
        (["--stop-signal", "INT", "--stop-timeout", "0"], {"StopSignal": "INT", "StopTimeout": 0}),
        (["--expose", "99", "--expose", "5-6/udp"], {"ExposedPorts": {"99/tcp": {}, "5/udp": {}, "6/udp": {}}}),
        (["-v", "/anonymous"], {"Volumes": {"/anonymous": {}}}),
        (["--no-healthcheck"], {"Healthcheck": {"Test": ["NONE"]}}),
        (
            ["--health-cmd", "true", "--health-interval", "1m30s", "--health-retries", "3"],
            {"Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 90 * 10**9, "Retries": 3}},
        ),
    ],
)
def test_flags_of_the_container(
    flags: list[str], expected: dict[str, Any], body_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANK", "1")
    body = body_of(*flags)
    assert {name: body[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["-m", "64m", "--memory-swap", "-1", "--memory-reservation", "1g"],
         {"Memory": 64 << 20, "MemorySwap": -1, "MemoryReservation": 1 << 30}),
        (["--cpus", "1.5", "--cpuset-cpus", "0,1", "-c", "512"],
         {"NanoCpus": 1500000000, "CpusetCpus": "0,1", "CpuShares": 512}),
        (["--pids-limit", "10", "--shm-size", "1m"], {"PidsLimit": 10, "ShmSize": 1 << 20}),
        (["-v", "/a:/b:ro", "-v", "vol:/c", "-v", "/a:/b:ro"], {"Binds": ["/a:/b:ro", "vol:/c"]}),
        (["-v", "./x:/d"], {"Binds": [f"{os.getcwd()}/x:/d"]}),
        (["--tmpfs", "/run:size=1m", "--tmpfs", "/x"], {"Tmpfs": {"/run": "size=1m", "/x": ""}}),
        (["--mount", "type=bind,src=/a,dst=/b,ro"],
         {"Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}]}),
        (["--mount", "source=v,target=/t,volume-label=a=b,volume-opt=o=p,volume-driver=local,volume-nocopy"],
         {"Mounts": [{"Type": "volume", "Source": "v", "Target": "/t", "VolumeOptions": {
             "Labels": {"a": "b"}, "NoCopy": True, "DriverConfig": {"Name": "local", "Options": {"o": "p"}}}}]}),
        (["--mount", "type=tmpfs,dst=/t,tmpfs-size=10m,tmpfs-mode=1777"],
         {"Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 10 << 20, "Mode": 0o1777}}]}),
        (["-p", "8080:80", "-p", "127.0.0.1:81:81/udp", "-p", "[::1]:82:82"],
         {"PortBindings": {
             "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
             "81/udp": [{"HostIp": "127.0.0.1", "HostPort": "81"}],
             "82/tcp": [{"HostIp": "::1", "HostPort": "82"}]}}),
        (["-p", "9000-9001:90-91", "-p", "7000-7005:70", "-p", "80", "-p", "published=5,target=6,protocol=udp"],
         {"PortBindings": {
             "90/tcp": [{"HostIp": "", "HostPort": "9000"}],
             "91/tcp": [{"HostIp": "", "HostPort": "9001"}],
             "70/tcp": [{"HostIp": "", "HostPort": "7000-7005"}],
             "80/tcp": [{"HostIp": "", "HostPort": ""}],
             "6/udp": [{"HostIp": "", "HostPort": "5"}]}}),
        (["--restart", "on-failure:3"], {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}),
        (["--init", "--read-only", "--privileged"], {"Init": True, "ReadonlyRootfs": True, "Privileged": True}),
        (["--init=false"], {"Init": False}),
        (["--security-opt", "systempaths=unconfined", "--security-opt", "no-new-privileges"],
         {"SecurityOpt": ["no-new-privileges"], "MaskedPaths": [], "ReadonlyPaths": []}),
        (["--device", "/dev/null", "--device", "/dev/zero:/dev/z", "--device", "/dev/full:r"],
         {"Devices": [
             {"PathOnHost": "/dev/null", "PathInContainer": "/dev/null", "CgroupPermissions": "rwm"},
             {"PathOnHost": "/dev/zero", "PathInContainer": "/dev/z", "CgroupPermissions": "rwm"},
             {"PathOnHost": "/dev/full", "PathInContainer": "/dev/full", "CgroupPermissions": "r"}]}),
        (["--ulimit", "nofile=1024:2048", "--ulimit", "core=0"],
         {"Ulimits": [{"Name": "core", "Hard": 0, "Soft": 0}, {"Name": "nofile", "Hard": 2048, "Soft": 1024}]}),
        (["--sysctl", "net.ipv4.ip_forward=1"], {"Sysctls": {"net.ipv4.ip_forward": "1"}}),
        (["--log-driver", "json-file", "--log-opt", "max-size=1m"],
         {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}}),
        (["--add-host", "a:1.2.3.4", "--add-host", "b=[::1]", "--add-host", "c:host-gateway"],
         {"ExtraHosts": ["a:1.2.3.4", "b:::1", "c:host-gateway"]}),
        (["--dns", "1.1.1.1", "--dns-search", "ex.com", "--dns-option", "y"],
         {"Dns": ["1.1.1.1"], "DnsSearch": ["ex.com"], "DnsOptions": ["y"]}),
        (["--pid", "host", "--ipc", "shareable", "--uts", "host"],
         {"PidMode": "host", "IpcMode": "shareable", "UTSMode": "host"}),
        (["--cgroupns", "private", "--userns", "host"], {"CgroupnsMode": "private", "UsernsMode": "host"}),
        (["--device-read-bps", "/dev/sda:1mb", "--device-write-iops", "/dev/sda:9"],
         {"BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1 << 20}],
          "BlkioDeviceWriteIOps": [{"Path": "/dev/sda", "Rate": 9}]}),
        (["--rm", "--annotation", "a=b", "--storage-opt", "size=1g"],
         {"AutoRemove": True, "Annotations": {"a": "b"}, "StorageOpt": {"size": "1g"}}),
    ],
)  # fmt: skip
def test_flags_of_the_host(flags: list[str], expected: dict[str, Any], body_of: Callable[..., Any]) -> None:
    host = body_of(*flags)["HostConfig"]
    assert {name: host[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("flags", "mode", "endpoints"),
    [
        (["--network", "foo"], "foo", {}),
        (["--net", "host"], "host", {}),
        (["--mac-address", "02:00:00:00:00:01"], "default", {"default": {"MacAddress": "02:00:00:00:00:01"}}),
        (
            ["--network", "foo", "--network-alias", "a", "--ip", "10.0.0.5", "--link", "c:d"],
            "foo",
            {"foo": {"Aliases": ["a"], "Links": ["c:d"], "IPAMConfig": {"IPv4Address": "10.0.0.5"}}},
        ),
        (["--network", "name=foo,alias=x,gw-priority=3"], "foo", {"foo": {"Aliases": ["x"], "GwPriority": 3}}),
        (["--network", "a", "--network", "b"], "a", {"a": {}, "b": {}}),
    ],
)
def test_networks(flags: list[str], mode: str, endpoints: dict[str, Any], body_of: Callable[..., Any]) -> None:
    body = body_of(*flags)
    assert body["HostConfig"]["NetworkMode"] == mode
    assert body["NetworkingConfig"]["EndpointsConfig"] == endpoints


def test_files_of_variables_labels_and_seccomp_profiles_are_read(
    body_of: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANK", "1")
    (tmp_path / "env").write_text("A=1\n# comment\n\nPLANK\nNOPE_\nB=x y\n")
    (tmp_path / "labels").write_text("l=1\nm\n")
    (tmp_path / "profile").write_text('{ "defaultAction": "SCMP_ACT_ALLOW" }')
    body = body_of(
        *("--env-file", str(tmp_path / "env"), "-e", "A=2", "--label-file", str(tmp_path / "labels")),
        *("--security-opt", f"seccomp={tmp_path}/profile"),
    )
    assert body["Env"] == ["A=1", "PLANK=1", "B=x y", "A=2"]
    assert body["Labels"] == {"l": "1", "m": ""}
    assert body["HostConfig"]["SecurityOpt"] == ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']


def test_name_and_platform_are_in_the_query(body_of: Callable[..., Any], engine: FakeEngine) -> None:
    body_of("--name", "web", "--platform", "linux/arm64")
    assert engine.requests[-1].query == {"name": ["web"], "platform": ["linux/arm64"]}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--restart", "always", "--rm"], "conflicting options: cannot specify both --restart and --rm"),
        (["-p", "80:x"], "invalid containerPort: x"),
        (["-p", "1.2.3:80:80"], "invalid IP address: 1.2.3"),
        (["-p", "80/foo"], "invalid proto: foo"),
        (["-p", "80-90:70-71"], "invalid ranges specified for container and host Ports: 70-71 and 80-90"),
        (["-v", ":/x"], "invalid spec: :/x: empty section between colons"),
        (["--pull", "x"], 'invalid pull option: \'x\': must be one of "always", "missing" or "never"'),
        (["--no-healthcheck", "--health-cmd", "x"], "--no-healthcheck conflicts with --health-* options"),
        (["--network-alias", "x"], "network-scoped aliases are only supported for user-defined networks"),
        (["--network", "a", "--network", "a"], 'network "a" is specified multiple times'),
        (["--pid", "x"], "--pid: invalid PID mode"),
        (["--device", "a:b:c:d"], "bad format for path: a:b:c:d"),
        (["--env-file", "/nowhere/at/all"], "--env-file: open /nowhere/at/all: no such file or directory"),
        (["--log-driver", "none", "--log-opt", "a=b"], "invalid logging opts for driver none"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_sent(
    flags: list[str], message: str, engine: FakeEngine, main: Main
) -> None:
    outcome = main("create", *flags, "busybox")
    help_line = "Run 'sampan create --help' for more information"
    assert outcome == Outcome(125, "", f"sampan: {message}\n\n{help_line}\n")
    assert [request.path for request in engine.requests] == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-m", "1x"], 'invalid argument "1x" for "-m, --memory" flag: invalid suffix: \'x\''),
        (["--cpus", "x"], 'invalid argument "x" for "--cpus" flag: failed to parse x as a rational number'),
        (["-a", "foo"], 'invalid argument "foo" for "-a, --attach" flag: valid streams are STDIN, STDOUT and STDERR'),
        (["--ulimit", "nofile=5:2"],
         'invalid argument "nofile=5:2" for "--ulimit" flag: '
         "ulimit soft limit must be less than or equal to hard limit: 5 > 2"),
        (["--mount", "type=bind,foo=1"],
         'invalid argument "type=bind,foo=1" for "--mount" flag: unknown option \'foo\' in \'foo=1\''),
        (["--sysctl", "kernel.foo=1"],
         'invalid argument "kernel.foo=1" for "--sysctl" flag: sysctl \'kernel.foo=1\' is not allowed'),
    ],
)  # fmt: skip
def test_a_malformed_value_names_its_flag(flags: list[str], message: str, engine: FakeEngine, main: Main) -> None:
    outcome = main("create", *flags, "busybox")
    assert outcome.status == 125
    assert outcome.err.startswith(f"{message}\n\nUsage:  sampan create [OPTIONS] IMAGE [COMMAND] [ARG...]\n")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("a:b:c", "invalid reference format"),
        ("", "invalid reference format"),
        ("-x y", "invalid reference format"),
        ("BB", "invalid reference format: repository name (library/BB) must be lowercase"),
        ("BB:1:2", "invalid reference format: repository name (library/BB) must be lowercase"),
        ("host.io:5000/BB:1", "invalid reference format: repository name (BB) must be lowercase"),
    ],
)
def test_what_is_no_image_name_is_refused(image: str, message: str, engine: FakeEngine, main: Main) -> None:
    assert main("create", "--", image) == Outcome(1, "", f"{message}\n")


@pytest.mark.parametrize(
    "image", ["busybox", "localhost:5000/a/b:1.0", "host.io/x@sha256:" + "a" * 64, "0123456789ab", "a__b/c-d"]
)
def test_image_names_and_ids_are_taken(image: str, engine: FakeEngine, main: Main) -> None:
    engine.on("POST", "/containers/create", Answer({"Id": "abc"}, 201))
    assert main("create", image).status == 0


def test_warnings_of_the_daemon_go_to_stderr(engine: FakeEngine, main: Main) -> None:
    engine.on("POST", "/containers/create", Answer({"Id": "abc", "Warnings": ["no swap"]}, 201))
    assert main("create", "busybox") == Outcome(0, "abc\n", "WARNING: no swap\n")


def test_the_id_is_written_to_a_file_that_must_be_new(engine: FakeEngine, main: Main, tmp_path: Path) -> None:
    engine.on("POST", "/containers/create", Answer({"Id": "abc"}, 201))
    file = tmp_path / "id"
    assert main("create", "--cidfile", str(file), "busybox").status == 0
    assert file.read_text() == "abc"
    again = main("create", "--cidfile", str(file), "busybox")
    assert (again.status, again.err.startswith("container ID file found")) == (1, True)


def test_no_id_file_stays_behind_a_failure(engine: FakeEngine, main: Main, tmp_path: Path) -> None:
    engine.on("POST", "/containers/create", Answer({"message": "no"}, 500))
    outcome = main("create", "--cidfile", str(tmp_path / "id"), "busybox")
    assert outcome == Outcome(1, "", "Error response from daemon: no\n")
    assert not (tmp_path / "id").exists()


def test_a_missing_image_is_pulled_and_the_container_created_then(engine: FakeEngine, main: Main) -> None:
    pulled: list[bool] = []

    def create(_: object) -> Answer:
        if not pulled:
            return Answer({"message": "No such image: busybox:latest"}, 404)
        return Answer({"Id": "abc"}, 201)

    def pull(_: object) -> Answer:
        pulled.append(True)
        items = [
            {"status": "Pulling from library/busybox", "id": "latest"},
            {"status": "Downloading", "progressDetail": {"current": 1, "total": 2}, "id": "aa", "progress": "[>]"},
            {"status": "Pull complete", "progressDetail": {}, "id": "aa"},
        ]
        return Answer(iter(json.dumps(item).encode() + b"\r\n" for item in items))

    engine.on("POST", "/containers/create", create)
    engine.on("POST", "/images/create", pull)
    outcome = main("create", "busybox")
    assert outcome.out == "abc\n"
    assert outcome.err == (
        "Unable to find image 'busybox:latest' locally\nlatest: Pulling from library/busybox\naa: Pull complete\n"
    )
    assert engine.request("POST", "/images/create").query == {"fromImage": ["busybox"], "tag": ["latest"]}


def test_with_pull_never_a_missing_image_is_an_error(engine: FakeEngine, main: Main) -> None:
    engine.on("POST", "/containers/create", Answer({"message": "No such image: busybox:latest"}, 404))
    outcome = main("create", "--pull", "never", "busybox")
    assert outcome == Outcome(1, "", "Error response from daemon: No such image: busybox:latest\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", {"Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]]}),
        ("2", {"Count": 2}),
        ("driver=nvidia", {"Driver": "nvidia", "Count": 1}),
        ('"device=0,1","capabilities=utility,compute"', {"Count": 0, "DeviceIDs": ["0", "1"]}),
        ('"capabilities=utility,compute"', {"Capabilities": [["utility", "compute", "gpu"]], "Count": 1}),
        ('count=3,"options=a=b,c=d"', {"Count": 3, "Options": {"a": "b", "c": "d"}}),
    ],
)
def test_gpus(body_of: Callable[..., Any], text: str, expected: dict[str, Any]) -> None:
    [request] = body_of("--gpus", text)["HostConfig"]["DeviceRequests"]
    assert {name: request[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("some", 'invalid count (some): value must be either "all" or an integer: invalid syntax'),
        ("count=1,count=2", "gpu request key 'count' can be specified only once"),
        ("colour=red", "unexpected key 'colour' in 'colour=red'"),
    ],
)
def test_gpus_that_cannot_be(main: Main, text: str, words: str) -> None:
    outcome = main("create", "--gpus", text, "busybox")
    assert outcome.status == 125 and words in outcome.err, outcome


def test_the_engines_socket_is_where_clients_look_for_it(body_of: Callable[..., Any], engine: FakeEngine) -> None:
    [mount] = body_of("--use-api-socket")["HostConfig"]["Mounts"]
    assert mount["Type"] == "bind" and mount["Target"] == "/var/run/docker.sock"
    assert mount["Source"].startswith("/")
