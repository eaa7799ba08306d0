"""Every create request field that has an effect, as seen by a process in the container."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.containers import IMAGE, call, create, run
from tests.support.engines import Engine, Sampand
from tests.support.images import Entry, directory, docker_archive, layer, symlink

SH = ("sh", "-c")
MOUNTER = {"CapAdd": ["SYS_ADMIN"], "SecurityOpt": ["seccomp=unconfined"]}


def output(engine: Engine, *command: str, host: Any = None, **config: Any) -> str:
    """The output of a container created with these fields, including stderr."""
    id = run(engine, "", *command, host=host, **config)
    assert call(engine, "POST", f"/containers/{id}/wait")[0] == 200
    status, frames = engine.request("GET", f"/containers/{id}/logs?stdout=1&stderr=1")
    assert status == 200
    call(engine, "DELETE", f"/containers/{id}?v=1")
    text = frames if config.get("Tty") else b""
    while frames and not config.get("Tty"):
        size = int.from_bytes(frames[4:8], "big")
        text, frames = text + frames[8 : 8 + size], frames[8 + size :]
    return text.decode().strip()


def refusal(engine: Engine, host: Any = None, **config: Any) -> tuple[int, str]:
    """The error response to starting a container that could be created."""
    id = create(engine, "", "true", host=host, **config)
    status, answer = call(engine, "POST", f"/containers/{id}/start")
    call(engine, "DELETE", f"/containers/{id}?force=1&v=1")
    return status, answer["message"]


CONFIG: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"User": "boat"}, "id", "uid=1000(boat) gid=1000(boat) groups=1000(boat),2000(planks)"),
    ({"User": "7:8"}, "id -u; id -g; id -G", "7\n8\n8"),
    ({"User": "boat:planks"}, "id -u; id -G", "1000\n2000"),
    ({"WorkingDir": "/made/deep/../here"}, "pwd; stat -c '%a %u:%g' /made/here", "/made/here\n755 0:0"),
    ({"WorkingDir": "/made", "User": "boat"}, "pwd; stat -c %u .", "/made\n0"),
    ({"Hostname": "web", "Domainname": "corp"}, "hostname; cat /proc/sys/kernel/domainname", "web\ncorp"),
    ({"Hostname": "web", "Domainname": "corp"}, "grep -c 'web.corp web' /etc/hosts; cat /etc/hostname", "1\nweb"),
    ({"Env": ["A=1", "PATH=/bin:/x", "HOSTNAME"]}, "echo $A $PATH; env | grep -c HOSTNAME", "1 /bin:/x\n0"),
    ({"Tty": True}, "[ -t 1 ] && echo terminal", "terminal"),
    ({"NetworkDisabled": True}, "ls /sys/class/net", "lo"),
    ({"Labels": {"a": "b"}, "StopTimeout": 3}, "true", ""),
)
HOST: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"Tmpfs": {"/t": "size=1m,mode=700,exec"}}, "grep ' /t ' /proc/mounts | cut -d' ' -f3-4", "size=1024k,mode=700"),
    ({"Tmpfs": {"/t": ""}}, "grep ' /t ' /proc/mounts", "nosuid,nodev,noexec"),
    (
        {"ReadonlyRootfs": True, "Tmpfs": {"/t": ""}},
        "touch /x 2>&1; touch /t/x && echo ok",
        "Read-only file system\nok",
    ),
    (
        {"Devices": [{"PathOnHost": "/dev/full", "PathInContainer": "/dev/mine", "CgroupPermissions": "rwm"}]},
        "echo x >/dev/mine",
        "No space left",
    ),
    ({"DeviceCgroupRules": ["c 1:7 rwm"], "CapAdd": ["MKNOD"]}, "mknod /x c 1 7 && echo a >/x", "No space left"),
    ({}, "mknod /x b 7 0 && cat /x", "Operation not permitted"),
    ({"CapAdd": ["net_admin"], "CapDrop": ["ALL"]}, "grep CapEff /proc/self/status", "0000000000001000"),
    ({"CapDrop": ["all"]}, "grep CapBnd /proc/self/status", "0000000000000000"),
    ({"SecurityOpt": ["no-new-privileges"]}, "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
    ({"SecurityOpt": ["no-new-privileges=false"]}, "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0"),
    ({"SecurityOpt": ["seccomp=unconfined"]}, "grep Seccomp: /proc/self/status", "Seccomp:\t0"),
    ({}, "grep Seccomp: /proc/self/status", "Seccomp:\t2"),
    (
        {
            "SecurityOpt": [
                'seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":'
                '[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}'
            ]
        },
        "mkdir /x",
        "Operation not permitted",
    ),
    ({}, "echo 1 >/proc/sys/kernel/panic", "Read-only file system"),
    ({"MaskedPaths": ["/etc/passwd"]}, "wc -c </etc/passwd", "0"),
    ({"ReadonlyPaths": ["/etc"]}, "touch /etc/x", "Read-only file system"),
    ({"Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}]}, "ulimit -Sn; ulimit -Hn", "100\n200"),
    (
        {"Sysctls": {"net.core.somaxconn": "77", "kernel.msgmax": "9000", "fs.mqueue.msg_max": "11"}},
        "cd /proc/sys; cat net/core/somaxconn kernel/msgmax fs/mqueue/msg_max",
        "77\n9000\n11",
    ),
    ({"ShmSize": 1 << 20}, "df -k /dev/shm | tail -1", " 1024 "),
    ({"IpcMode": "none"}, "ls -d /dev/shm/..; grep -c /dev/shm /proc/mounts", "0"),
    ({"IpcMode": "shareable", "ShmSize": 2 << 20}, "df -k /dev/shm | tail -1", " 2048 "),
    ({"PidMode": "host"}, "[ $(ls -d /proc/[0-9]* | wc -l) -gt 3 ] && echo many", "many"),
    ({"UTSMode": "host"}, "hostname", os.uname().nodename),
    ({"NetworkMode": "host"}, "hostname", os.uname().nodename),
    ({"GroupAdd": ["planks", "77"]}, "id -G", "0 77 2000"),
    ({"Init": True}, "cat /proc/1/cmdline | tr '\\0' ' '", "/sbin/docker-init -- "),
    ({"OomScoreAdj": 500}, "cat /proc/self/oom_score_adj", "500"),
    ({"ExtraHosts": ["db:10.9.8.7", "me:host-gateway"]}, "grep -E 'db|me$' /etc/hosts", "10.9.8.7\tdb"),
    (
        {"Dns": ["10.1.1.1"], "DnsSearch": ["corp"], "DnsOptions": ["ndots:3"]},
        "sort /etc/resolv.conf",
        "nameserver 10.1.1.1\noptions ndots:3\nsearch corp",
    ),
)


@pytest.mark.parametrize(("config", "script", "seen"), CONFIG)
def test_of_the_configuration(engine: Engine, config: dict[str, Any], script: str, seen: str) -> None:
    assert seen in output(engine, *SH, script, **config).replace("\r\n", "\n")


@pytest.mark.parametrize(("host", "script", "seen"), HOST)
def test_of_the_host_configuration(engine: Engine, host: dict[str, Any], script: str, seen: str) -> None:
    assert seen in output(engine, *SH, script, host=host)


# --- files


@pytest.fixture
def files(session_dir: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A host directory that contains a mount point."""
    root = session_dir / f"f{abs(hash(request.node.nodeid)) % 10**6}"
    (root / "below").mkdir(parents=True)
    (root / "file").write_text("of the host\n")
    subprocess.run(["mount", "-t", "tmpfs", "below", str(root / "below")], check=True)
    yield root
    subprocess.run(["umount", str(root / "below")], check=True)


def bind(source: Path, **options: Any) -> dict[str, Any]:
    read_only = options.pop("ReadOnly", False)
    mount = {"Type": "bind", "Source": str(source), "Target": "/m", "ReadOnly": read_only, "BindOptions": options}
    return {"Mounts": [mount]}


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_read_only_bind_is_so_with_what_is_mounted_below(engine: Engine, files: Path, runtime: str) -> None:
    if isinstance(engine, Sampand):
        tried = engine.get("/info")["Runtimes"]
        if runtime not in tried:
            pytest.skip(f"{runtime} does not work on this host")
        how = {"Runtime": runtime}
    else:
        pytest.skip("since Docker 25")
    script = "touch /m/x; touch /m/below/x && echo written"
    for host in ({"Binds": [f"{files}:/m:ro"]}, bind(files, ReadOnly=True, ReadOnlyForceRecursive=True)):
        assert "written" not in output(engine, *SH, script, host=host | how)
    host = bind(files, ReadOnly=True, ReadOnlyNonRecursive=True)
    assert "written" in output(engine, *SH, script, host=host | how)


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@pytest.mark.parametrize("force", [{}, {"ReadOnlyForceRecursive": True}])
def test_a_file_is_bound_read_only(engine: Engine, files: Path, runtime: str, force: dict[str, bool]) -> None:
    if isinstance(engine, Sampand) and runtime not in engine.get("/info")["Runtimes"]:
        pytest.skip(f"{runtime} does not work on this host")
    how = {"Runtime": runtime} if isinstance(engine, Sampand) else {}
    seen = output(engine, *SH, "cat /m; echo x > /m; true", host=bind(files / "file", ReadOnly=True, **force) | how)
    assert "of the host" in seen and "Read-only file system" in seen


def test_a_bind_without_what_is_mounted_below(engine: Engine, files: Path) -> None:
    assert output(engine, *SH, "grep -c /m/below /proc/mounts", host=bind(files, NonRecursive=True)) == "0"
    assert output(engine, *SH, "grep -c /m/below /proc/mounts", host=bind(files)) == "1"


def test_shared_and_slave_binds_need_such_a_mount(engine: Engine, files: Path) -> None:
    for mode in ("shared", "rslave"):
        host = {"Binds": [f"{files}/below:/m:{mode}"]}
        status, message = refusal(engine, host)
        assert status in (400, 500)
        assert f"path {files}/below is mounted on {files}/below but it is not a shared" in message


def test_a_shared_bind_takes_mounts_out_and_a_slave_takes_them_in(engine: Engine, files: Path) -> None:
    below = files / "below"
    subprocess.run(["mount", "--make-shared", str(below)], check=True)
    (below / "in").mkdir()
    (below / "out").mkdir()
    slave = run(engine, "slave", host={"Binds": [f"{below}:/m:rslave"]})
    run(engine, "sharing", host={"Binds": [f"{below}:/m:rshared"], **MOUNTER})
    exec_in(engine, "sharing", "mount", "-t", "tmpfs", "out", "/m/out")
    subprocess.run(["mount", "-t", "tmpfs", "in", str(below / "in")], check=True)
    try:
        assert os.path.ismount(below / "out")
        assert exec_in(engine, slave, "grep", "-c", "/m/in ", "/proc/mounts") == "1"
    finally:
        for name in ("in", "out"):
            subprocess.run(["umount", str(below / name)], check=True)


def test_minus_v_makes_a_missing_directory_and_mount_only_if_told(engine: Engine, session_dir: Path) -> None:
    made = session_dir / "made-by-bind"
    assert output(engine, "stat", "-c", "%a %u", "/m", host={"Binds": [f"{made}/deep:/m"]}) == "755 0"
    assert (made / "deep").is_dir()
    if isinstance(engine, Sampand):  # since API 1.42
        told = session_dir / "made-by-mount"
        assert output(engine, "stat", "-c", "%a", "/m", host=bind(told, CreateMountpoint=True)) == "755"


def test_a_tmpfs_mount_has_size_mode_and_flags(engine: Engine) -> None:
    options = {"SizeBytes": 1 << 20, "Mode": 0o700}
    mount: dict[str, object] = {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": options}
    seen = output(engine, *SH, "grep ' /t ' /proc/mounts", host={"Mounts": [mount]})
    assert "size=1024k,mode=700" in seen and "noexec" in seen
    mount = {**mount, "ReadOnly": True}
    assert "Read-only" in output(engine, "touch", "/t/x", host={"Mounts": [mount]})


@pytest.fixture
def hostile(engine: Engine, tmp_path: Path) -> str:
    """An image with symlinks that would escape if the host followed them."""
    entries = [
        directory("data"),
        directory("data/sub"),
        Entry("data/sub/seed", b"planted\n", uid=1000),
        Entry("plain", b"a file\n"),
        symlink("data/out", "/"),
        symlink("escape", "/../../../../../../tmp/escaped-work"),
        symlink("loop", "loop"),
    ]
    archive = tmp_path / "hostile.tar"
    busybox = Path("/bin/busybox").read_bytes()
    more = [directory("bin"), Entry("bin/busybox", busybox, mode=0o755), symlink("bin/sh", "busybox")]
    applets = [symlink(f"bin/{name}", "busybox") for name in ("cat", "ls", "pwd", "stat", "touch", "true")]
    docker_archive(archive, "hostile:test", [layer([*more, *applets, *entries])], {"Volumes": {"/data": {}}})
    subprocess.run(["docker", "-H", engine.host, "load", "-q", "-i", str(archive)], check=True, capture_output=True)
    return "hostile:test"


def test_a_working_directory_is_made_inside_whatever_the_image_links_to(engine: Engine, hostile: str) -> None:
    seen = output(engine, "sh", "-c", "pwd", Image=hostile, WorkingDir="/escape/deep")
    assert seen in ("/tmp/escaped-work/deep", "/escape/deep")
    assert not Path("/tmp/escaped-work").exists()
    body = {"Image": hostile, "Cmd": ["true"]}
    status, answer = call(engine, "POST", "/containers/create", {**body, "WorkingDir": "/plain"})
    assert status in (400, 500) and "Cannot mkdir: /plain is not a directory" in answer["message"]
    if isinstance(engine, Sampand):
        status, answer = call(engine, "POST", "/containers/create", {**body, "WorkingDir": "/loop/x"})
        assert (status, "too many levels of symbolic links" in answer["message"]) == (400, True)


def test_a_new_volume_is_filled_from_the_image_unless_told_not_to(engine: Engine, hostile: str) -> None:
    script = "cat /data/sub/seed; stat -c %u /data/sub/seed"
    assert output(engine, "sh", "-c", script, Image=hostile) == "planted\n1000"
    assert output(engine, "sh", "-c", script, Image=hostile, host={"Binds": ["seeded:/data"]}) == "planted\n1000"
    assert "No such file" in output(engine, "sh", "-c", script, Image=hostile, host={"Binds": ["bare:/data:nocopy"]})
    mount = {"Type": "volume", "Source": "bare2", "Target": "/data", "VolumeOptions": {"NoCopy": True}}
    assert "No such file" in output(engine, "sh", "-c", script, Image=hostile, host={"Mounts": [mount]})
    for name in ("seeded", "bare", "bare2"):
        call(engine, "DELETE", f"/volumes/{name}")


def test_a_volume_over_a_file_of_the_image_is_refused(engine: Engine, hostile: str) -> None:
    body = {"Image": hostile, "Cmd": ["true"], "Volumes": {"/plain": {}}}
    status, answer = call(engine, "POST", "/containers/create", body)
    assert status in (400, 500) and "cannot mount volume over existing file, file exists" in answer["message"]
    assert engine.get("/containers/json?all=1") == []


def test_volumes_of_another_container(engine: Engine) -> None:
    run(engine, "giver", host={"Binds": ["given:/given"]}, Volumes={"/own": {}})
    exec_in(engine, "giver", "sh", "-c", "echo one >/given/a; echo two >/own/b")
    assert output(engine, "cat", "/given/a", "/own/b", host={"VolumesFrom": ["giver"]}) == "one\ntwo"
    seen = output(engine, "touch", "/given/x", host={"VolumesFrom": ["giver:ro"]})
    assert "Read-only file system" in seen
    call(engine, "DELETE", "/containers/giver?force=1&v=1")
    call(engine, "DELETE", "/volumes/given")


@pytest.fixture
def newer(engine: Engine) -> Engine:
    if not isinstance(engine, Sampand):
        pytest.skip("newer than Debian's Docker")
    return engine


def test_a_part_of_a_volume_and_no_link_out_of_it(newer: Engine) -> None:
    output(newer, *SH, "mkdir -p /v/a/b; echo x >/v/a/b/f; ln -s / /v/out", host={"Binds": ["parted:/v"]})
    mount = {"Type": "volume", "Source": "parted", "Target": "/m", "VolumeOptions": {"Subpath": "a/b"}}
    assert output(newer, "cat", "/m/f", host={"Mounts": [mount]}) == "x"
    mount["VolumeOptions"] = {"Subpath": "a/b/f"}
    assert output(newer, "cat", "/m", host={"Mounts": [mount]}) == "x"
    for subpath, words in (("out/etc", "cannot access path out/etc"), ("none", "cannot access path none")):
        mount["VolumeOptions"] = {"Subpath": subpath}
        status, message = refusal(newer, {"Mounts": [mount]})
        assert (status, words in message) == (404, True), message
    call(newer, "DELETE", "/volumes/parted")


def test_an_image_is_mounted_read_only_and_cannot_be_removed_meanwhile(newer: Engine, hostile: str) -> None:
    mounts = [
        {"Type": "image", "Source": hostile, "Target": "/i"},
        {"Type": "image", "Source": hostile, "Target": "/s", "ImageOptions": {"Subpath": "data/sub"}},
    ]
    id = run(newer, "holder", host={"Mounts": mounts})
    assert exec_in(newer, id, "cat", "/i/plain", "/s/seed") == "a file\nplanted"
    assert "Read-only file system" in exec_in(newer, id, "touch", "/i/x")
    shown = newer.get(f"/containers/{id}/json")["Mounts"]
    assert {(one["Type"], one["Name"], one["Destination"], one["RW"]) for one in shown} == {
        ("image", hostile, "/i", False),
        ("image", hostile, "/s", False),
    }
    status, answer = call(newer, "DELETE", f"/images/{hostile}")
    assert status == 409, answer
    escaping = {"Type": "image", "Source": hostile, "Target": "/s", "ImageOptions": {"Subpath": "data/out"}}
    assert refusal(newer, {"Mounts": [escaping]})[0] == 404
    call(newer, "DELETE", f"/containers/{id}?force=1")
    assert call(newer, "DELETE", f"/images/{hostile}")[0] == 200


# --- other containers


def test_ipc_is_shared_only_by_those_who_say_so(engine: Engine) -> None:
    run(engine, "donor", host={"IpcMode": "shareable", "ShmSize": 1 << 20})
    exec_in(engine, "donor", "sh", "-c", "echo shared >/dev/shm/f")
    guest = {"IpcMode": "container:donor"}
    assert output(engine, "cat", "/dev/shm/f", host=guest) == "shared"
    own = exec_in(engine, "donor", "readlink", "/proc/self/ns/ipc")
    assert output(engine, "readlink", "/proc/self/ns/ipc", host=guest) == own
    run(engine, "private", host={"IpcMode": "private"})
    status, message = refusal(engine, {"IpcMode": "container:private"})
    assert status in (400, 500) and "non-shareable IPC" in message
    run(engine, "chained", host=guest)
    assert output(engine, "cat", "/dev/shm/f", host={"IpcMode": "container:chained"}) == "shared"


def test_pid_and_network_are_joined(engine: Engine) -> None:
    run(engine, "owner", "sh", "-c", "exec sleep 1000", Hostname="ship")
    assert "sleep 1000" in output(engine, "ps", host={"PidMode": "container:owner"})
    net = exec_in(engine, "owner", "readlink", "/proc/self/ns/net")
    host = {"NetworkMode": "container:owner"}
    seen = output(engine, *SH, "readlink /proc/self/ns/net; hostname; grep -c ship /etc/hosts", host=host)
    assert seen == f"{net}\nship\n1"


@pytest.mark.parametrize(("field", "kind"), [("IpcMode", "IPC"), ("PidMode", "PID")])
def test_namespaces_of_what_does_not_run_cannot_be_joined(engine: Engine, field: str, kind: str) -> None:
    create(engine, "still", "true")
    status, message = refusal(engine, {field: "container:still"})
    assert (status in (409, 500) and "not running" in message) or "non running" in message


def test_a_link_names_another_container_and_follows_it(engine: Engine) -> None:
    run(engine, "db", Hostname="database")
    status, answer = call(
        engine,
        "POST",
        "/containers/create?name=app",
        {"Image": IMAGE, "Cmd": ["sleep", "1000"], "HostConfig": {"Links": ["db:store"]}},
    )
    assert status == 201
    if isinstance(engine, Sampand):
        assert "Links on the default bridge network are deprecated" in answer["Warnings"][0]
    assert call(engine, "POST", "/containers/app/start")[0] == 204
    address = engine.get("/containers/db/json")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert exec_in(engine, "app", "grep", "store", "/etc/hosts").split() == [address, "store", "database", "db"]
    assert engine.get("/containers/app/json")["HostConfig"]["Links"] == ["/db:/app/store"]
    names = {name for one in engine.get("/containers/json") for name in one["Names"]}
    assert "/app/store" in names
    assert call(engine, "DELETE", "/containers/app/store?link=1")[0] == 204
    assert not engine.get("/containers/app/json")["HostConfig"]["Links"]
    call(engine, "POST", "/containers/db/stop?t=0")
    status, message = refusal(engine, {"Links": ["db"]})
    assert status in (409, 500) and "Cannot link to a non running container: /db AS" in message


def test_a_privileged_container_has_the_hosts_devices_and_may_mount(newer: Engine) -> None:
    script = (
        "ls /dev/kmsg && mount -t tmpfs t /mnt && grep -c ' /proc/kcore ' /proc/mounts; grep CapEff /proc/1/status"
    )
    seen = output(newer, *SH, f"mkdir /mnt; {script}", host={"Privileged": True}).splitlines()
    assert seen[:2] == ["/dev/kmsg", "0"]
    assert int(seen[2].split()[1], 16) & 1 << 21  # CAP_SYS_ADMIN


def test_system_paths_can_be_seen(newer: Engine) -> None:
    host = {"SecurityOpt": ["systempaths=unconfined"]}
    assert output(newer, *SH, "grep -c ' /proc/kcore ' /proc/mounts", host=host) == "0"


def test_sysctls_of_an_interface(newer: Engine) -> None:
    options = {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"}
    endpoints = {"EndpointsConfig": {"bridge": {"DriverOpts": options, "MacAddress": "92:d0:c6:0a:29:33"}}}
    script = "cat /proc/sys/net/ipv4/conf/eth0/log_martians /sys/class/net/eth0/address"
    id = run(newer, "", *FOREVER, NetworkingConfig=endpoints)
    assert exec_in(newer, id, *SH, script) == "1\n92:d0:c6:0a:29:33"


FOREVER = ("sleep", "1000")


def exec_in(engine: Engine, name: str, *command: str) -> str:
    """The output of a command in a running container."""
    body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, "Tty": True}
    status, created = call(engine, "POST", f"/containers/{name}/exec", body)
    assert status == 201, created
    status, content = engine.request("POST", f"/exec/{created['Id']}/start", {"Tty": True})
    assert status == 200, content
    return content.decode().replace("\r\n", "\n").strip()


# --- ports, users, defaults


def test_exposed_ranges_are_published_one_by_one(newer: Engine) -> None:
    id = run(newer, "", host={"PublishAllPorts": True}, ExposedPorts={"8000-8002/tcp": {}, "53/udp": {}})
    shown = newer.get(f"/containers/{id}/json")
    assert sorted(shown["NetworkSettings"]["Ports"]) == ["53/udp", "8000/tcp", "8001/tcp", "8002/tcp"]
    assert all(shown["NetworkSettings"]["Ports"].values())


@pytest.mark.parametrize("user", ["4294967296", "2147483648", "99999999999999999999", "root2", "0:nogroup"])
def test_users_that_are_not_there_do_not_become_root(engine: Engine, user: str) -> None:
    status, message = refusal(engine, User=user)
    assert status in (400, 500)
    assert "uids and gids must be in range" in message or "unable to find" in message


def test_inspect_tells_what_the_engine_filled_in(newer: Engine) -> None:
    id = create(newer, "", "true")
    host = newer.get(f"/containers/{id}/json")["HostConfig"]
    assert "/proc/kcore" in host["MaskedPaths"] and "/proc/sys" in host["ReadonlyPaths"]
    assert (host["OomKillDisable"], host["MemorySwappiness"]) == (False, None)
    assert host["Runtime"] in ("crun", "runc")
    privileged = create(newer, "", "true", host={"Privileged": True})
    host = newer.get(f"/containers/{privileged}/json")["HostConfig"]
    assert (host["MaskedPaths"], host["SecurityOpt"]) == (None, ["label=disable"])
    assert json.dumps(host)
