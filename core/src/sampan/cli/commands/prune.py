"""`prune` of containers, images, networks and volumes, and `system prune`, which combines them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sampan.cli.client.client import filters_of
from sampan.cli.command import FILTER, SWITCH, Command, Flag, Options
from sampan.cli.confirm import confirmed
from sampan.cli.errors import CliError, DaemonError
from sampan.cli.human import size
from sampan.cli.session import Session

_SURE = "Are you sure you want to continue?"
Filters = dict[str, list[str]]


class _Kind(NamedTuple):
    """What can be pruned. `what` and `all` describe what is removed, without and with `--all`; `lines` what was."""

    path: str
    title: str
    what: str
    all: str
    lines: Callable[[dict[str, Any]], list[str]]


def _removed_images(answer: dict[str, Any]) -> list[str]:
    steps = answer.get("ImagesDeleted") or []
    return [
        f"untagged: {step['Untagged']}" if step.get("Untagged") else f"deleted: {step['Deleted']}" for step in steps
    ]


_CONTAINERS = _Kind(
    "/containers/prune",
    "Deleted Containers:",
    "all stopped containers",
    "all stopped containers",
    lambda answer: answer.get("ContainersDeleted") or [],
)
_NETWORKS = _Kind(
    "/networks/prune",
    "Deleted Networks:",
    "all networks not used by at least one container",
    "all networks not used by at least one container",
    lambda answer: answer.get("NetworksDeleted") or [],
)
_VOLUMES = _Kind(
    "/volumes/prune",
    "Deleted Volumes:",
    "all anonymous volumes not used by at least one container",
    "all volumes not used by at least one container",
    lambda answer: answer.get("VolumesDeleted") or [],
)
_IMAGES = _Kind(
    "/images/prune",
    "Deleted Images:",
    "all dangling images",
    "all images without at least one container associated to them",
    _removed_images,
)
_BUILD_CACHE = _Kind(
    "/build/prune",
    "Deleted build cache objects:",
    "unused build cache",
    "all build cache",
    lambda answer: answer.get("CachesDeleted") or [],
)


def container_prune(session: Session, options: Options) -> None:
    """Remove all stopped containers."""
    if _is_wanted(options, _CONTAINERS.what):
        _say_total(session, _prune(session, _CONTAINERS, filters_of(options.texts("filter"))))


def image_prune(session: Session, options: Options) -> None:
    """Remove images without a name, or all that no container was created from."""
    everything = options.on("all")
    if _is_wanted(options, _IMAGES.all if everything else _IMAGES.what):
        _say_total(session, _prune(session, _IMAGES, _image_filters(options, everything)))


def network_prune(session: Session, options: Options) -> None:
    """Remove networks without containers."""
    if _is_wanted(options, "all custom networks not used by at least one container"):
        _prune(session, _NETWORKS, filters_of(options.texts("filter")))


def volume_prune(session: Session, options: Options) -> None:
    """Remove volumes that no container uses: anonymous ones, or all."""
    filters, everything = filters_of(options.texts("filter")), options.on("all")
    if everything and "all" in filters:
        raise CliError("conflicting options: cannot specify both --all and --filter all=1")
    kind = "all" if everything else "anonymous"
    if _is_wanted(options, f"{kind} local volumes not used by at least one container"):
        _say_total(session, _prune(session, _VOLUMES, {**filters, "all": ["true"]} if everything else filters))


def system_prune(session: Session, options: Options) -> None:
    """Remove everything unused."""
    filters, everything = filters_of(options.texts("filter")), options.on("all")
    if options.on("volumes") and "until" in filters:
        raise CliError('ERROR: The "until" filter is not supported with "--volumes"')
    kinds = [
        (_CONTAINERS, filters),
        (_NETWORKS, filters),
        *([(_VOLUMES, filters)] if options.on("volumes") else []),
        (_IMAGES, _image_filters(options, everything)),
        (_BUILD_CACHE, {name: values for name, values in filters.items() if name == "until"}),
    ]
    if options.on("force") or confirmed(_question([kind for kind, _ in kinds], filters, everything)):
        _say_total(session, sum(_prune(session, kind, chosen, all=everything) for kind, chosen in kinds))


def _image_filters(options: Options, everything: bool) -> Filters:
    return {**filters_of(options.texts("filter")), "dangling": ["false" if everything else "true"]}


def _question(kinds: list[_Kind], filters: Filters, everything: bool) -> str:
    lines = ["WARNING! This will remove:"]
    lines += [f"  - {_what(kind, everything)}" for kind in kinds]
    if chosen := sorted(f"{name}={value}" for name, values in filters.items() for value in values):
        lines += ["", "  Items to be pruned will be filtered with:", *(f"  - {one}" for one in chosen)]
    return "\n".join([*lines, "", _SURE])


def _what(kind: _Kind, everything: bool) -> str:
    """What is removed. `--all` affects images and the build cache; named volumes are never removed."""
    return kind.all if everything and kind is not _VOLUMES else kind.what


def _is_wanted(options: Options, what: str) -> bool:
    """Whether the user confirms. Declining is not a failure (docker/cli cmd/docker: cancelled is status 0)."""
    return options.on("force") or confirmed(f"WARNING! This will remove {what}.\n{_SURE}")


def _prune(session: Session, kind: _Kind, filters: Filters, *, all: bool = False) -> int:
    """Prune one kind, print what was removed, and return the number of bytes reclaimed."""
    query = {"filters": filters, **({"all": True} if all and kind is _BUILD_CACHE else {})}
    try:
        answer = session.client.call("POST", kind.path, query=query)
    except DaemonError as error:
        if error.code == 501:
            return 0
        raise
    if lines := kind.lines(answer):
        session.say("\n".join([kind.title, *lines, ""]))
    return int(answer.get("SpaceReclaimed") or 0)


def _say_total(session: Session, reclaimed: int) -> None:
    session.say(f"Total reclaimed space: {size(reclaimed, 4)}")


_FORCE = Flag("force", "Do not prompt for confirmation", SWITCH, "f")
_FILTER = Flag("filter", 'Provide filter values (e.g. "until=<timestamp>")', FILTER)
_LABELS = Flag("filter", 'Provide filter values (e.g. "label=<key>=<value>")', FILTER)

CONTAINER = Command("prune [OPTIONS]", "Remove all stopped containers", container_prune, (_FILTER, _FORCE))
IMAGE = Command(
    "prune [OPTIONS]",
    "Remove unused images",
    image_prune,
    (Flag("all", "Remove all unused images, not just dangling ones", SWITCH, "a"), _FILTER, _FORCE),
)
NETWORK = Command("prune [OPTIONS]", "Remove all unused networks", network_prune, (_FILTER, _FORCE))
VOLUME = Command(
    "prune [OPTIONS]",
    "Remove unused local volumes",
    volume_prune,
    (Flag("all", "Remove all unused volumes, not just anonymous ones", SWITCH, "a"), _LABELS, _FORCE),
)
SYSTEM = Command(
    "prune [OPTIONS]",
    "Remove unused data",
    system_prune,
    (
        Flag("all", "Remove all unused images not just dangling ones", SWITCH, "a"),
        _LABELS,
        _FORCE,
        Flag("volumes", "Prune anonymous volumes", SWITCH),
    ),
)
