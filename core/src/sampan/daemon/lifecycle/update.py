"""container_update: changes the limits and the restart policy of a container, even while it runs.

Source of rules and messages: moby daemon/update.go, daemon/container/container_unix.go (UpdateContainer).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sampan import drivers
from sampan.daemon.container import Container
from sampan.daemon.lifecycle import restart_policy
from sampan.daemon.settings import checks
from sampan.daemon.settings.limits import resources_of
from sampan.drivers.limits import UNLIMITED
from sampan.engine import Job
from sampan.errdefs import Conflict, explained
from sampan.models import ContainerUpdated, HostConfig, Resources, RestartPolicy, UpdateContainer

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_BY_CONTROLLER = {
    "memory": ("memory", "memory_swap", "memory_reservation"),
    "cpu": ("cpu_shares", "cpu_period", "cpu_quota", "nano_cpus"),
    "cpuset": ("cpuset_cpus", "cpuset_mems"),
    "pids": ("pids_limit",),
    "io": (
        *("blkio_weight", "blkio_weight_device", "blkio_device_read_bps", "blkio_device_write_bps"),
        *("blkio_device_read_iops", "blkio_device_write_iops"),
    ),
}
"""The resources that can be updated, by controller. All others stay as they were at creation."""
_NOTHING = (0, "", None)


async def container_update(daemon: Daemon, job: Job[UpdateContainer]) -> ContainerUpdated:
    """Change what is asked and keep the rest; all or nothing. If the container runs, limits apply at once."""
    request = job.request
    restart_policy.validate(request.restart_policy)
    warnings = await _check(daemon, request.name, request.resources)
    async with daemon.alone(request.name, _require_whole) as container:
        with explained(f"Cannot update container {container.id}"):
            asked = await _enforceable(daemon, request.resources)
            await _change(daemon, container, asked, request.restart_policy)
    daemon.publish(container, "update")
    return ContainerUpdated(warnings=warnings or None)


async def _check(daemon: Daemon, name: str, asked: Resources) -> list[str]:
    """Raise for limits that are invalid by themselves; return warnings about those that this host can't enforce."""
    host = HostConfig.model_construct(**dict(asked))
    if host.memory_swap and not host.memory:  # it refers to the memory limit that the container already has
        host.memory = daemon.containers.get(name).record.host_config.memory
    return await checks.limit_warnings(daemon, host)


def _require_whole(container: Container) -> None:
    if container.gone:
        raise Conflict(
            f'Cannot update container {container.id}: container is marked for removal and cannot be "update"'
        )


async def _enforceable(daemon: Daemon, asked: Resources) -> dict[str, Any]:
    """The limits asked for, by field. Those that the host can't enforce are discarded, as in Docker."""
    controllers = (await asyncio.to_thread(daemon.resources.capabilities)).controllers
    unified = await asyncio.to_thread(lambda: dict(_enforceable_files(daemon.resources, asked)))
    names = [name for controller in controllers for name in _BY_CONTROLLER.get(controller, ())]
    said = {name: getattr(asked, name) for name in names if getattr(asked, name) not in _NOTHING}
    if "pids_limit" in names and asked.pids_limit is not None:
        said["pids_limit"] = max(asked.pids_limit, 0)
    said |= {"unified": unified} if unified else {}
    return said | ({"psi_alerts": asked.psi_alerts} if asked.psi_alerts else {})


def _enforceable_files(driver: drivers.ResourceDriver, asked: Resources) -> Iterator[tuple[str, str]]:
    for file, value in (asked.unified or {}).items():
        if not driver.validate(drivers.Resources(unified={file: value})):
            yield file, value


async def _change(daemon: Daemon, container: Container, asked: dict[str, Any], policy: RestartPolicy) -> None:
    record, before = container.record, container.record.host_config
    after = before.model_copy(update=asked)
    after.unified = {**(before.unified or {}), **asked.get("unified", {})} or None
    _check_conflicts(HostConfig.model_construct(**asked), before)
    if policy.name:
        if before.auto_remove and policy.name != "no":
            raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        after.restart_policy = policy
    limits, unenforced = limits_of(after), record.unenforced
    record.host_config, record.unenforced = after, await asyncio.to_thread(daemon.resources.validate, limits)
    try:
        await daemon.containers.save(container)
        if asked and container.running:
            await asyncio.to_thread(daemon.resources.update, container.id, limits)
    except BaseException:
        record.host_config, record.unenforced = before, unenforced
        await daemon.containers.try_save(container)
        raise


def _check_conflicts(asked: HostConfig, has: HostConfig) -> None:
    for is_wrong, words in _conflicts(asked, has):
        if is_wrong:
            raise Conflict(words)


def _conflicts(asked: HostConfig, has: HostConfig) -> Iterator[tuple[bool, str]]:
    mixed = "Conflicting options: {} cannot be updated as {} has already been set"
    yield asked.nano_cpus > 0 and has.cpu_period > 0, mixed.format("Nano CPUs", "CPU Period")
    yield asked.nano_cpus > 0 and has.cpu_quota > 0, mixed.format("Nano CPUs", "CPU Quota")
    yield asked.cpu_period > 0 and has.nano_cpus > 0, mixed.format("CPU Period", "NanoCPUs")
    yield asked.cpu_quota > 0 and has.nano_cpus > 0, mixed.format("CPU Quota", "NanoCPUs")
    yield (
        asked.memory > has.memory_swap and not asked.memory_swap and has.memory_swap != UNLIMITED,
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
    )


def limits_of(host: HostConfig) -> drivers.Resources:
    """The limits to set for a running container, in the kernel's terms.

    If the limit of processes was removed, that is set explicitly, as `None` would leave the old one in place.
    """
    limits = resources_of(host)
    return limits if host.pids_limit is None or host.pids_limit > 0 else replace(limits, pids_max=UNLIMITED)
