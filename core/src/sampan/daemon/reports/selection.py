"""Selects the containers of a list by Docker's filters, each of them a test. Source: moby daemon/list.go."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from sampan.daemon import filters
from sampan.daemon.container import HEALTHY, STARTING, UNHEALTHY, Container, Status
from sampan.daemon.filters import Filters
from sampan.daemon.reports import inspect
from sampan.errdefs import InvalidArgument, NotFound
from sampan.images.image import Image

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

Test: TypeAlias = Callable[[Container], bool]
"""Whether a container is wanted."""

NO_CHECK = "none"
"""The health of a container that has no health check."""

_HEALTHS = (NO_CHECK, STARTING, HEALTHY, UNHEALTHY)
_PORT_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/([a-zA-Z]+))?")


def select(daemon: Daemon, asked: Mapping[str, list[str]]) -> Test:
    """A test that passes containers which match all filters. Raises `InvalidArgument` for an invalid filter."""
    wanted = filters.checked(asked, frozenset(_TESTS))
    tests = [_TESTS[name](daemon, wanted) for name in wanted]
    return lambda container: all(test(container) for test in tests)


def health_of(container: Container) -> str:
    """The health in Docker's terms."""
    return container.state.health.status if container.state.health else NO_CHECK


def _id(daemon: Daemon, wanted: Filters) -> Test:
    return lambda one: filters.starts(wanted, "id", one.id)


def _name(daemon: Daemon, wanted: Filters) -> Test:
    return lambda one: filters.matches_name(wanted, one.record.name)


def _status(daemon: Daemon, wanted: Filters) -> Test:
    _require_one_of(wanted, "status", "state", tuple(Status))
    return lambda one: one.state.status in wanted["status"]


def _health(daemon: Daemon, wanted: Filters) -> Test:
    _require_one_of(wanted, "health", "health", _HEALTHS)
    return lambda one: health_of(one) in wanted["health"]


def _label(daemon: Daemon, wanted: Filters) -> Test:
    return lambda one: filters.matches_labels(wanted, one.record.config.labels)


def _exited(daemon: Daemon, wanted: Filters) -> Test:
    codes = filters.integers(wanted, "exited")
    return lambda one: not one.active and one.state.started_at_ns > 0 and one.state.exit_code in codes


def _volume(daemon: Daemon, wanted: Filters) -> Test:
    def test(one: Container) -> bool:
        points = one.record.mounts
        places = {text for point in points for text in (point.name or point.source, point.destination)}
        return not places.isdisjoint(wanted["volume"])

    return test


def _network(daemon: Daemon, wanted: Filters) -> Test:
    def test(one: Container) -> bool:
        networks = inspect.networks(daemon, one)
        ids = [settings.network_id or "" for settings in networks.values()]
        return any(text in networks or any(id.startswith(text) for id in ids) for text in wanted["network"])

    return test


def _is_task(daemon: Daemon, wanted: Filters) -> Test:
    is_wanted = filters.is_true(wanted, "is-task", False)
    return lambda one: is_wanted


def _isolation(daemon: Daemon, wanted: Filters) -> Test:
    return lambda one: True  # Windows only


def _ancestor(daemon: Daemon, wanted: Filters) -> Test:
    """Containers of the images asked for, or of images built on top of them."""
    asked = [image for name in wanted["ancestor"] if (image := _find_image(daemon, name))]
    ids = {image.id for image in daemon.images.list() if any(_stands_on(image, base) for base in asked)}
    return lambda one: one.record.image_id in ids


def _before(daemon: Daemon, wanted: Filters) -> Test:
    limits = [daemon.containers.get(name).record.created_at_ns for name in wanted["before"]]
    return lambda one: all(one.record.created_at_ns < limit for limit in limits)


def _since(daemon: Daemon, wanted: Filters) -> Test:
    limits = [daemon.containers.get(name).record.created_at_ns for name in wanted["since"]]
    return lambda one: all(one.record.created_at_ns > limit for limit in limits)


def _port(daemon: Daemon, wanted: Filters) -> Test:
    """One test for both filters: a container matches if it exposes or publishes a port asked for."""
    exposed, published = _ports(wanted, "expose"), _ports(wanted, "publish")

    def test(one: Container) -> bool:
        ports = inspect.port_summaries(daemon, one)
        return any(
            (port.private_port, port.type) in exposed or (port.public_port, port.type) in published for port in ports
        )

    return test


_TESTS: Mapping[str, Callable[[Daemon, Filters], Test]] = {
    "ancestor": _ancestor,
    "before": _before,
    "exited": _exited,
    "expose": _port,
    "health": _health,
    "id": _id,
    "is-task": _is_task,
    "isolation": _isolation,
    "label": _label,
    "name": _name,
    "network": _network,
    "publish": _port,
    "since": _since,
    "status": _status,
    "volume": _volume,
}


def _require_one_of(wanted: Filters, name: str, what: str, known: tuple[str, ...]) -> None:
    for value in wanted[name]:
        if value not in known:
            raise InvalidArgument(
                f"invalid filter '{name}={value}': invalid value for {what} ({value}): must be one of "
                f"{', '.join(known)}"
            )


def _find_image(daemon: Daemon, name: str) -> Image | None:
    try:
        return daemon.images.get(name)
    except (NotFound, InvalidArgument):
        return None


def _stands_on(image: Image, base: Image) -> bool:
    """Whether the image is `base` or built on it: its layers and history begin with those of `base`.

    Docker knows the parent only of images that its classic builder made (moby daemon/images, Children).
    """
    if image.id == base.id:
        return True
    return bool(base.layers) and _begins_with(_making(image), _making(base))


def _making(image: Image) -> tuple[Sequence[object], Sequence[object]]:
    return image.layers, image.config.get("history") or ()


def _begins_with(longer: Sequence[Sequence[object]], shorter: Sequence[Sequence[object]]) -> bool:
    pairs = list(zip(longer, shorter, strict=True))
    return longer != shorter and all(tuple(one[: len(other)]) == tuple(other) for one, other in pairs)


def _ports(wanted: Filters, name: str) -> set[tuple[int, str]]:
    """The ports asked for: `80`, `80/udp`, `8000-8010/tcp`."""
    return {port for text in wanted.get(name, ()) for port in _port_range(name, text)}


def _port_range(name: str, text: str) -> set[tuple[int, str]]:
    if ":" in text:
        raise InvalidArgument(f"filter for '{name}' should not contain ':': {text}")
    match = _PORT_RANGE.fullmatch(text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if match is None or not low <= high <= 65535:
        raise InvalidArgument(f"error while looking up for {name} {text}: invalid port range: {text}")
    return {(number, (match[3] or "tcp").lower()) for number in range(low, high + 1)}
