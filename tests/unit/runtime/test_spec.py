"""The OCI spec generated from settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.errdefs import InvalidArgument
from sampan.runtime import capabilities, device, rlimit, seccomp
from sampan.runtime.device import DeviceMapping
from sampan.runtime.rlimit import INFINITY, Rlimit
from sampan.runtime.spec import HOST, ProcessSettings, SpecMount, SpecSettings, build, build_process, environment
from sampan.runtime.user import User


@pytest.fixture(autouse=True)
def all_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a host that grants the daemon every capability, whatever this one does."""
    monkeypatch.setattr(capabilities, "available", lambda: capabilities.KNOWN)


def settings(**fields: Any) -> SpecSettings:
    process = {name: fields.pop(name) for name in list(fields) if name in ProcessSettings.__dataclass_fields__}
    return SpecSettings(ProcessSettings(process.pop("args", ["sh"]), **process), **fields)


def mounts(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in spec["mounts"]}


def test_the_defaults_are_dockers() -> None:
    spec = build(settings(hostname="box"))
    assert spec["root"] == {"path": "rootfs", "readonly": False}
    assert spec["hostname"] == "box"
    assert spec["process"]["capabilities"]["effective"] == list(capabilities.DEFAULT)
    assert "inheritable" not in spec["process"]["capabilities"]
    assert "/proc/kcore" in spec["linux"]["maskedPaths"]
    assert "/proc/sys" in spec["linux"]["readonlyPaths"]
    kinds = [namespace["type"] for namespace in spec["linux"]["namespaces"]]
    assert kinds == ["mount", "pid", "ipc", "uts", "network", "cgroup"]
    assert mounts(spec)["/dev/shm"]["options"][-1] == "size=67108864"
    assert "ro" in mounts(spec)["/sys"]["options"]
    assert spec["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}


def test_privileged_is_everything_and_nothing_hidden() -> None:
    spec = build(settings(privileged=True))
    assert spec["process"]["capabilities"]["bounding"] == list(capabilities.KNOWN)
    assert spec["linux"]["maskedPaths"] == spec["linux"]["readonlyPaths"] == []
    assert spec["linux"]["resources"]["devices"] == [device.ALL]
    assert "seccomp" not in spec["linux"]
    assert "ro" not in mounts(spec)["/sys"]["options"]


def test_capabilities_are_added_and_dropped_by_any_spelling() -> None:
    process = build_process(ProcessSettings(["sh"], cap_add=["net_admin", "CAP_NET_ADMIN"], cap_drop=["Chown"]))
    assert "CAP_CHOWN" not in process["capabilities"]["bounding"]
    assert process["capabilities"]["bounding"].count("CAP_NET_ADMIN") == 1


def test_all_capabilities_can_be_added_or_dropped() -> None:
    assert capabilities.capability_set(["ALL"], ["chown"], privileged=False) == capabilities.KNOWN[1:]
    assert capabilities.capability_set(["chown"], ["ALL"], privileged=False) == ("CAP_CHOWN",)


def test_an_unknown_capability_is_refused_in_dockers_words() -> None:
    with pytest.raises(InvalidArgument, match='unknown capability: "CAP_FLY"'):
        build(settings(cap_add=["fly"]))


def test_a_users_mount_takes_the_place_of_a_default_one() -> None:
    spec = build(settings(mounts=[SpecMount("/dev/shm", "tmpfs", "tmpfs", ("size=1m",))]))
    assert [mount["options"] for mount in spec["mounts"] if mount["destination"] == "/dev/shm"] == [["size=1m"]]


def test_a_mount_on_dev_takes_those_below_it_away() -> None:
    spec = build(settings(mounts=[SpecMount("/dev", "bind", "/dev", ("rbind",))]))
    assert not [name for name in mounts(spec) if name.startswith("/dev/")]


def test_a_mount_stands_before_those_below_it() -> None:
    asked = [SpecMount(path, "bind", "/x", ("rbind",)) for path in ("/a/b/c", "/a", "/a/b")]
    names = [mount["destination"] for mount in build(settings(mounts=asked))["mounts"]]
    assert names[-3:] == ["/a", "/a/b", "/a/b/c"]


def test_a_read_only_root_leaves_dev_and_shm_writable() -> None:
    spec = build(settings(readonly_root=True))
    assert spec["root"]["readonly"]
    assert "ro" not in mounts(spec)["/dev"]["options"]
    assert "ro" not in mounts(spec)["/dev/shm"]["options"]


def test_namespaces_can_be_the_hosts_or_anothers() -> None:
    spec = build(settings(hostname="box", namespaces={"pid": HOST, "uts": HOST, "network": "/run/x/netns/1"}))
    assert spec["linux"]["namespaces"] == [
        {"type": "mount"},
        {"type": "ipc"},
        {"type": "network", "path": "/run/x/netns/1"},
        {"type": "cgroup"},
    ]
    assert "hostname" not in spec


def test_the_hosts_network_gets_no_sysctls_of_ours() -> None:
    assert build(settings(namespaces={"network": HOST}))["linux"]["sysctl"] == {}


def test_a_users_sysctl_wins_and_the_domain_name_is_one() -> None:
    sysctls = build(settings(domainname="lan", sysctls={"net.ipv4.ip_unprivileged_port_start": "80"}))["linux"][
        "sysctl"
    ]
    assert sysctls["kernel.domainname"] == "lan"
    assert sysctls["net.ipv4.ip_unprivileged_port_start"] == "80"


def test_shared_binds_need_a_root_that_shares() -> None:
    shared, slave = (SpecMount("/x", "bind", "/x", ("rbind", kind)) for kind in ("rshared", "rslave"))
    assert build(settings(mounts=[slave]))["linux"]["rootfsPropagation"] == "rslave"
    assert build(settings(mounts=[slave, shared]))["linux"]["rootfsPropagation"] == "shared"
    assert "rootfsPropagation" not in build(settings())["linux"]


def test_init_runs_the_command_unless_the_pids_are_the_hosts() -> None:
    spec = build(settings(args=["sleep", "1"], init=Path("/usr/bin/tini")))
    assert spec["process"]["args"] == ["/sbin/docker-init", "--", "sleep", "1"]
    assert mounts(spec)["/sbin/docker-init"]["source"] == "/usr/bin/tini"
    spec = build(settings(args=["sleep", "1"], init=Path("/usr/bin/tini"), namespaces={"pid": HOST}))
    assert spec["process"]["args"] == ["sleep", "1"]


def test_a_process_is_told_who_it_is_and_how_big_its_terminal() -> None:
    process = build_process(ProcessSettings(["sh"], user=User(1, 2, (2, 3)), terminal=True, console_size=(24, 80)))
    assert process["user"] == {"uid": 1, "gid": 2, "additionalGids": [2, 3]}
    assert process["consoleSize"] == {"height": 24, "width": 80}


def test_the_environment_begins_with_dockers_and_the_users_wins() -> None:
    assert environment("box", ["A=1", "PATH=/x", "HOSTNAME"], terminal=True) == ["PATH=/x", "TERM=xterm", "A=1"]


def test_a_device_is_copied_with_its_rule() -> None:
    linux = build(settings(devices=[DeviceMapping("/dev/null", "/dev/nothing", "r")]))["linux"]
    assert linux["devices"][0]["path"] == "/dev/nothing"
    assert linux["resources"]["devices"][-1] == {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}


@pytest.mark.parametrize("path", ["/nosuch", "/etc/passwd"])
def test_what_is_no_device_is_refused(path: str) -> None:
    with pytest.raises(InvalidArgument, match="error gathering device information while adding custom device"):
        build(settings(devices=[DeviceMapping(path, "/dev/x")]))


def test_device_rules_are_read_as_docker_does() -> None:
    assert device.parse_rule("c 42:* rm") == {"allow": True, "type": "c", "access": "rm", "major": 42, "minor": -1}
    with pytest.raises(InvalidArgument, match="invalid device cgroup rule format: 'c 1'"):
        device.parse_rule("c 1")


def test_limits_above_the_hosts_are_lowered_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rlimit, "_most", lambda name: 1000)
    limits, warnings = rlimit.clamp([Rlimit("nofile", 500, -1), Rlimit("core", 0, 0)])
    assert limits == (Rlimit("nofile", 500, 1000), Rlimit("core", 0, 0))
    assert len(warnings) == 1
    assert "nofile" in warnings[0]


def test_no_limit_is_infinity_in_the_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rlimit, "_most", lambda name: INFINITY)
    assert rlimit.to_spec([Rlimit("core", -1, -1)]) == [{"type": "RLIMIT_CORE", "soft": INFINITY, "hard": INFINITY}]


@pytest.mark.parametrize("limit", [Rlimit("nosuch", 1, 1), Rlimit("core", 2, 1), Rlimit("core", -1, 1)])
def test_limits_that_make_no_sense_are_refused(limit: Rlimit) -> None:
    with pytest.raises(InvalidArgument):
        rlimit.clamp([limit])


def names_of(profile: dict[str, Any]) -> set[str]:
    return {name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}


def test_a_capability_opens_its_system_calls() -> None:
    assert "mount" not in names_of(seccomp.default_profile(frozenset(capabilities.DEFAULT)))
    assert "mount" in names_of(seccomp.default_profile(frozenset({"CAP_SYS_ADMIN"})))
    assert "includes" not in str(seccomp.default_profile(frozenset()))


def test_a_profile_of_ones_own_is_resolved_and_a_bad_one_refused() -> None:
    profile = (
        '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"ptrace","action":"SCMP_ACT_ERRNO","args":null}]}'
    )
    assert build(settings(seccomp=profile))["linux"]["seccomp"] == {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO"}],
    }
    for bad in ("{", "[]", '{"syscalls":[{"includes":{"minKernel":"x"},"names":["a"]}]}'):
        with pytest.raises(InvalidArgument, match="Decoding seccomp profile failed"):
            build(settings(seccomp=bad))
    assert "seccomp" not in build(settings(seccomp="unconfined"))["linux"]


@pytest.mark.parametrize("has_x32", [True, False])
def test_an_abi_that_the_kernel_lacks_is_not_filtered(has_x32: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "_kernel_has_x32", lambda: has_x32)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    profile = '{"archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]}]}'
    expected = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", *(["SCMP_ARCH_X32"] if has_x32 else [])]
    assert seccomp.resolve(profile, frozenset())["architectures"] == expected
