"""The jobs of networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.daemon import filters
from sampan.daemon.clock import rfc3339
from sampan.engine import Job
from sampan.models import IPAM, InspectNetwork, IPAMConfig, ListNetworks, NetworkContainer, NetworkInspect
from sampan.network.records import NetworkRecord

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_PREDEFINED = frozenset({"bridge", "host", "none"})


async def network_list(daemon: Daemon, job: Job[ListNetworks]) -> list[NetworkInspect]:
    """The networks that the filters let through, without their containers."""
    wanted = filters.checked(job.request.filters, _FILTERS)
    return [_network(daemon, record) for record in daemon.networks.list() if _is_wanted(daemon, wanted, record)]


async def network_inspect(daemon: Daemon, job: Job[InspectNetwork]) -> NetworkInspect:
    """One network, with the containers attached to it."""
    record = daemon.networks.get(job.request.name)
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
        and filters.equals(wanted, "type", "builtin" if record.name in _PREDEFINED else "custom")
        and filters.matches_labels(wanted, record.labels)
        and filters.is_true(wanted, "dangling", not used and record.name not in _PREDEFINED)
    )


def _network(daemon: Daemon, record: NetworkRecord) -> NetworkInspect:
    return NetworkInspect(
        name=record.name,
        id=record.id,
        created=rfc3339(record.created_ns),
        scope="local",
        driver=record.driver,
        enable_ipv4=True,
        enable_ipv6=record.ipv6,
        ipam=IPAM(
            driver="default",
            options=None,
            config=[
                IPAMConfig(subnet=str(pool.subnet), gateway=str(pool.gateway), ip_range=str(pool.ip_range or ""))
                for pool in record.pools
            ],
        ),
        internal=record.internal,
        attachable=record.attachable,
        ingress=False,
        config_only=False,
        containers={},
        options=dict(record.options),
        labels=dict(record.labels),
    )
