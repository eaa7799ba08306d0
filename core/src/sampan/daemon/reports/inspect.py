"""container_inspect: everything known about a container, in Docker's format."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from typing import TYPE_CHECKING

from sampan.daemon.clock import rfc3339
from sampan.daemon.container import Container, HealthState, Record, Status
from sampan.daemon.networks import links
from sampan.daemon.settings.log_options import is_kept
from sampan.daemon.settings.security import SecurityOptions
from sampan.drivers import PublishedPort
from sampan.engine import Job
from sampan.errdefs import NotFound
from sampan.models import (
    ContainerInspect,
    ContainerState,
    DriverData,
    EndpointSettings,
    Health,
    HealthcheckResult,
    InspectContainer,
    NetworkSettings,
    PortBinding,
    PortSummary,
)
from sampan.network.records import PREDEFINED, EndpointRecord
from sampan.runtime import apparmor

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_inspect(daemon: Daemon, job: Job[InspectContainer]) -> ContainerInspect:
    """One container, with its sizes on disk if asked for."""
    container = daemon.containers.get(job.request.name)
    answer = _inspect(daemon, container)
    if job.request.size:
        answer.size_rw, answer.size_root_fs = await sizes(daemon, container)
    return answer


async def sizes(daemon: Daemon, container: Container) -> tuple[int, int]:
    """The bytes of the writable layer, and of that and the image together."""
    usage = await asyncio.to_thread(daemon.storage.usage, container.id)
    written = usage.size_bytes if usage.inodes > 1 else 0  # an untouched layer is one empty directory
    try:
        image_bytes = daemon.images.get(container.record.image_id).size_bytes
    except NotFound:  # removed by force
        image_bytes = 0
    return written, written + image_bytes


def networks(daemon: Daemon, container: Container) -> dict[str, EndpointSettings]:
    """The container's networks by name: what it asked for and, while it runs, what it got."""
    asked = container.record.networks
    endpoints = {endpoint.network_name: endpoint for endpoint in daemon.networks.endpoints(container.id)}
    return {name: _endpoint(daemon, name, settings, endpoints.get(name)) for name, settings in asked.items()}


def ports(daemon: Daemon, container: Container) -> list[PublishedPort]:
    """The host ports currently published for the container."""
    endpoints = daemon.networks.endpoints(container.id)
    return [port for endpoint in endpoints for port in endpoint.ports if port.host_port]


def port_summaries(daemon: Daemon, container: Container) -> list[PortSummary]:
    """The ports as shown in a list: published ones, and those that are only exposed."""
    published = ports(daemon, container)
    answer = [
        PortSummary(
            ip=str(port.host_ip), private_port=port.container_port, public_port=port.host_port, type=port.protocol
        )
        for port in published
    ]
    known = {f"{port.container_port}/{port.protocol}" for port in published}
    for spec in sorted(_exposed(daemon, container) - known):
        number, _, protocol = spec.partition("/")
        answer.append(PortSummary(private_port=int(number), type=protocol or "tcp"))
    return answer


def _exposed(daemon: Daemon, container: Container) -> Set[str]:
    """The ports that the container exposes.

    As in Docker, these are none if none could be published: when it is at rest, or has no network with host ports.
    """
    leading = [
        endpoint.network_id for endpoint in daemon.networks.endpoints(container.id) if endpoint.carries_gateway
    ]
    if not leading or daemon.networks.is_underlay(daemon.networks.get(leading[0])):
        return frozenset()
    return (container.record.config.exposed_ports or {}).keys()


def _path_of_file(container: Container, name: str) -> str:
    """The path of its hostname, hosts or resolv.conf file; empty before the first start."""
    return str(container.dir / name) if container.state.started_at_ns else ""


def _inspect(daemon: Daemon, container: Container) -> ContainerInspect:
    record = container.record
    return ContainerInspect(
        id=record.id,
        created=rfc3339(record.created_at_ns),
        path=record.args[0],
        args=record.args[1:],
        state=_state(container),
        image=record.image_id,
        resolv_conf_path=_path_of_file(container, "resolv.conf"),
        hostname_path=_path_of_file(container, "hostname"),
        hosts_path=_path_of_file(container, "hosts"),
        log_path=_log_path(container),
        name=f"/{record.name}",
        restart_count=record.state.restart_count,
        driver=daemon.settings.storage_driver,
        platform="linux",
        mount_label="",
        process_label="",
        app_armor_profile=_apparmor_profile(record),
        exec_ids=daemon.execs.of(container) or None,
        host_config=links.shown(daemon, container),
        graph_driver=DriverData(name=daemon.settings.storage_driver, data=None),
        mounts=list(record.mounts),
        config=record.config,
        network_settings=_network_settings(daemon, container),
        warnings=list(record.unenforced) or None,
    )


def _apparmor_profile(record: Record) -> str:
    return SecurityOptions(record.host_config.security_opt or ()).apparmor if apparmor.supported() else ""


def _log_path(container: Container) -> str:
    """The path of its log; empty before the first start, or if the output is not stored."""
    kept = is_kept(container.record.host_config.log_config) and container.state.started_at_ns
    return str(container.log.path) if kept else ""


def _state(container: Container) -> ContainerState:
    state = container.state
    return ContainerState(
        status=state.status.value,
        running=container.active,
        paused=state.status is Status.PAUSED,
        restarting=state.status is Status.RESTARTING,
        oom_killed=state.oom_killed,
        dead=state.status is Status.DEAD,
        pid=state.pid,
        exit_code=state.exit_code,
        error=state.error,
        started_at=rfc3339(state.started_at_ns),
        finished_at=rfc3339(state.finished_at_ns),
        health=_health(state.health),
    )


def _health(state: HealthState | None) -> Health | None:
    if state is None:
        return None
    log = [
        HealthcheckResult(
            start=rfc3339(one.start_ns), end=rfc3339(one.end_ns), exit_code=one.exit_code, output=one.output
        )
        for one in state.log
    ]
    return Health(status=state.status, failing_streak=state.failing_streak, log=log)


def _network_settings(daemon: Daemon, container: Container) -> NetworkSettings:
    bindings: dict[str, list[PortBinding] | None] = dict.fromkeys(_exposed(daemon, container))
    for port in ports(daemon, container):
        binding = PortBinding(host_ip=str(port.host_ip), host_port=str(port.host_port))
        known = bindings.get(f"{port.container_port}/{port.protocol}") or []
        bindings[f"{port.container_port}/{port.protocol}"] = [*known, binding]
    return NetworkSettings(
        sandbox_id=container.id if container.running else "",
        sandbox_key=f"/proc/{container.state.pid}/ns/net" if container.running else "",
        ports=bindings,
        networks=networks(daemon, container),
    )


def _endpoint(
    daemon: Daemon, name: str, asked: EndpointSettings, endpoint: EndpointRecord | None
) -> EndpointSettings:
    try:
        network_id = daemon.networks.get(name).id
    except NotFound:  # removed while the container was at rest
        network_id = asked.network_id or ""
    settings = asked.model_copy(update={"network_id": network_id})
    if endpoint is None:
        return settings
    settings.endpoint_id = endpoint.id
    settings.mac_address = endpoint.mac
    if name not in PREDEFINED:
        settings.dns_names = list(endpoint.names)
    settings.gateway = str(endpoint.gateway_v4 or "")
    settings.ipv6_gateway = str(endpoint.gateway_v6 or "")
    if endpoint.ipv4:
        settings.ip_address, settings.ip_prefix_len = str(endpoint.ipv4.ip), endpoint.ipv4.network.prefixlen
    if endpoint.ipv6:
        settings.global_ipv6_address = str(endpoint.ipv6.ip)
        settings.global_ipv6_prefix_len = endpoint.ipv6.network.prefixlen
    return settings
