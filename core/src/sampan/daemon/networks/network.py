"""The jobs for networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sampan.daemon import filters
from sampan.daemon.clock import rfc3339
from sampan.daemon.networks import network_config
from sampan.daemon.networks.pools import address_pools
from sampan.engine import Job
from sampan.errdefs import Forbidden, InvalidArgument, NotFound
from sampan.go_text import parse_bool
from sampan.models import (
    IPAM,
    ConfigReference,
    CreateNetwork,
    InspectNetwork,
    IPAMConfig,
    ListNetworks,
    NetworkContainer,
    NetworkCreated,
    NetworkInspect,
    RemoveNetwork,
)
from sampan.network.records import HOST_DRIVER, NULL_DRIVER, PREDEFINED, AddressPool, NetworkRecord

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_DEFAULT_DRIVER = "bridge"
_ENABLE = {4: "com.docker.network.enable_ipv4", 6: "com.docker.network.enable_ipv6"}


async def network_create(daemon: Daemon, job: Job[CreateNetwork]) -> NetworkCreated:
    """Create a network. What belongs to a swarm is refused with Docker's message (moby libnetwork/controller.go)."""
    request = job.request
    _refuse_foreign(request)
    network_config.check(request)
    driver = NULL_DRIVER if request.config_only else request.driver or _DEFAULT_DRIVER
    wanted = NetworkRecord.new(
        request.name,
        driver,
        internal=request.internal,
        attachable=request.attachable,
        config_only=request.config_only,
    )
    if source := network_config.source_of(request):
        wanted = wanted.configured_by(network_config.get(daemon, source))
    else:
        wanted = _configured(wanted, request)
    record = await daemon.networks.create_network(wanted)
    _publish(daemon, "create", record)
    return NetworkCreated(id=record.id)


def _configured(record: NetworkRecord, request: CreateNetwork) -> NetworkRecord:
    """The network with the pools, options and labels of the request. Raises `InvalidArgument`."""
    options = dict(request.options or {})
    versions = _versions(request, options)
    if not versions:
        raise InvalidArgument("IPv4 or IPv6 must be enabled")
    ipam = request.ipam or IPAM()
    return replace(
        record,
        pools=tuple(address_pools(ipam, versions)),
        ipv4=4 in versions,
        ipv6=6 in versions,
        options=options,
        ipam_options=ipam.options or {},
        labels=request.labels or {},
    )


async def network_remove(daemon: Daemon, job: Job[RemoveNetwork]) -> None:
    """Remove a network that no running container is on."""
    await remove(daemon, daemon.networks.get(job.request.name))


async def remove(daemon: Daemon, record: NetworkRecord) -> None:
    """Remove a network. Raises `Forbidden` if it is predefined, or in use by containers or as a configuration."""
    await daemon.networks.remove_network(record)
    _publish(daemon, "destroy", record)


async def network_list(daemon: Daemon, job: Job[ListNetworks]) -> list[NetworkInspect]:
    """The networks that match the filters, without their containers."""
    wanted = filters.checked(job.request.filters, _FILTERS)
    return [_network(daemon, record) for record in daemon.networks.list() if _is_wanted(daemon, wanted, record)]


async def network_inspect(daemon: Daemon, job: Job[InspectNetwork]) -> NetworkInspect:
    """One network, with the containers attached to it."""
    record = daemon.networks.get(job.request.name)
    if job.request.scope not in ("", "local"):
        raise NotFound(f"network {job.request.name} not found")
    answer = _network(daemon, record)
    answer.containers = {
        endpoint.container_id: NetworkContainer(
            name=endpoint.container_name,
            endpoint_id=endpoint.id,
            mac_address=endpoint.mac,
            ipv4_address=str(endpoint.ipv4 or ""),
            ipv6_address=str(endpoint.ipv6 or ""),
        )
        for endpoint in daemon.networks.endpoints_of(record)
    }
    return answer


def _is_wanted(daemon: Daemon, wanted: filters.Filters, record: NetworkRecord) -> bool:
    used = bool(daemon.networks.endpoints_of(record))
    return (
        filters.contains(wanted, "name", record.name)
        and filters.starts(wanted, "id", record.id)
        and filters.equals(wanted, "driver", record.driver)
        and filters.equals(wanted, "scope", "local")
        and filters.equals(wanted, "type", "custom" if record.user_defined else "builtin")
        and filters.matches_labels(wanted, record.labels)
        and filters.is_true(wanted, "dangling", not used and record.user_defined)
    )


def _network(daemon: Daemon, record: NetworkRecord) -> NetworkInspect:
    return NetworkInspect(
        name=record.name,
        id=record.id,
        created=rfc3339(record.created_ns),
        scope="local",
        driver=record.driver,
        enable_ipv4=record.ipv4,
        enable_ipv6=record.ipv6,
        ipam=IPAM(
            driver="default",
            options=dict(record.ipam_options) or None,
            config=[_pool(pool) for pool in record.pools],
        ),
        internal=record.internal,
        attachable=record.attachable,
        ingress=False,
        config_from=ConfigReference(network=record.config_from),
        config_only=record.config_only,
        containers={},
        options=dict(record.options),
        labels=dict(record.labels),
    )


def _pool(pool: AddressPool) -> IPAMConfig:
    return IPAMConfig(
        subnet=str(pool.subnet),
        gateway=str(pool.gateway),
        ip_range=str(pool.ip_range or ""),
        auxiliary_addresses={name: str(address) for name, address in pool.reserved.items()} or None,
    )


def _refuse_foreign(request: CreateNetwork) -> None:
    if request.name in PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {request.name} network ")
    if not request.name.strip():
        raise InvalidArgument("invalid name: name is empty")
    if request.driver in (HOST_DRIVER, NULL_DRIVER):
        raise Forbidden(f'only one instance of "{request.driver}" network is allowed')
    if request.driver == "overlay":
        raise Forbidden(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
            "to swarm and try again."
        )
    if request.ingress:
        raise Forbidden("Ingress network can only be global scope network")
    if request.scope not in ("", "local"):
        raise Forbidden("cannot create a swarm scoped network when swarm is not active")


def _versions(request: CreateNetwork, options: dict[str, str]) -> set[int]:
    """The IP versions that the network should have; fields of the request take precedence over equivalent options."""
    fields = {4: request.enable_ipv4, 6: request.enable_ipv6}
    for version, asked in fields.items():
        if asked is not None:
            options.pop(_ENABLE[version], None)
    return {version for version, asked in fields.items() if _is_enabled(version, asked, options)}


def _is_enabled(version: int, asked: bool | None, options: Mapping[str, str]) -> bool:
    if asked is not None:
        return asked
    if (text := options.get(_ENABLE[version])) is None:
        return version == 4
    try:
        return parse_bool(text)
    except ValueError:
        raise InvalidArgument(f'driver-opt "{_ENABLE[version]}" is not a valid bool') from None


def _publish(daemon: Daemon, action: str, record: NetworkRecord) -> None:
    daemon.events.publish("network", action, record.id, {"name": record.name, "type": record.driver})
