"""system_check: whether blobs, layers, snapshots, names and containers are intact."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sampan.daemon.container import CONTAINER_LABEL, Container, Status
from sampan.daemon.filesystem.mounting import image_snapshot
from sampan.drivers import IntegrityCheckDriver, Snapshot
from sampan.engine import Job
from sampan.errdefs import DataLoss, InvalidArgument, NotFound
from sampan.images.check import Fault, Problem
from sampan.images.mend import Mended
from sampan.models import CheckProblem, CheckSystem, SystemCheck
from sampan.tasks import in_thread

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)
_GOING = (Status.REMOVING, Status.DEAD)


async def system_check(daemon: Daemon, job: Job[CheckSystem]) -> SystemCheck:
    """Read everything and report what is wrong, while other jobs continue; without `repair`, nothing is changed."""
    images, files = daemon.images, job.request.files
    if job.request.repair:
        mended = await images.repair(lambda snapshot: _is_owned(daemon, snapshot), files=files)
    else:
        found = await images.check(lambda snapshot: _is_owned(daemon, snapshot), files=files)
        mended = [Mended(one, "", is_mended=False) for one in found]
    mended += [Mended(one, _remedy(job), is_mended=False) for one in await _lost_containers(daemon)]
    for one in mended if not job.request.repair else ():
        _log.warning("%s %s: %s", one.problem.fault, one.problem.name, one.problem.detail)
    return SystemCheck(
        images=len(images.list()),
        layers=images.count_layers(),
        blobs=images.count_blobs(),
        containers=len(list(daemon.containers)),
        problems=[_shown(one) for one in mended],
    )


def _is_owned(daemon: Daemon, snapshot: Snapshot) -> bool:
    owner = snapshot.labels.get(CONTAINER_LABEL)
    return owner is not None and (owner in daemon.containers or daemon.is_making(owner))


async def _lost_containers(daemon: Daemon) -> list[Problem]:
    found = []
    for container in list(daemon.containers):
        detail = await in_thread(_trouble, daemon, container)
        is_going = container.readable and container.state.status in _GOING
        if detail and container.id in daemon.containers and not is_going:
            found.append(Problem(Fault.LOST_CONTAINER, container.id, detail))
    return found


def _trouble(daemon: Daemon, container: Container) -> str | None:
    if not container.readable:
        return "its record can't be read"
    mounted = [number for number, point in enumerate(container.record.mounts) if point.type == "image"]
    try:
        for name in (container.id, *(image_snapshot(container.id, number) for number in mounted)):
            daemon.storage.mounts(name)
            if isinstance(daemon.storage, IntegrityCheckDriver):
                daemon.storage.check(name)
    except (NotFound, InvalidArgument, DataLoss) as error:
        return str(error)
    return None


def _remedy(job: Job[CheckSystem]) -> str:
    return "remove the container: its files can't be had back" if job.request.repair else ""


def _shown(one: Mended) -> CheckProblem:
    problem = one.problem
    return CheckProblem(
        kind=problem.fault,
        name=problem.name,
        detail=problem.detail,
        action=one.action,
        repaired=one.is_mended,
    )
