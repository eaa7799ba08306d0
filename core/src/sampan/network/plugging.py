"""The calls to a driver for an endpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sampan.drivers import Attachment, Endpoint, NetworkDriver, PublishedPort, Sandbox
from sampan.errdefs import SampanError, SystemFailure
from sampan.network.records import EndpointRecord, NetworkRecord

_log = logging.getLogger(__name__)


def for_driver(endpoint: EndpointRecord, network: NetworkRecord) -> Endpoint:
    """An endpoint as its driver sees it."""
    return Endpoint(
        endpoint.id,
        network.for_driver(),
        endpoint.ifname,
        endpoint.addresses,
        endpoint.mac or None,
        endpoint.gateway_v4 if endpoint.carries_gateway else None,
        endpoint.gateway_v6 if endpoint.carries_gateway else None,
        endpoint.options,
    )


def remove_endpoint(driver: NetworkDriver, endpoint: Endpoint) -> None:
    """Undo everything that a driver did for an endpoint; failures are only logged."""
    for failure in (*try_step(driver.unpublish, endpoint), *try_step(driver.detach, endpoint)):
        _log.error("left over: %s", failure)


def attach_and_publish(
    driver: NetworkDriver, endpoint: Endpoint, sandbox: Sandbox, ports: tuple[PublishedPort, ...]
) -> Attachment:
    """Attach an endpoint and publish its ports; if the latter fails, the caller must undo the former."""
    made = driver.attach(endpoint, sandbox)
    if ports:
        driver.publish(endpoint, ports)
    return made


def try_step(step: Callable[[Endpoint], None], endpoint: Endpoint) -> list[str]:
    """Do one step of a teardown; returns what went wrong, so that later steps are done too."""
    try:
        step(endpoint)
    except Exception as error:  # drivers are third-party code and may raise anything
        return [str(error) or type(error).__name__]
    return []


def port_failure(endpoint: EndpointRecord, error: SampanError) -> SystemFailure:
    """Docker's error for a port that can't be published."""
    return SystemFailure(
        "driver failed programming external connectivity on endpoint "
        f"{endpoint.container_name} ({endpoint.id}): {error}"
    )
