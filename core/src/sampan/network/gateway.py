"""Chooses which of a container's networks carries the default routes and the published ports.

Among those with a gateway, it is the one with the highest priority, and among equals the first by name
(docs.docker.com/engine/network, "How it works from the container's point of view").
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.network.records import EndpointRecord


def leads_out(endpoint: EndpointRecord) -> bool:
    """Whether the endpoint's network has a gateway."""
    return endpoint.gateway_v4 is not None or endpoint.gateway_v6 is not None


def rank(priority: int, network_name: str) -> tuple[int, str]:
    """A sort key; the lowest is the best."""
    return -priority, network_name


def is_better(one: EndpointRecord, other: EndpointRecord) -> bool:
    """Whether `one` should carry the default routes instead of `other`, which does now."""
    return leads_out(one) and _rank(one) < _rank(other)


def best(endpoints: Iterable[EndpointRecord]) -> EndpointRecord | None:
    """The endpoint that should carry the default routes, if any can."""
    return min(filter(leads_out, endpoints), key=_rank, default=None)


def carrier(endpoints: Iterable[EndpointRecord]) -> EndpointRecord | None:
    """The endpoint that carries the default routes now."""
    return next((endpoint for endpoint in endpoints if endpoint.carries_gateway), None)


def _rank(endpoint: EndpointRecord) -> tuple[int, str]:
    return rank(endpoint.gateway_priority, endpoint.network_name)
