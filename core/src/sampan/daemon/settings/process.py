"""A container's settings in the runtime's terms: the OCI spec for its init, and the process of an exec."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.daemon.container import Container
from sampan.daemon.filesystem.mounting import Mounting
from sampan.daemon.filesystem.rootfs import make_directory, open_rootfs
from sampan.daemon.networks.connect import has_own_sandbox
from sampan.daemon.settings.namespaces import namespaces
from sampan.daemon.settings.security import SecurityOptions, rlimits
from sampan.drivers import Mount
from sampan.errdefs import Conflict, InvalidArgument
from sampan.models import CreateExec, HostConfig
from sampan.runtime import apparmor, rlimit, spec, user
from sampan.runtime.device import DeviceMapping

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """What is prepared on the host for a container about to start. `netns` and `cgroup` are paths as in the spec."""

    rootfs: Sequence[Mount]
    mounted: Mounting
    netns: Path | None
    cgroup: str


async def build_spec(daemon: Daemon, container: Container, prepared: Prepared) -> dict[str, Any]:
    """The OCI runtime spec of a container about to start. Raises `InvalidArgument` with Docker's message."""
    who = await asyncio.to_thread(_prepare_files, prepared.rootfs, container, daemon.settings.exec_root)
    document = spec.build(_spec_settings(daemon, container, prepared, who))
    labels = container.record.config.labels or {}
    daemon.hooks.hook.sampan_oci_spec(container_id=container.id, labels=labels, spec=document)
    return document


def exec_process(container: Container, request: CreateExec, *, console_size: Sequence[int] | None) -> dict[str, Any]:
    """The OCI spec's `process` for an exec: the container's own settings where the request has none. Blocks.

    Raises `InvalidArgument` with Docker's message for an unknown user, `Conflict` if the container has ended.
    """
    config, host = container.record.config, container.record.host_config
    who, security = _look_up(container, request.user or config.user), SecurityOptions(host.security_opt or ())
    size = console_size or request.console_size
    settings = _like_init(container, who, security)(
        args=request.cmd or (),
        env=spec.environment(config.hostname, [*(config.env or ()), *(request.env or ())], terminal=request.tty),
        cwd=request.working_dir or config.working_dir,
        terminal=request.tty,
        console_size=(size[0], size[1]) if size else None,
        privileged=host.privileged or request.privileged,
        rlimits=rlimit.clamp(rlimits(host))[0],
    )
    return spec.build_process(settings)


def _spec_settings(daemon: Daemon, container: Container, prepared: Prepared, who: user.User) -> spec.SpecSettings:
    config, host = container.record.config, container.record.host_config
    security = SecurityOptions(host.security_opt or ())
    return spec.SpecSettings(
        process=_init_process(container, who, security),
        hostname=config.hostname,
        domainname=config.domainname,
        readonly_root=host.readonly_rootfs,
        mounts=prepared.mounted.mounts,
        namespaces=namespaces(daemon, container, prepared.netns),
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
        shm_bytes=None if host.ipc_mode == "none" else host.shm_size or daemon.settings.shm_bytes,
        writable_cgroups=host.privileged if security.writable_cgroups is None else security.writable_cgroups,
        init=_init(daemon, host),
        cgroups_path=prepared.cgroup,
        annotations=host.annotations or {},
    )


def _init_process(container: Container, who: user.User, security: SecurityOptions) -> spec.ProcessSettings:
    config, host = container.record.config, container.record.host_config
    limits, warnings = rlimit.clamp(rlimits(host))
    for warning in warnings:
        _log.warning("container %s: %s", container.id[:12], warning)
    return _like_init(container, who, security)(
        args=container.record.args,
        env=spec.environment(config.hostname, config.env or (), terminal=config.tty),
        cwd=config.working_dir,
        terminal=config.tty,
        console_size=(host.console_size[0], host.console_size[1]) if any(host.console_size) else None,
        privileged=host.privileged,
        rlimits=limits,
    )


def _like_init(container: Container, who: user.User, security: SecurityOptions) -> partial[spec.ProcessSettings]:
    """The settings that an exec shares with init; the caller supplies the rest."""
    host = container.record.host_config
    return partial(
        spec.ProcessSettings,
        user=who,
        cap_add=host.cap_add or (),
        cap_drop=host.cap_drop or (),
        no_new_privileges=security.no_new_privileges,
        apparmor=security.apparmor if apparmor.supported() else "",
        oom_score_adj=host.oom_score_adj,
    )


def _look_up(container: Container, name: str) -> user.User:
    try:
        root = os.open(f"/proc/{container.state.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise Conflict(f"container {container.id} is not running") from None
    try:
        return user.look_up(root, name, container.record.host_config.group_add or ())
    finally:
        os.close(root)


def _prepare_files(rootfs: Sequence[Mount], container: Container, state_dir: Path) -> user.User:
    """Create the working directory, and look up the process's user in the container's own files."""
    record = container.record
    with open_rootfs(rootfs, state_dir) as root:
        make_directory(root, record.config.working_dir)
        return user.look_up(root, record.config.user, record.host_config.group_add or ())


def _init(daemon: Daemon, host: HostConfig) -> Path | None:
    if not host.init:
        return None
    if daemon.settings.init_path is None:
        raise InvalidArgument('exec: "docker-init": executable file not found in $PATH: install catatonit or tini')
    return daemon.settings.init_path
