"""Legacy links: names in a container's hosts file for other containers on the default bridge.

Source of rules and messages: moby daemon/daemon_unix.go (registerLinks), container_operations_unix.go
(addLegacyLinks, setupLinkedContainers), delete.go (rmLink). As in Docker since 29, a link sets no environment
variables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.daemon.settings.namespaces import BRIDGE, HOST, SHARED
from sampan.errdefs import Conflict, InvalidArgument, NotFound
from sampan.models import HostConfig

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

WARNING = (
    "Links on the default bridge network are deprecated and will be removed in a future release. "
    "Use a custom network instead."
)
_PREDEFINED = frozenset({"", "default", BRIDGE, HOST, "none"})


def parse_link(text: str) -> tuple[str, str]:
    """Name and alias of `NAME[:ALIAS]`, or of `/NAME:/PARENT/ALIAS` as in inspect. Raises `InvalidArgument`."""
    if not text:
        raise InvalidArgument("empty string specified for links")
    name, colon, alias = text.partition(":")
    if ":" in alias:
        raise InvalidArgument(f"bad format for links: {text}")
    return name.removeprefix("/"), alias.rpartition("/")[2] if colon else name


def resolve(daemon: Daemon, host: HostConfig) -> dict[str, str]:
    """The IDs of the linked containers, by alias. Raises `InvalidArgument` with Docker's message."""
    if host.network_mode not in _PREDEFINED:
        return {}
    return {alias: _linked(daemon, name) for name, alias in map(parse_link, host.links or ())}


def shown(daemon: Daemon, container: Container) -> HostConfig:
    """The container's host configuration with its links as shown by inspect, with current names."""
    record = container.record
    links = [f"/{child.record.name}:/{record.name}/{alias}" for alias, child in _children(daemon, container)]
    return record.host_config.model_copy(update={"links": links or None})


def names(daemon: Daemon) -> Mapping[str, Sequence[str]]:
    """The names that containers have through links to them, by container."""
    found: dict[str, list[str]] = defaultdict(list)
    for parent in daemon.containers:
        for alias, id in parent.record.links.items():
            found[id].append(f"/{parent.record.name}/{alias}")
    return found


def entries(daemon: Daemon, container: Container) -> list[tuple[str, str]]:
    """The lines for the hosts file: an address, and the alias, host name and name of the container that has it."""
    lines = []
    for alias, child in _children(daemon, container):
        known_as = dict.fromkeys((alias, child.record.config.hostname, child.record.name))
        for endpoint in daemon.networks.endpoints(child.id):
            if endpoint.network_name == BRIDGE:
                lines += [(str(address.ip), " ".join(filter(None, known_as))) for address in endpoint.addresses]
    return lines


def check_running(daemon: Daemon, container: Container) -> None:
    """Raise `Conflict` with Docker's message unless all linked containers are running on the default bridge."""
    name = container.record.name
    for alias, id in container.record.links.items():
        child = daemon.containers.find(id)
        if child is None or not child.running:
            gone = child.record.name if child else id
            raise Conflict(f"Cannot link to a non running container: /{gone} AS /{name}/{alias}")
        if BRIDGE not in child.record.networks:
            raise Conflict(f"container {child.id} not attached to default bridge network")


async def unlink(daemon: Daemon, name: str) -> Container:
    """Remove the link `PARENT/ALIAS`, and return the parent. Raises `NotFound`, `Conflict` with Docker's message."""
    parent_name, _, alias = name.strip("/").partition("/")
    if not alias:
        raise Conflict("Conflict, cannot remove the default link name of the container")
    parent = daemon.containers.find(parent_name)
    if parent is None or alias not in parent.record.links:
        raise NotFound(f"No such container: {name}")
    del parent.record.links[alias]
    await daemon.containers.save(parent)
    return parent


def _children(daemon: Daemon, container: Container) -> Iterator[tuple[str, Container]]:
    for alias, id in container.record.links.items():
        if child := daemon.containers.find(id):
            yield alias, child


def _linked(daemon: Daemon, name: str) -> str:
    """The ID of a linked container, or of the one whose network it shares.

    A missing container is not a `NotFound`, which the docker command takes for the image.
    """
    while True:
        try:
            child = daemon.containers.get(name)
        except NotFound as error:
            raise InvalidArgument(f"could not get container for {name}: {error}") from None
        mode = child.record.host_config.network_mode
        if mode == HOST:
            raise InvalidArgument(
                "conflicting options: host type networking can't be used with links. "
                "This would result in undefined behavior"
            )
        if not mode.startswith(SHARED):
            return child.id
        name = mode.removeprefix(SHARED)
