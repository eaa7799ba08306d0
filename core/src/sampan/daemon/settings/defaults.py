"""The engine's defaults for what the user did not specify, filled in so that inspect shows them too.

Source: moby daemon/daemon_unix.go (adaptContainerSettings), create_unix.go (createContainerOSSpecificSettings),
daemon/logs.go (mergeAndVerifyLogConfig), server/router/container (postContainersCreate).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.daemon.settings import log_options
from sampan.daemon.settings.namespaces import HOST, network_mode, resolve_shared
from sampan.daemon.settings.ports import parse_port
from sampan.daemon.settings.security import SecurityOptions
from sampan.models import HostConfig
from sampan.runtime import spec

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_NO_SELINUX = "label=disable"


def complete(daemon: Daemon, asked: HostConfig) -> HostConfig:
    """The host configuration of a container about to be created."""
    host = asked.model_copy()
    host.network_mode = network_mode(asked)
    host.log_config = log_options.complete(asked.log_config, daemon.settings.log_config)
    host.ipc_mode = asked.ipc_mode or "private"
    host.cgroupns_mode = asked.cgroupns_mode or "private"
    host.shm_size = asked.shm_size or daemon.settings.shm_bytes
    host.runtime = asked.runtime or daemon.settings.default_runtime
    host.port_bindings = {_full(port): bindings for port, bindings in (asked.port_bindings or {}).items()}
    resolve_shared(daemon, host)
    _complete_limits(host)
    _complete_security(host)
    return host


def _complete_limits(host: HostConfig) -> None:
    host.memory_swap = host.memory_swap or host.memory * 2
    host.memory_swappiness = None  # cgroup v2 has no such thing
    host.oom_kill_disable = False
    if host.pids_limit is not None and host.pids_limit <= 0:
        host.pids_limit = None


def _complete_security(host: HostConfig) -> None:
    everywhere = SecurityOptions(host.security_opt or ()).system_paths is False
    if not host.privileged:
        masked, readonly = ((), ()) if everywhere else (spec.default_masked_paths(), spec.READONLY_PATHS)
        host.masked_paths = list(masked) if host.masked_paths is None else host.masked_paths
        host.readonly_paths = list(readonly) if host.readonly_paths is None else host.readonly_paths
    labels = any(option.partition("=")[0] == "label" for option in host.security_opt or ())
    if not labels and (host.privileged or HOST in (host.ipc_mode, host.pid_mode)):
        host.security_opt = [*(host.security_opt or ()), _NO_SELINUX]


def _full(port: str) -> str:
    number, protocol = parse_port(port)
    return f"{number}/{protocol}"
