"""A container's settings in the runtime's terms: the OCI spec of its init, and the process of an exec."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.daemon.connect import HOST_MODE, has_own_sandbox, network_mode
from sampan.daemon.container import Container
from sampan.daemon.rootfs import open_rootfs
from sampan.drivers import Mount
from sampan.errdefs import Conflict, InvalidArgument, SystemFailure
from sampan.models import CreateExec, HostConfig, MountPoint
from sampan.runtime import rlimit, spec, user
from sampan.runtime.device import DeviceMapping
from sampan.runtime.rlimit import Rlimit

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)
_CONTAINER = "container:"
_FILES = ("hostname", "hosts", "resolv.conf")


async def build_spec(
    daemon: Daemon, container: Container, *, netns: Path | None, cgroup: str, rootfs: Sequence[Mount]
) -> dict[str, Any]:
    """The OCI runtime spec of a container about to start. Raises `InvalidArgument` in Docker's words."""
    record, host = container.record, container.record.host_config
    config = record.config
    who = await asyncio.to_thread(_prepare_files, rootfs, container, daemon.settings.exec_root)
    security = _SecurityOptions(host.security_opt or ())
    limits, warnings = rlimit.clamp(Rlimit(one.name, one.soft, one.hard) for one in host.ulimits or ())
    for warning in warnings:
        _log.warning("container %s: %s", container.id[:12], warning)
    init = spec.ProcessSettings(
        args=record.args,
        env=spec.environment(config.hostname, config.env or (), terminal=config.tty),
        cwd=config.working_dir,
        user=who,
        terminal=config.tty,
        console_size=(host.console_size[0], host.console_size[1]) if any(host.console_size) else None,
        cap_add=host.cap_add or (),
        cap_drop=host.cap_drop or (),
        privileged=host.privileged,
        no_new_privileges=security.no_new_privileges,
        rlimits=limits,
        oom_score_adj=host.oom_score_adj,
    )
    document = spec.build(
        spec.SpecSettings(
            process=init,
            hostname=config.hostname,
            domainname=config.domainname,
            readonly_root=host.readonly_rootfs,
            mounts=[*_mounts(record.mounts), *_files(daemon, container)],
            namespaces=_namespaces(daemon, host, netns),
            own_network=has_own_sandbox(container),
            devices=[
                DeviceMapping(one.path_on_host, one.path_in_container, one.cgroup_permissions or "rwm")
                for one in host.devices or ()
            ],
            device_rules=host.device_cgroup_rules or (),
            masked_paths=host.masked_paths,
            readonly_paths=host.readonly_paths,
            sysctls=host.sysctls or {},
            seccomp=security.seccomp,
            shm_bytes=host.shm_size or daemon.settings.shm_bytes,
            init=_init(daemon, host),
            cgroups_path=cgroup,
            annotations=host.annotations or {},
        )
    )
    daemon.hooks.hook.sampan_oci_spec(container_id=container.id, labels=config.labels or {}, spec=document)
    return document


async def exec_process(
    container: Container, request: CreateExec, *, console_size: Sequence[int] | None
) -> dict[str, Any]:
    """The `process` of the OCI spec for an exec: the container's own settings, where the request has none."""
    config, host = container.record.config, container.record.host_config
    size = console_size or request.console_size
    settings = spec.ProcessSettings(
        args=request.cmd or (),
        env=spec.environment(config.hostname, [*(config.env or ()), *(request.env or ())], terminal=request.tty),
        cwd=request.working_dir or config.working_dir,
        user=await _look_up(container, request.user or config.user),
        terminal=request.tty,
        console_size=(size[0], size[1]) if size else None,
        cap_add=host.cap_add or (),
        cap_drop=host.cap_drop or (),
        privileged=host.privileged or request.privileged,
        no_new_privileges=_SecurityOptions(host.security_opt or ()).no_new_privileges,
        oom_score_adj=host.oom_score_adj,
    )
    return spec.build_process(settings)


async def check_user(container: Container, name: str) -> None:
    """Raise `InvalidArgument` in Docker's words if the running container knows no such user."""
    await _look_up(container, name)


async def _look_up(container: Container, name: str) -> user.User:
    return await asyncio.to_thread(_look_up_now, container, name)


def _look_up_now(container: Container, name: str) -> user.User:
    try:
        root = os.open(f"/proc/{container.state.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise Conflict(f"container {container.id} is not running") from None
    try:
        return user.look_up(root, name, container.record.host_config.group_add or ())
    finally:
        os.close(root)


def _prepare_files(rootfs: Sequence[Mount], container: Container, state_dir: Path) -> user.User:
    """Make what is missing of the binds' sources, and look up who the process is in the container's own files."""
    record = container.record
    _make_bind_sources(record.host_config, record.mounts)
    with open_rootfs(rootfs, state_dir) as root:
        return user.look_up(root, record.config.user, record.host_config.group_add or ())


class _SecurityOptions:
    """`--security-opt`. Source: moby daemon/daemon_unix.go, parseSecurityOpt."""

    def __init__(self, options: Sequence[str]) -> None:
        self.no_new_privileges = False
        self.seccomp = "default"
        for option in options:
            name, _, value = option.partition("=" if "=" in option else ":")
            match name:
                case "no-new-privileges":
                    self.no_new_privileges = value in ("", "true", "1")
                case "seccomp":
                    self.seccomp = "default" if value == "builtin" else value
                case "label" | "apparmor" | "systempaths" | "writable-cgroups":  # no SELinux, no AppArmor here;
                    continue  # clients turn systempaths into masked and read-only paths
                case _:
                    raise InvalidArgument(f"invalid --security-opt 2: {option!r}")


def _mounts(points: Sequence[MountPoint]) -> Iterator[spec.SpecMount]:
    for point in points:
        if point.type == "tmpfs":
            asked = [one for one in point.mode.split(",") if one]
            options = ("noexec", "nosuid", "nodev", "rprivate", *asked)
            yield spec.SpecMount(point.destination, "tmpfs", "tmpfs", options)
        else:
            options = ("rbind", point.propagation or "rprivate", "rw" if point.rw else "ro")
            yield spec.SpecMount(point.destination, "bind", point.source, options)


def _files(daemon: Daemon, container: Container) -> Iterator[spec.SpecMount]:
    """The files that name things, unless the user mounts some of his own there."""
    taken = {point.destination for point in container.record.mounts}
    host = container.record.host_config
    owner = container
    if (mode := network_mode(host)).startswith(_CONTAINER):
        owner = daemon.containers.get(mode.removeprefix(_CONTAINER))
    for name in _FILES:
        destination = f"/etc/{name}"
        if destination not in taken:
            options = ("rbind", "rprivate", "ro" if host.readonly_rootfs else "rw")
            yield spec.SpecMount(destination, "bind", str(owner.bundle_dir / name), options)


def _make_bind_sources(host: HostConfig, points: Sequence[MountPoint]) -> None:
    """`-v` makes a missing directory on the host, as Docker does; `--mount` refuses it."""
    strict = {mount.target for mount in host.mounts or () if not _makes_source(mount.bind_options)}
    for point in points:
        if point.type != "bind" or Path(point.source).exists():
            continue
        if point.destination in strict:
            raise InvalidArgument(
                f'invalid mount config for type "bind": bind source path does not exist: {point.source}'
            )
        try:
            Path(point.source).mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise SystemFailure(
                f"error while creating mount source path '{point.source}': mkdir {error.filename}: {error.strerror}"
            ) from error


def _makes_source(options: Any) -> bool:
    return bool(options and options.create_mountpoint)


def _namespaces(daemon: Daemon, host: HostConfig, netns: Path | None) -> dict[str, str]:
    modes = {"pid": host.pid_mode, "ipc": host.ipc_mode, "uts": host.uts_mode, "cgroup": host.cgroupns_mode}
    joined = {kind: _namespace(daemon, kind, mode) for kind, mode in modes.items()}
    joined["network"] = str(netns) if netns else spec.HOST
    return joined


def _namespace(daemon: Daemon, kind: str, mode: str) -> str:
    if mode == HOST_MODE:
        return spec.HOST
    if not mode.startswith(_CONTAINER):
        return spec.PRIVATE
    other = daemon.containers.get(mode.removeprefix(_CONTAINER))
    if not other.running:
        raise Conflict(f"cannot join {kind.upper()} of a non running container: {other.id}")
    return f"/proc/{other.state.pid}/ns/{kind}"


def _init(daemon: Daemon, host: HostConfig) -> Path | None:
    if not host.init:
        return None
    if daemon.settings.init_path is None:
        raise InvalidArgument('exec: "docker-init": executable file not found in $PATH: install catatonit or tini')
    return daemon.settings.init_path
