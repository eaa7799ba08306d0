"""Which containers are restarted, and after what delay."""

from __future__ import annotations

import pytest

from sampan.daemon.container import HealthState, Status
from sampan.daemon.lifecycle import restart_policy
from tests.unit.daemon.making import container


@pytest.mark.parametrize(
    ("policy", "exit_code", "count", "stopped", "wanted"),
    [
        ("", 1, 0, False, False),
        ("no", 1, 0, False, False),
        ("always", 0, 9, False, True),
        ("always", 0, 0, True, False),
        ("unless-stopped", 0, 9, False, True),
        ("unless-stopped", 1, 0, True, False),
        ("on-failure", 0, 0, False, False),
        ("on-failure", 1, 99, False, True),
        ("on-failure", 1, 0, True, False),
        ("on-failure:2", 1, 1, False, True),
        ("on-failure:2", 1, 2, False, False),
        ("on-unhealthy", 1, 99, False, True),
        ("on-unhealthy", 0, 0, False, False),
        ("on-unhealthy:2", 1, 2, False, False),
        ("on-unhealthy", 1, 0, True, False),
    ],
)
def test_who_is_started_again(policy: str, exit_code: int, count: int, stopped: bool, wanted: bool) -> None:
    name, _, most = policy.partition(":")
    one = container(RestartPolicy={"Name": name, "MaximumRetryCount": int(most or 0)})
    one.state.status = Status.EXITED
    one.state.exit_code, one.state.restart_count, one.state.stopped_by_user = exit_code, count, stopped
    assert restart_policy.wants_restart(one) is wanted
    restart_policy.consider(one)
    assert one.state.status is (Status.RESTARTING if wanted else Status.EXITED)


@pytest.mark.parametrize(
    ("last_s", "ran_s", "next_s"),
    [(0, 1, 0.1), (0.1, 1, 0.2), (0.2, 9.9, 0.4), (40, 1, 60), (60, 1, 60), (60, 10, 0.1)],
)
def test_the_delay_doubles_up_to_a_minute_and_begins_anew_after_a_good_run(
    last_s: float, ran_s: float, next_s: float
) -> None:
    one = container()
    one.state.restart_delay_s = last_s
    one.state.started_at_ns, one.state.finished_at_ns = 10**18, 10**18 + int(ran_s * 1e9)
    assert restart_policy.delay_s(one) == pytest.approx(next_s)


def test_delays_of_a_container_that_fails_at_once() -> None:
    one = container(RestartPolicy={"Name": "always"})
    delays = []
    for _ in range(12):
        one.state.status = Status.EXITED
        restart_policy.consider(one)
        delays.append(one.state.restart_delay_s)
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60])


@pytest.mark.parametrize(("most", "count", "wanted"), [(0, 99, True), (2, 1, True), (2, 2, False)])
def test_on_unhealthy_starts_again_what_was_ended_for_its_health(most: int, count: int, wanted: bool) -> None:
    one = container(RestartPolicy={"Name": "on-unhealthy", "MaximumRetryCount": most})
    one.state.status, one.state.restart_count = Status.RUNNING, count
    assert restart_policy.gives_up(one) is wanted
    one.state.status, one.state.ended_as_unhealthy = Status.EXITED, True
    assert not restart_policy.gives_up(one)
    assert restart_policy.wants_restart(one) is wanted


@pytest.mark.parametrize(("was_healthy", "next_s"), [(True, 0.1), (False, 0.8)])
def test_a_long_run_that_was_never_healthy_is_no_good_run(was_healthy: bool, next_s: float) -> None:
    one = container(RestartPolicy={"Name": "on-unhealthy"})
    one.state.started_at_ns, one.state.finished_at_ns = 10**18, 10**18 + 60 * 10**9
    one.state.ended_as_unhealthy, one.state.restart_delay_s = True, 0.4
    one.state.health = HealthState(has_been_healthy=was_healthy)
    assert restart_policy.delay_s(one) == pytest.approx(next_s)
