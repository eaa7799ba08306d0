"""container_list.

Lists are requested often and change little, and creating the summaries is most of the work. So each container's last
summary is cached together with the facts that it shows, and created again when one of these has changed.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from sampan.daemon.clock import human_duration
from sampan.daemon.container import STARTING, Container, State, Status
from sampan.daemon.networks import links
from sampan.daemon.reports import inspect, selection
from sampan.engine import Job
from sampan.errdefs import InvalidArgument, NotFound
from sampan.models import (
    ContainerSummary,
    EndpointSettings,
    HealthSummary,
    ListContainers,
    SummaryHostConfig,
    SummaryNetworkSettings,
)
from sampan.network.records import EndpointRecord

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_list(daemon: Daemon, job: Job[ListContainers]) -> list[ContainerSummary]:
    """The containers that match the filters, newest first; only running ones unless others are asked for."""
    return await summaries(daemon, job.request)


async def summaries(daemon: Daemon, request: ListContainers) -> list[ContainerSummary]:
    """As container_list, for other jobs."""
    is_wanted = selection.select(daemon, request.filters)
    everything = request.all or request.limit > 0 or "status" in request.filters
    containers = sorted(daemon.containers, key=lambda container: container.record.created_at_ns, reverse=True)
    found = [one for one in containers if (everything or one.active) and is_wanted(one)]
    if request.limit > 0:
        del found[request.limit :]
    around = _surroundings(daemon, found)
    answers = [_summary(daemon, container, around) for container in found]
    if request.size:
        return [await _with_sizes(daemon, one, answer) for one, answer in zip(found, answers, strict=True)]
    return answers


class _Surroundings(NamedTuple):
    """What summaries show that is kept elsewhere; looked up for all containers at once, as there may be thousands."""

    image_names: Mapping[tuple[str, str], str]
    """By the name and ID at creation."""
    link_names: Mapping[str, Sequence[str]]
    """By container."""
    network_ids: Mapping[str, str]
    """By name."""
    endpoints: Mapping[str, Sequence[EndpointRecord]]
    """By container."""


def _surroundings(daemon: Daemon, containers: Iterable[Container]) -> _Surroundings:
    endpoints: dict[str, list[EndpointRecord]] = defaultdict(list)
    networks = daemon.networks.list()
    for network in networks:
        for endpoint in daemon.networks.endpoints_of(network):
            endpoints[endpoint.container_id].append(endpoint)
    return _Surroundings(
        image_names=_image_names(daemon, containers),
        link_names=links.names(daemon),
        network_ids={network.name: network.id for network in networks},
        endpoints=endpoints,
    )


def _image_names(daemon: Daemon, containers: Iterable[Container]) -> Mapping[tuple[str, str], str]:
    """What to call images now, by name and ID at creation: the ID if the name means another image by now."""
    pairs = {(one.record.image_name, one.record.image_id) for one in containers}
    return {(name, id): name if _means(daemon, name) == id else id for name, id in pairs}


def _means(daemon: Daemon, name: str) -> str | None:
    try:
        return daemon.images.get(name).id
    except (NotFound, InvalidArgument):
        return None


class _Facts(NamedTuple):
    """Everything shown in a summary that can change, except for the text with the duration."""

    names: Sequence[str]
    image: str
    status: Status
    health: HealthSummary
    networks: Sequence[tuple[str, EndpointSettings, str | None]]
    endpoints: Sequence[EndpointRecord]


_NO_CHECK = HealthSummary(status=selection.NO_CHECK)
_made: WeakKeyDictionary[Container, tuple[_Facts, ContainerSummary]] = WeakKeyDictionary()


def _summary(daemon: Daemon, container: Container, around: _Surroundings) -> ContainerSummary:
    """One line of `docker ps`, created or cached. It must not be changed: others may be sending the cached object."""
    facts, status = _facts(container, around), status_text(container)
    known = _made.get(container)
    if known and known[0] == facts:
        answer = known[1]
        if answer.status == status:
            return answer
        answer = answer.model_copy(update={"status": status})
    else:
        answer = _make(daemon, container, facts, status)
    _made[container] = facts, answer
    return answer


def _facts(container: Container, around: _Surroundings) -> _Facts:
    record = container.record
    names = [f"/{record.name}", *around.link_names.get(record.id, ())]
    image = around.image_names[record.image_name, record.image_id]
    networks = [(name, asked, around.network_ids.get(name)) for name, asked in record.networks.items()]
    endpoints = around.endpoints.get(record.id, ())
    return _Facts(names, image, record.state.status, health_of(container), networks, endpoints)


def _make(daemon: Daemon, container: Container, facts: _Facts, status: str) -> ContainerSummary:
    record = container.record
    return ContainerSummary(
        id=record.id,
        names=list(facts.names),
        image=facts.image,
        image_id=record.image_id,
        command=" ".join(_quoted(arg) for arg in record.args),
        created=record.created_at_ns // 1_000_000_000,
        ports=inspect.port_summaries(daemon, container),
        labels=record.config.labels or {},
        state=record.state.status.value,
        status=status,
        health=health_of(container),
        host_config=SummaryHostConfig(network_mode=record.host_config.network_mode or "default"),
        network_settings=SummaryNetworkSettings(networks=inspect.networks(daemon, container)),
        mounts=list(record.mounts),
    )


def health_of(container: Container) -> HealthSummary:
    """The health shown in a list: `none` without a health check."""
    state = container.state.health
    return HealthSummary(status=state.status, failing_streak=state.failing_streak) if state else _NO_CHECK


async def _with_sizes(daemon: Daemon, container: Container, answer: ContainerSummary) -> ContainerSummary:
    try:
        size_rw, size_root_fs = await inspect.sizes(daemon, container)
    except NotFound:  # its files are gone: it was removed in the meantime, or is dead
        return answer
    return answer.model_copy(update={"size_rw": size_rw, "size_root_fs": size_root_fs})


def status_text(container: Container) -> str:
    """`Up 2 minutes`, `Exited (0) 3 hours ago`… Source: moby daemon/container/state.go, String."""
    state = container.state
    match state.status:
        case Status.RUNNING:
            text = f"Up {_since(state.started_at_ns)}{_health_text(state)}"
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


def _health_text(state: State) -> str:
    if state.health is None:
        return ""
    return " (health: starting)" if state.health.status == STARTING else f" ({state.health.status})"


def _since(moment_ns: int) -> str:
    return human_duration(time.time() - moment_ns / 1e9)


def _quoted(arg: str) -> str:
    return f"'{arg}'" if " " in arg else arg
