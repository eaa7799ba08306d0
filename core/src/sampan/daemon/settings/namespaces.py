"""Which namespaces a container has for itself, shares with the host, or joins.

Source of rules and messages: moby daemon/internal/runconfig, daemon/daemon_unix.go (adaptSharedNamespaceContainer,
verifyPlatformContainerSettings), daemon/oci_linux.go (WithNamespaces), container_operations_unix.go (setupIPCDirs).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.drivers import Mount
from sampan.errdefs import Conflict, InvalidArgument, NotFound
from sampan.models import ContainerConfig, HostConfig
from sampan.runtime import spec
from sampan.runtime.interface import Tree

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

HOST, BRIDGE = "host", "bridge"
SHARED = "container:"
SHM = "shm"
"""The mount tree for the `/dev/shm` of a container whose IPC namespace can be shared."""

_UNDEFINED = "This would result in undefined behavior"
_IPC = frozenset({"", "none", "private", "host", "shareable"})


def network_mode(host: HostConfig) -> str:
    """`bridge`, `host`, `none`, `container:ID` or a network's name."""
    mode = host.network_mode or "default"
    return BRIDGE if mode == "default" else mode


def check_modes(config: ContainerConfig, host: HostConfig) -> None:
    """Raise `InvalidArgument` with Docker's message for modes that don't exist or contradict other options."""
    for is_wrong, words in (*_network_rules(config, host), *_rules(config, host)):
        if is_wrong:
            raise InvalidArgument(words)


def resolve_shared(daemon: Daemon, host: HostConfig) -> None:
    """Replace the names of containers whose namespaces are joined by their IDs, as containers may be renamed.

    Raises `InvalidArgument` if a container whose IPC or PID namespace is to be joined does not exist; for the network
    namespace, that is checked at the start. Source: moby daemon/container.go, generateSecurityOpt.
    """
    for field in ("network_mode", "ipc_mode", "pid_mode"):
        mode = getattr(host, field)
        if not mode.startswith(SHARED):
            continue
        name = mode.removeprefix(SHARED)
        if other := daemon.containers.find(name):
            setattr(host, field, SHARED + other.id)
        elif field != "network_mode":
            raise InvalidArgument(f"No such container: {name}")


def namespaces(daemon: Daemon, container: Container, netns: Path | None) -> dict[str, str]:
    """The namespaces for the spec. Raises `Conflict` or `InvalidArgument` for one that can't be joined."""
    host = container.record.host_config
    return {
        "pid": _namespace(daemon, "pid", host.pid_mode),
        "ipc": _namespace(daemon, "ipc", host.ipc_mode),
        "uts": spec.HOST if host.uts_mode == HOST else spec.PRIVATE,
        "cgroup": spec.HOST if host.cgroupns_mode == HOST else spec.PRIVATE,
        "network": str(netns) if netns else spec.HOST,
    }


def shm_tree(daemon: Daemon, container: Container) -> Tree | None:
    """The `/dev/shm` that others can join or that is joined from another container; `None` if it is private."""
    host = container.record.host_config
    if host.ipc_mode == "shareable":
        options = ("nosuid", "noexec", "nodev", "mode=1777", f"size={host.shm_size or daemon.settings.shm_bytes}")
        return Tree(SHM, (Mount("tmpfs", "shm", options),))
    if not host.ipc_mode.startswith(SHARED):
        return None
    owner = _running(daemon, "IPC", host.ipc_mode.removeprefix(SHARED))
    if owner.record.host_config.ipc_mode == HOST:
        return Tree(SHM, (Mount("bind", "/dev/shm", ("rbind",)),))  # noqa: S108
    return Tree(SHM, owner=owner.id)


def _namespace(daemon: Daemon, kind: str, mode: str) -> str:
    if mode == HOST:
        return spec.HOST
    if not mode.startswith(SHARED):
        return spec.PRIVATE
    name = mode.removeprefix(SHARED)
    other = _running(daemon, kind.upper(), name)
    if kind == "ipc" and not _is_shareable(other):
        raise InvalidArgument(
            f"failed to join IPC namespace: container {name}: non-shareable IPC (hint: use IpcMode:shareable for the "
            "donor container)"
        )
    return f"/proc/{other.state.pid}/ns/{kind}"


def _running(daemon: Daemon, kind: str, name: str) -> Container:
    try:
        other = daemon.containers.get(name)
    except NotFound as error:
        raise InvalidArgument(f"failed to join {kind} namespace: {error}") from None
    if not other.running:
        raise Conflict(f"failed to join {kind} namespace: container {name} is not running")
    return other


def _is_shareable(container: Container) -> bool:
    mode = container.record.host_config.ipc_mode
    has_own_shm = any(point.destination == "/dev/shm" for point in container.record.mounts)  # noqa: S108
    return mode == HOST or ((mode == "shareable" or mode.startswith(SHARED)) and not has_own_shm)


def _network_rules(config: ContainerConfig, host: HostConfig) -> Iterator[tuple[bool, str]]:
    mode = host.network_mode
    if mode == "host":
        yield bool(host.links), f"conflicting options: host type networking can't be used with links. {_UNDEFINED}"
    if mode != "container" and not mode.startswith(SHARED):
        return
    yield mode in ("container", SHARED), "invalid network mode: invalid container format container:<name|id>"
    yield bool(config.hostname), "conflicting options: hostname and the network mode"
    yield bool(host.links), f"conflicting options: container type network can't be used with links. {_UNDEFINED}"
    yield bool(host.dns), "conflicting options: dns and the network mode"
    yield bool(host.extra_hosts), "conflicting options: custom host-to-IP mapping and the network mode"
    publishes = bool(host.port_bindings or host.publish_all_ports)
    yield publishes, "conflicting options: port publishing and the container type network mode"
    exposes = bool(config.exposed_ports)
    yield exposes, "conflicting options: port exposing and the container type network mode"


def _rules(config: ContainerConfig, host: HostConfig) -> Iterator[tuple[bool, str]]:
    ipc, pid = host.ipc_mode, host.pid_mode
    yield host.uts_mode == HOST and bool(config.hostname), "conflicting options: hostname and the UTS mode"
    yield ipc not in _IPC and not ipc.startswith(SHARED), f"invalid IPC mode: {ipc}"
    joins_pid = pid.startswith(SHARED) and pid != SHARED
    yield pid not in ("", HOST) and not joins_pid, f"invalid PID mode: {pid}"
    yield host.uts_mode not in ("", HOST), f"invalid UTS mode: {host.uts_mode}"
    yield host.cgroupns_mode not in ("", HOST, "private"), f"invalid cgroup namespace mode: {host.cgroupns_mode}"
