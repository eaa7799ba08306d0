"""container_list.

A list is asked for often and changes little, and making a summary costs more than all else of it: so each container's
last one is kept together with the facts that it was made of, and made anew when one of them is another.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from sampan.daemon import filters, inspect, links
from sampan.daemon.clock import human_duration
from sampan.daemon.container import Container, Status
from sampan.engine import Job
from sampan.errdefs import NotFound
from sampan.models import (
    ContainerSummary,
    EndpointSettings,
    ListContainers,
    PortSummary,
    SummaryHostConfig,
    SummaryNetworkSettings,
)
from sampan.network.records import EndpointRecord

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
    return await summaries(daemon, job.request)


async def summaries(daemon: Daemon, request: ListContainers) -> list[ContainerSummary]:
    """As container_list, for other jobs."""
    wanted = filters.checked(request.filters, _FILTERS)
    everything = request.all or request.limit > 0 or "status" in wanted or "exited" in wanted
    containers = sorted(daemon.containers, key=lambda container: container.record.created_at_ns, reverse=True)
    found = [
        one for one in containers if (everything or one.active) and (not wanted or _is_wanted(daemon, wanted, one))
    ]
    if request.limit > 0:
        del found[request.limit :]
    attachments = _attachments(daemon)
    answers = [_summary(daemon, container, attachments) for container in found]
    if request.size:
        return [await _with_sizes(daemon, one, answer) for one, answer in zip(found, answers, strict=True)]
    return answers


class _Attachments(NamedTuple):
    """The networks' IDs by name, and the endpoints by container."""

    network_ids: Mapping[str, str]
    endpoints: Mapping[str, Sequence[EndpointRecord]]


class _Facts(NamedTuple):
    """All that can change of a container and shows in its summary, but for the text that tells how long it is so."""

    name: str
    status: Status
    networks: Sequence[tuple[str, EndpointSettings, str | None]]
    endpoints: Sequence[EndpointRecord]


_made: WeakKeyDictionary[Container, tuple[_Facts, ContainerSummary]] = WeakKeyDictionary()


def _attachments(daemon: Daemon) -> _Attachments:
    endpoints: dict[str, list[EndpointRecord]] = defaultdict(list)
    networks = daemon.networks.list()
    for network in networks:
        for endpoint in daemon.networks.endpoints_of(network):
            endpoints[endpoint.container_id].append(endpoint)
    return _Attachments({network.name: network.id for network in networks}, endpoints)


def _summary(daemon: Daemon, container: Container, attachments: _Attachments) -> ContainerSummary:
    """One line of `docker ps`, made or kept. Nobody changes it: what is kept is what others are sending."""
    facts, status = _facts(container, attachments), status_text(container)
    known = _made.get(container)
    if known and known[0] == facts:
        answer = known[1]
        if answer.status == status:
            return answer
        answer = answer.model_copy(update={"status": status})
    else:
        answer = _make(daemon, container, status)
    _made[container] = facts, answer
    return answer


def _facts(container: Container, attachments: _Attachments) -> _Facts:
    record = container.record
    networks = [(name, asked, attachments.network_ids.get(name)) for name, asked in record.networks.items()]
    return _Facts(record.name, record.state.status, networks, attachments.endpoints.get(record.id, ()))


def _make(daemon: Daemon, container: Container, status: str) -> ContainerSummary:
    record = container.record
    return ContainerSummary(
        id=record.id,
        names=[f"/{record.name}", *links.names(daemon, container)],
        image=record.image_name,
        image_id=record.image_id,
        command=" ".join(_quoted(arg) for arg in record.args),
        created=record.created_at_ns // 1_000_000_000,
        ports=_ports(daemon, container),
        labels=record.config.labels or {},
        state=record.state.status.value,
        status=status,
        host_config=SummaryHostConfig(network_mode=record.host_config.network_mode or "default"),
        network_settings=SummaryNetworkSettings(networks=inspect.networks(daemon, container)),
        mounts=list(record.mounts),
    )


async def _with_sizes(daemon: Daemon, container: Container, answer: ContainerSummary) -> ContainerSummary:
    size_rw, size_root_fs = await inspect.sizes(daemon, container)
    return answer.model_copy(update={"size_rw": size_rw, "size_root_fs": size_root_fs})


def status_text(container: Container) -> str:
    """`Up 2 minutes`, `Exited (0) 3 hours ago`… Source: moby daemon/container/state.go, String."""
    state = container.state
    match state.status:
        case Status.RUNNING:
            text = f"Up {_since(state.started_at_ns)}"
        case Status.PAUSED:
            text = f"Up {_since(state.started_at_ns)} (Paused)"
        case Status.RESTARTING:
            text = f"Restarting ({state.exit_code}) {_since(state.finished_at_ns)} ago"
        case Status.EXITED:
            text = f"Exited ({state.exit_code}) {_since(state.finished_at_ns)} ago"
        case Status.CREATED:
            text = "Created"
        case Status.REMOVING:
            text = "Removal In Progress"
        case Status.DEAD:
            text = "Dead"
    return text


def _since(moment_ns: int) -> str:
    return human_duration(time.time() - moment_ns / 1e9)


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
