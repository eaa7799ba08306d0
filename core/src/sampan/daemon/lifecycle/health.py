"""Health checks: a command runs in a container periodically, and its results determine the container's health.

Source: moby daemon/health.go. Unlike there, the state is part of the record: a container that was healthy is still
healthy after a restart of the daemon, and its next check follows one interval later.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from sampan.daemon.container import HEALTHY, STARTING, UNHEALTHY, Container, HealthState, ProbeResult, Status
from sampan.daemon.lifecycle.probe import Probe, run_probe
from sampan.errdefs import InvalidArgument
from sampan.models import Healthcheck

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)
_NS = 1_000_000_000
_SHORTEST_NS = 1_000_000
_KEPT_RESULTS = 5
_DEFAULTS = Healthcheck(interval=30 * _NS, timeout=30 * _NS, start_period=0, start_interval=5 * _NS, retries=3)
_SHELL = ("/bin/sh", "-c")


class Check(NamedTuple):
    """A container's health check. Times are seconds."""

    probe: Probe
    interval_s: float
    start_period_s: float
    start_interval_s: float
    retries: int


def validate(asked: Healthcheck | None) -> None:
    """Raise `InvalidArgument` with Docker's message for invalid times and numbers."""
    if asked is None:
        return
    for name in ("interval", "timeout", "start_period", "start_interval"):
        if getattr(asked, name) and getattr(asked, name) < _SHORTEST_NS:
            words = "".join(word.capitalize() for word in name.split("_"))
            raise InvalidArgument(f"{words} in Healthcheck cannot be less than 1ms")
    if asked.retries < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")


def check_of(container: Container) -> Check | None:
    """The container's check; `None` if it has none or has disabled it."""
    config = container.record.config
    asked = config.healthcheck
    kind, *command = (asked.test if asked else None) or [""]
    if asked is None or kind not in ("CMD", "CMD-SHELL"):
        return None
    said = {name: value for name, value in asked.model_dump().items() if value}
    full = _DEFAULTS.model_copy(update=said)
    if kind == "CMD-SHELL":
        command = [*(config.shell or _SHELL), *command]
    return Check(
        Probe(tuple(command), full.timeout / _NS),
        interval_s=full.interval / _NS,
        start_period_s=full.start_period / _NS,
        start_interval_s=full.start_interval / _NS,
        retries=full.retries,
    )


def begin(container: Container) -> None:
    """Reset the health of a container that was just started; earlier results stay in the log."""
    if check_of(container) is None:
        container.state.health = None
        return
    log = container.state.health.log if container.state.health else []
    container.state.health = HealthState(log=log)


def resume(daemon: Daemon, container: Container) -> None:
    """Start checking a running container, if it has a check and nobody does so yet."""
    check = check_of(container)
    if check is None or container.health_watcher or container.state.status is not Status.RUNNING:
        return
    if container.state.health is None:  # it was started by an older daemon without health checks
        begin(container)
    container.health_watcher = daemon.spawn(_watch(daemon, container, check), f"health of {container.id[:12]}")


def suspend(container: Container) -> None:
    """Stop checking a container that is paused or has ended. Docker calls it unhealthy until the next result."""
    watcher, container.health_watcher = container.health_watcher, None
    if watcher:
        watcher.cancel()
        health(container).status = UNHEALTHY


def health(container: Container) -> HealthState:
    """The state of a container that has a check."""
    if container.state.health is None:
        container.state.health = HealthState()
    return container.state.health


async def _watch(daemon: Daemon, container: Container, check: Check) -> None:
    while True:
        await asyncio.sleep(_pause_s(container, check))
        result = await run_probe(daemon, container, check.probe)
        await _note(daemon, container, check, result)


def _pause_s(container: Container, check: Check) -> float:
    starting = health(container).status == STARTING and container.run_s() < check.start_period_s
    return check.start_interval_s if starting else check.interval_s


async def _note(daemon: Daemon, container: Container, check: Check, result: ProbeResult) -> None:
    """Take a result into account.

    Changes of the status are published and stored; the rest is lost when the daemon ends.
    """
    state = health(container)
    before = state.status
    state.log = [*state.log[1 - _KEPT_RESULTS :], result]
    _judge(container, check, state, result)
    if state.status != before:
        daemon.publish(container, f"health_status: {state.status}")
        await daemon.containers.try_save(container)
    if state.status == UNHEALTHY and state.failing_streak >= check.retries:
        daemon.give_up(container)


def _judge(container: Container, check: Check, state: HealthState, result: ProbeResult) -> None:
    if result.exit_code == 0:
        state.status, state.failing_streak, state.has_been_healthy = HEALTHY, 0, True
        return
    began_after_s = (result.start_ns - container.state.started_at_ns) / _NS
    if state.status == STARTING and began_after_s < check.start_period_s:
        return
    state.failing_streak += 1
    if state.failing_streak >= check.retries:
        state.status = UNHEALTHY
