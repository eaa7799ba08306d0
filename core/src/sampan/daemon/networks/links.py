"""Legacy links: names in a container's hosts file for other containers on the default bridge.

Source of rules and words: moby daemon/daemon_unix.go (registerLinks), container_operations_unix.go (addLegacyLinks,
setupLinkedContainers), delete.go (rmLink). As with Docker since 29 a link makes no environment variables.
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
    """`NAME[:ALIAS]`, or `/NAME:/PARENT/ALIAS` as inspect tells it: name and alias. Raises `InvalidArgument`."""
    if not text:
        raise InvalidArgument("empty string specified for links")
    name, colon, alias = text.partition(":")
    if ":" in alias:
        raise InvalidArgument(f"bad format for links: {text}")
    return name.removeprefix("/"), alias.rpartition("/")[2] if colon else name


def resolve(daemon: Daemon, host: HostConfig) -> dict[str, str]:
    """The ids of the containers that are linked to, by alias. Raises `InvalidArgument` in Docker's words."""
    if host.network_mode not in _PREDEFINED:
        return {}
    return {alias: _linked(daemon, name) for name, alias in map(parse_link, host.links or ())}


def shown(daemon: Daemon, container: Container) -> HostConfig:
    """The container's host configuration with its links as inspect tells them, by the names of now."""
    record = container.record
    links = [f"/{child.record.name}:/{record.name}/{alias}" for alias, child in _children(daemon, container)]
    return record.host_config.model_copy(update={"links": links or None})


def names(daemon: Daemon) -> Mapping[str, Sequence[str]]:
    """The names that containers have by links to them, by container."""
    found: dict[str, list[str]] = defaultdict(list)
    for parent in daemon.containers:
        for alias, id in parent.record.links.items():
            found[id].append(f"/{parent.record.name}/{alias}")
    return found


def entries(daemon: Daemon, container: Container) -> list[tuple[str, str]]:
    """The lines of the hosts file: an address, and alias, host name and name of the container that has it."""
    lines = []
    for alias, child in _children(daemon, container):
        known_as = dict.fromkeys((alias, child.record.config.hostname, child.record.name))
        for endpoint in daemon.networks.endpoints(child.id):
            if endpoint.network_name == BRIDGE:
                lines += [(str(address.ip), " ".join(filter(None, known_as))) for address in endpoint.addresses]
    return lines


def check_running(daemon: Daemon, container: Container) -> None:
    """Raise `Conflict` in Docker's words unless all that the container links to runs on the default bridge."""
    name = container.record.name
    for alias, id in container.record.links.items():
        child = daemon.containers.find(id)
        if child is None or not child.running:
            gone = child.record.name if child else id
            raise Conflict(f"Cannot link to a non running container: /{gone} AS /{name}/{alias}")
        if BRIDGE not in child.record.networks:
            raise Conflict(f"container {child.id} not attached to default bridge network")


async def unlink(daemon: Daemon, name: str) -> Container:
    """Take away the link `PARENT/ALIAS`, and answer the parent. Raises `NotFound`, `Conflict` in Docker's words."""
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
    """A container that shares another's network is that other one. What is missing is no `NotFound`, which to the
    docker command would mean the image."""
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
