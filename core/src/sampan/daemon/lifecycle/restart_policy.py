"""Restart policies: Docker's, and `on-unhealthy`: `on-failure` that also ends containers whose health check fails.

Source of Docker's: moby daemon/internal/restartmanager and daemon/monitor.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.daemon.container import Container, Status
from sampan.errdefs import InvalidArgument
from sampan.models import RestartPolicy

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_NEVER = frozenset({"", "no"})
_ENDLESS = frozenset({"no", "always", "unless-stopped"})
_COUNTED = frozenset({"on-failure", "on-unhealthy"})
_ALL = _NEVER | _ENDLESS | _COUNTED
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 60.0
_SETTLED_AFTER_S = 10.0


def validate(policy: RestartPolicy) -> None:
    """Raise `InvalidArgument` with Docker's message for an invalid policy; without a name, any number is accepted."""
    name, retries = policy.name, policy.maximum_retry_count
    if name not in _ALL:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', "
            "'unless-stopped', or 'on-unhealthy'"
        )
    if name in _ENDLESS and retries:
        words = "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        raise InvalidArgument(f"{words} and cannot be negative" if retries < 0 else words)
    if name in _COUNTED and retries < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")


def wants_restart(container: Container) -> bool:
    """Whether the policy asks for a restart of a container that has just ended."""
    state, policy = container.state, container.record.host_config.restart_policy
    if state.stopped_by_user:
        return False
    match policy.name:
        case "always" | "unless-stopped":
            return True
        case "on-failure":
            return state.exit_code != 0 and may_try(container)
        case "on-unhealthy":
            return (state.exit_code != 0 or state.ended_as_unhealthy) and may_try(container)
        case _:
            return False


def may_try(container: Container) -> bool:
    """Whether the policy's maximum number of retries allows one more."""
    most = container.record.host_config.restart_policy.maximum_retry_count
    return most == 0 or container.state.restart_count < most


def delay_s(container: Container) -> float:
    """The delay before the next start in seconds: from 100 ms to a minute, doubled each time, reset after a good run.

    A run is good if it took ten seconds and, if it was ended as unhealthy, had been healthy before.
    """
    state = container.state
    ran_s = (state.finished_at_ns - state.started_at_ns) / 1e9
    never_well = state.ended_as_unhealthy and not (state.health and state.health.has_been_healthy)
    if not state.restart_delay_s or (ran_s >= _SETTLED_AFTER_S and not never_well):
        return _FIRST_DELAY_S
    return longer(state.restart_delay_s)


def consider(container: Container) -> None:
    """Let a container that has just ended wait for its next start, if its policy asks for one, and count that."""
    if wants_restart(container):
        container.state.restart_count += 1
        container.state.restart_delay_s = delay_s(container)
        container.move(Status.RESTARTING)


async def let_go(daemon: Daemon, container: Container) -> None:
    """Cancel the restart that a container is waiting for. The caller holds the container's key."""
    if container.state.status is Status.RESTARTING:
        container.move(Status.EXITED)
        await daemon.containers.try_save(container)
        container.tell_exit()


async def call_off(daemon: Daemon, container: Container) -> None:
    """Record that a user wants it stopped, so that no policy restarts it.

    This holds even if the daemon dies before the container has ended.
    """
    if container.state.stopped_by_user:
        return
    container.state.stopped_by_user = True
    if container.record.host_config.restart_policy.name not in _NEVER:
        await daemon.containers.try_save(container)


def gives_up(container: Container) -> bool:
    """Whether the policy asks to end a container that became unhealthy, so that it can be restarted.

    If no retry is left, it keeps running: an unhealthy container is better than none.
    """
    name = container.record.host_config.restart_policy.name
    return name == "on-unhealthy" and not container.state.ended_as_unhealthy and may_try(container)


def longer(delay_s: float) -> float:
    """The delay that follows one of `delay_s`."""
    return min(_LONGEST_DELAY_S, 2 * delay_s)
