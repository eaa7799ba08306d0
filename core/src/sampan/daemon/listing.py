"""container_list."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sampan.daemon import filters, inspect
from sampan.daemon.clock import human_duration
from sampan.daemon.container import Container, Status
from sampan.engine import Job
from sampan.errdefs import NotFound
from sampan.models import (
    ContainerSummary,
    ListContainers,
    PortSummary,
    SummaryHostConfig,
    SummaryNetworkSettings,
)

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_FILTERS = frozenset(
    {
        "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network",
        "publish", "since", "status", "volume",
    }
)  # fmt: skip


async def container_list(daemon: Daemon, job: Job[ListContainers]) -> list[ContainerSummary]:
    """The containers that the filters let through, newest first; only running ones unless asked for others."""
    request = job.request
    wanted = filters.checked(request.filters, _FILTERS)
    everything = request.all or request.limit > 0 or "status" in wanted or "exited" in wanted
    containers = sorted(daemon.containers, key=lambda container: container.record.created_at_ns, reverse=True)
    found = [one for one in containers if (everything or one.active) and _is_wanted(daemon, wanted, one)]
    summaries = [summary(daemon, container) for container in (found[: request.limit] if request.limit > 0 else found)]
    if request.size:
        for answer in summaries:
            answer.size_rw, answer.size_root_fs = await inspect.sizes(daemon, daemon.containers.get(answer.id))
    return summaries


def summary(daemon: Daemon, container: Container) -> ContainerSummary:
    """One line of `docker ps`."""
    record = container.record
    return ContainerSummary(
        id=record.id,
        names=[f"/{record.name}"],
        image=record.image_name,
        image_id=record.image_id,
        command=" ".join(_quoted(arg) for arg in record.args),
        created=record.created_at_ns // 1_000_000_000,
        ports=_ports(daemon, container),
        labels=record.config.labels or {},
        state=record.state.status.value,
        status=status_text(container),
        host_config=SummaryHostConfig(network_mode=record.host_config.network_mode or "default"),
        network_settings=SummaryNetworkSettings(networks=inspect.networks(daemon, container)),
        mounts=record.mounts,
    )


def status_text(container: Container) -> str:
    """`Up 2 minutes`, `Exited (0) 3 hours ago`… Source: moby daemon/container/state.go, String."""
    state, now = container.state, time.time()
    since = human_duration(now - state.started_at_ns / 1e9)
    ended = human_duration(now - state.finished_at_ns / 1e9)
    return {
        Status.RUNNING: f"Up {since}",
        Status.PAUSED: f"Up {since} (Paused)",
        Status.RESTARTING: f"Restarting ({state.exit_code}) {ended} ago",
        Status.CREATED: "Created",
        Status.REMOVING: "Removal In Progress",
        Status.DEAD: "Dead",
        Status.EXITED: f"Exited ({state.exit_code}) {ended} ago",
    }[state.status]


def _ports(daemon: Daemon, container: Container) -> list[PortSummary]:
    published = inspect.ports(daemon, container)
    answer = [
        PortSummary(
            ip=str(port.host_ip), private_port=port.container_port, public_port=port.host_port, type=port.protocol
        )
        for port in published
    ]
    if container.running:
        known = {f"{port.container_port}/{port.protocol}" for port in published}
        for spec in sorted((container.record.config.exposed_ports or {}).keys() - known):
            number, _, protocol = spec.partition("/")
            answer.append(PortSummary(private_port=int(number), type=protocol or "tcp"))
    return answer


def _quoted(arg: str) -> str:
    return f"'{arg}'" if " " in arg else arg


def _is_wanted(daemon: Daemon, wanted: filters.Filters, container: Container) -> bool:
    record = container.record
    mounts = [text for point in record.mounts for text in (point.name, point.source, point.destination) if text]
    return (
        filters.starts(wanted, "id", record.id)
        and filters.matches_name(wanted, record.name)
        and filters.equals(wanted, "status", record.state.status.value)
        and filters.matches_labels(wanted, record.config.labels)
        and ("exited" not in wanted or _has_exited(wanted, container))
        and filters.equals(wanted, "volume", *mounts)
        and filters.equals(wanted, "network", *_network_names(daemon, container))
        and filters.equals(wanted, "health", "none")
        and filters.is_true(wanted, "is-task", False)
        and ("ancestor" not in wanted or _descends(daemon, wanted, container))
        and _is_between(daemon, wanted, container)
        and _has_port(wanted, "expose", list(record.config.exposed_ports or {}))
        and _has_port(wanted, "publish", list(record.host_config.port_bindings or {}))
    )


def _has_exited(wanted: filters.Filters, container: Container) -> bool:
    return container.state.status is Status.EXITED and container.state.exit_code in filters.integers(wanted, "exited")


def _network_names(daemon: Daemon, container: Container) -> list[str]:
    return [
        text
        for name, settings in inspect.networks(daemon, container).items()
        for text in (name, settings.network_id or "")
    ]


def _descends(daemon: Daemon, wanted: filters.Filters, container: Container) -> bool:
    return container.record.image_id in {_image_id(daemon, name) for name in wanted["ancestor"]}


def _image_id(daemon: Daemon, name: str) -> str | None:
    try:
        return daemon.images.get(name).id
    except NotFound:
        return None


def _is_between(daemon: Daemon, wanted: filters.Filters, container: Container) -> bool:
    created = container.record.created_at_ns
    before = [daemon.containers.get(name).record.created_at_ns for name in wanted.get("before", ())]
    since = [daemon.containers.get(name).record.created_at_ns for name in wanted.get("since", ())]
    return all(created < limit for limit in before) and all(created > limit for limit in since)


def _has_port(wanted: filters.Filters, name: str, specs: list[str]) -> bool:
    asked = [text if "/" in text else f"{text}/tcp" for text in wanted.get(name, ())]
    return name not in wanted or any(spec in asked for spec in specs)
