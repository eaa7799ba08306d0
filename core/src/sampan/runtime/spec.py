"""The OCI runtime spec of a container, built from plain settings, with Docker's defaults.

Source of the defaults: moby daemon/pkg/oci/defaults.go and daemon/oci_linux.go; of the format: OCI runtime-spec 1.2,
config.md and config-linux.md. Limits of memory, CPU etc. are set by the resource driver, not by the spec.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan.runtime import device, rlimit, seccomp
from sampan.runtime.capabilities import capability_set, is_effective
from sampan.runtime.device import DeviceMapping
from sampan.runtime.rlimit import Rlimit
from sampan.runtime.user import ROOT, User

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT_PATH = "/sbin/docker-init"
"""The path of `--init`'s program in the container."""

PRIVATE, HOST = "private", "host"
DEFAULT_SHM_BYTES = 64 << 20

_NAMESPACES = ("pid", "ipc", "uts", "network", "cgroup")
_MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_WRITABLE_ON_READONLY_ROOT = frozenset({"/proc", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"})  # noqa: S108


@dataclass(frozen=True)
class SpecMount:
    """A mount inside the container. A `bind` has a host path as `source`; options are as in the OCI spec."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProcessSettings:
    """A process of a container: init, or an exec.

    `env` is complete (see `environment`). `console_size` is (height, width). A privileged process has all
    capabilities.
    """

    args: Sequence[str]
    env: Sequence[str] = ()
    cwd: str = "/"
    user: User = ROOT
    terminal: bool = False
    console_size: tuple[int, int] | None = None
    cap_add: Sequence[str] = ()
    cap_drop: Sequence[str] = ()
    privileged: bool = False
    no_new_privileges: bool = False
    apparmor: str = ""
    rlimits: Sequence[Rlimit] = ()
    oom_score_adj: int = 0


@dataclass(frozen=True)
class SpecSettings:
    """A container.

    `namespaces` maps `pid`, `ipc`, `uts`, `network`, `cgroup` to `PRIVATE`, `HOST` or a path to join; the default is
    private. `own_network` is false if the network namespace is another container's. `mounts` are the user's; they
    replace default ones with the same destination. `masked_paths` and `readonly_paths` of `None` mean the defaults.
    `seccomp` is `default`, `unconfined` or a profile in Docker's JSON. `init` is the host's path of an init program.
    `cgroups_path` comes from the resource driver. `shm_bytes` of `None` omits `/dev/shm`.
    """

    process: ProcessSettings
    hostname: str = ""
    domainname: str = ""
    readonly_root: bool = False
    mounts: Sequence[SpecMount] = ()
    namespaces: Mapping[str, str] = field(default_factory=dict)
    own_network: bool = True
    devices: Sequence[DeviceMapping] = ()
    device_rules: Sequence[str] = ()
    masked_paths: Sequence[str] | None = None
    readonly_paths: Sequence[str] | None = None
    sysctls: Mapping[str, str] = field(default_factory=dict)
    seccomp: str = "default"
    shm_bytes: int | None = DEFAULT_SHM_BYTES
    writable_cgroups: bool = False
    init: Path | None = None
    cgroups_path: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


def build(settings: SpecSettings) -> dict[str, Any]:
    """The whole document. Raises `InvalidArgument` with Docker's message for capabilities, devices or a profile."""
    process = build_process(settings.process)
    if settings.init is not None and settings.namespaces.get("pid", PRIVATE) == PRIVATE:
        process["args"] = [INIT_PATH, "--", *process["args"]]
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": "rootfs", "readonly": settings.readonly_root},
        **({"hostname": settings.hostname} if settings.namespaces.get("uts") != HOST else {}),
        "mounts": _mounts(settings),
        "annotations": dict(settings.annotations),
        "linux": _linux(settings, process),
    }


def build_process(settings: ProcessSettings) -> dict[str, Any]:
    """The spec's `process`, also for an exec. Raises `InvalidArgument` with Docker's message for capabilities."""
    capabilities = list(capability_set(settings.cap_add, settings.cap_drop, privileged=settings.privileged))
    process: dict[str, Any] = {
        "terminal": settings.terminal,
        "user": _user(settings.user),
        "args": list(settings.args),
        "env": list(settings.env),
        "cwd": settings.cwd or "/",
        # No inheritable ones: programs with file capabilities would get them back (CVE-2022-24769).
        "capabilities": dict.fromkeys(("bounding", "permitted", "effective"), capabilities),
        "rlimits": rlimit.to_spec(settings.rlimits),
        "noNewPrivileges": settings.no_new_privileges,
        "oomScoreAdj": _oom_score_adj(settings.oom_score_adj),
    }
    if settings.apparmor:
        process["apparmorProfile"] = settings.apparmor
    if settings.console_size:
        process["consoleSize"] = dict(zip(("height", "width"), settings.console_size, strict=True))
    return process


def environment(hostname: str, env: Iterable[str], *, terminal: bool) -> list[str]:
    """Docker's PATH, HOSTNAME and TERM, overridden by `env` (`NAME=VALUE`); a bare `NAME` removes a variable."""
    variables = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if terminal:
        variables["TERM"] = "xterm"
    for entry in env:
        name, given, value = entry.partition("=")
        if given:
            variables[name] = value
        else:
            variables.pop(name, None)
    return [f"{name}={value}" for name, value in variables.items()]


def _user(user: User) -> dict[str, Any]:
    return {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.additional_gids or (user.gid,))}


def _oom_score_adj(asked: int) -> int:
    """Limit the value: without CAP_SYS_RESOURCE a process can't lower its own (proc_pid_oom_score_adj(5))."""
    if is_effective("CAP_SYS_RESOURCE"):
        return asked
    return max(asked, int(Path("/proc/self/oom_score_adj").read_text()))


def _linux(settings: SpecSettings, process: dict[str, Any]) -> dict[str, Any]:
    nodes, rules = _devices(settings)
    privileged = settings.process.privileged
    linux: dict[str, Any] = {
        "namespaces": _namespaces(settings.namespaces),
        "devices": nodes,
        "resources": {"devices": rules},
        "sysctl": _sysctls(settings),
        "maskedPaths": _paths(settings.masked_paths, default_masked_paths(), privileged=privileged),
        "readonlyPaths": _paths(settings.readonly_paths, READONLY_PATHS, privileged=privileged),
    }
    if settings.cgroups_path:
        linux["cgroupsPath"] = settings.cgroups_path
    if profile := _seccomp(settings, frozenset(process["capabilities"]["bounding"])):
        linux["seccomp"] = profile
    propagation = _root_propagation(settings.mounts)
    if propagation:
        linux["rootfsPropagation"] = propagation
    return linux


@functools.cache
def default_masked_paths() -> tuple[str, ...]:
    """Docker's masked paths on this host; the CPUs' throttle counts would reveal other containers' activity."""
    throttle = sorted(str(path) for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle"))
    return (*_MASKED_PATHS, *throttle)


def _paths(asked: Sequence[str] | None, default: Sequence[str], *, privileged: bool) -> list[str]:
    if asked is not None:
        return list(asked)
    return [] if privileged else list(default)


def _namespaces(asked: Mapping[str, str]) -> list[dict[str, str]]:
    namespaces = [{"type": "mount"}]
    for name in _NAMESPACES:
        where = asked.get(name, PRIVATE)
        if where == PRIVATE:
            namespaces.append({"type": name})
        elif where != HOST:
            namespaces.append({"type": name, "path": where})
    return namespaces


def _devices(settings: SpecSettings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if settings.process.privileged:
        nodes = device.host_nodes()
        there = {node["path"] for node in nodes}
        for mapping in settings.devices:
            nodes += [node for node in device.mapped(mapping)[0] if node["path"] not in there]
        return nodes, [device.ALL]
    nodes, rules = [], device.default_rules()
    for mapping in settings.devices:
        more_nodes, more_rules = device.mapped(mapping)
        nodes += more_nodes
        rules += more_rules
    return nodes, [*rules, *map(device.parse_rule, settings.device_rules)]


def _sysctls(settings: SpecSettings) -> dict[str, str]:
    sysctls: dict[str, str] = {}
    if settings.own_network and settings.namespaces.get("network") != HOST:
        sysctls |= _network_sysctls()
    if settings.domainname:
        # The spec's `domainname` is newer than the runtimes in use; this is equivalent.
        sysctls["kernel.domainname"] = settings.domainname
    return sysctls | dict(settings.sysctls)


@functools.cache
def _network_sysctls() -> dict[str, str]:
    """Allow ping and low ports to all users, as nobody else has them inside a container."""
    wanted = {"net.ipv4.ping_group_range": "0 2147483647", "net.ipv4.ip_unprivileged_port_start": "0"}
    return {name: value for name, value in wanted.items() if Path("/proc/sys", *name.split(".")).exists()}


def _seccomp(settings: SpecSettings, capabilities: frozenset[str]) -> dict[str, Any] | None:
    if settings.seccomp == "unconfined":
        return None
    if settings.seccomp != "default":
        return seccomp.resolve(settings.seccomp, capabilities)
    if settings.process.privileged or not seccomp.supported():
        return None
    return seccomp.default_profile(capabilities)


def _root_propagation(mounts: Sequence[SpecMount]) -> str | None:
    """The propagation of the container's root, which a bind needs to share or receive mounts."""
    options = {option for mount in mounts for option in mount.options}
    if options & {"shared", "rshared"}:
        return "shared"
    return "rslave" if options & {"slave", "rslave"} else None


def _mounts(settings: SpecSettings) -> list[dict[str, Any]]:
    taken = {mount.destination for mount in settings.mounts}
    defaults = [
        mount
        for mount in _default_mounts(settings)
        if mount.destination not in taken and not ("/dev" in taken and mount.destination.startswith("/dev/"))
    ]
    if settings.readonly_root:
        defaults = [_read_only(mount) for mount in defaults]
    # Mounts must come before those below them.
    asked = sorted(settings.mounts, key=lambda mount: mount.destination.rstrip("/").count("/"))
    return [_mount(mount) for mount in (*defaults, *asked, *_init_mount(settings))]


def _default_mounts(settings: SpecSettings) -> list[SpecMount]:
    read_only = () if settings.process.privileged else ("ro",)
    cgroups = () if settings.writable_cgroups else ("ro",)
    return [
        SpecMount("/proc", "proc", "proc", ("nosuid", "noexec", "nodev")),
        SpecMount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        SpecMount(
            "/dev/pts",
            "devpts",
            "devpts",
            ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        ),
        SpecMount("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", *read_only)),
        SpecMount("/sys/fs/cgroup", "cgroup", "cgroup", (*cgroups, "nosuid", "noexec", "nodev")),
        SpecMount("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
        *_shm_mount(settings),
    ]


def _shm_mount(settings: SpecSettings) -> list[SpecMount]:
    if settings.shm_bytes is None:
        return []
    if settings.namespaces.get("ipc") == HOST:
        return [SpecMount("/dev/shm", "bind", "/dev/shm", ("rbind", "rprivate"))]  # noqa: S108
    size = f"size={settings.shm_bytes}"
    return [SpecMount("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", size))]  # noqa: S108


def _init_mount(settings: SpecSettings) -> list[SpecMount]:
    if settings.init is None or settings.namespaces.get("pid", PRIVATE) != PRIVATE:
        return []
    return [SpecMount(INIT_PATH, "bind", str(settings.init), ("bind", "ro"))]


def _read_only(mount: SpecMount) -> SpecMount:
    if mount.destination in _WRITABLE_ON_READONLY_ROOT or "ro" in mount.options:
        return mount
    return SpecMount(mount.destination, mount.type, mount.source, (*mount.options, "ro"))


def _mount(mount: SpecMount) -> dict[str, Any]:
    return {
        "destination": mount.destination,
        "type": mount.type,
        "source": mount.source,
        "options": list(mount.options),
    }
