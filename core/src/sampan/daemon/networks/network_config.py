"""Configuration-only networks, from which other networks are created.

Source of rules and messages: moby daemon/libnetwork/network.go (validateConfiguration, applyConfigurationTo) and
controller.go (getConfigNetwork).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.errdefs import Forbidden, NotFound
from sampan.models import IPAM, CreateNetwork
from sampan.network.records import NetworkRecord

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


def check(request: CreateNetwork) -> None:
    """Raise `Forbidden` for settings that a configuration, or a network created from one, can't have."""
    if request.config_only:
        _check_only(request)
    elif source_of(request):
        _check_from(request)


def source_of(request: CreateNetwork) -> str:
    """The name of the configuration that the network is created from; empty if there is none."""
    return request.config_from.network if request.config_from else ""


def get(daemon: Daemon, name: str) -> NetworkRecord:
    """The configuration with exactly that name. Raises `NotFound`."""
    record = daemon.networks.named(name)
    if record is None or not record.config_only:
        raise NotFound(f'configuration network "{name}" does not exist')
    return record


def _check_only(request: CreateNetwork) -> None:
    if request.ingress or request.internal or request.attachable or request.scope:
        raise Forbidden(
            "configuration network can only contain network specific fields. Network operator fields like "
            "[ ingress | internal | attachable | scope ] are not supported."
        )
    if source_of(request):
        raise Forbidden("a configuration network cannot depend on another configuration network")


def _check_from(request: CreateNetwork) -> None:
    ipam = request.ipam or IPAM()
    if request.enable_ipv6 or request.labels or ipam.driver not in ("", "default") or ipam.options or ipam.config:
        raise Forbidden(
            "user specified configurations are not supported if the network depends on a configuration network"
        )
    if request.options:
        raise Forbidden("network driver options are not supported if the network depends on a configuration network")
