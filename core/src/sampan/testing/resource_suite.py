"""The conformance suite of resource drivers.

    from sampan.testing.resource_suite import ResourceDriverSuite

    class TestTiny(ResourceDriverSuite):
        @pytest.fixture
        def factory(self) -> ResourceFactory:
            return TinyDriver

Enforcing a limit is up to the kernel; the suite requires that a driver sets it or warns.
"""

from __future__ import annotations

import itertools
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sampan.drivers import (
    Cgroup,
    GroupEvent,
    Placement,
    ResourceDriver,
    ResourceFactory,
    Resources,
    ResourceSettings,
)
from sampan.errdefs import Conflict, NotFound, Unsupported

_numbers = itertools.count()
_DEADLINE_S = 30.0
_MIB = 1 << 20
WEB, OTHER, NOTHING = "ab" * 32, "cd" * 32, "ef" * 32
"""Container ids; there is no group for `NOTHING`."""


class ResourceDriverSuite:
    """Subclass it in a plugin's tests and provide the fixture `factory`."""

    @pytest.fixture
    def factory(self) -> ResourceFactory:
        """The driver's factory; to be overridden by every plugin."""
        raise NotImplementedError("provide a fixture `factory` that answers your ResourceFactory")

    @pytest.fixture
    def settings(self, tmp_path: Path) -> ResourceSettings:
        """Settings with a unique slice."""
        return ResourceSettings(tmp_path, f"/sampan-test-{os.getpid()}-{next(_numbers)}")

    @pytest.fixture
    def driver(self, factory: ResourceFactory, settings: ResourceSettings) -> Iterator[ResourceDriver]:
        """A driver without groups; those left by a test are killed and removed."""
        driver = factory(settings)
        if reason := driver.probe():
            pytest.skip(reason)
        yield driver
        for id in list(driver.list()):
            driver.kill(id)
            driver.remove(id)
        driver.close()

    @pytest.fixture
    def spawn(self, driver: ResourceDriver) -> Iterator[Callable[[Cgroup], int]]:
        """Starts a process that sleeps in a group, and returns its pid."""
        if not driver.capabilities().kill:
            pytest.skip("this driver holds no processes")
        started: list[subprocess.Popen[bytes]] = []

        def start(cgroup: Cgroup) -> int:
            started.append(subprocess.Popen(["sleep", "600"]))
            self.join(driver, cgroup, started[-1].pid)
            return started[-1].pid

        yield start
        for process in started:
            process.kill()
            process.wait()

    def join(self, driver: ResourceDriver, cgroup: Cgroup, pid: int) -> None:
        """Put process `pid` into `cgroup`, as the OCI runtime does. The default writes `cgroup.procs`."""
        (_mount_of_v2() / cgroup.path.lstrip("/") / "cgroup.procs").write_text(str(pid))

    # Creating and removing groups

    def test_a_new_driver_holds_nothing(self, driver: ResourceDriver) -> None:
        assert list(driver.list()) == []

    def test_create_makes_a_group_in_the_slice(self, driver: ResourceDriver, settings: ResourceSettings) -> None:
        cgroup = driver.create(WEB, Resources())
        assert cgroup.id == WEB
        assert not cgroup.path or Path(cgroup.path).is_relative_to(settings.parent)
        assert cgroup.warnings == ()
        assert list(driver.list()) == [WEB]

    def test_a_removed_group_is_gone(self, driver: ResourceDriver) -> None:
        driver.create(WEB, Resources())
        driver.remove(WEB)
        assert list(driver.list()) == []
        with pytest.raises(NotFound):
            driver.stats(WEB)

    def test_remove_of_nothing_is_no_error(self, driver: ResourceDriver) -> None:
        driver.remove(NOTHING)

    def test_an_empty_group_left_by_a_crash_is_used_again(self, driver: ResourceDriver) -> None:
        driver.create(WEB, Resources(memory_max_bytes=64 * _MIB))
        driver.create(WEB, Resources())
        assert list(driver.list()) == [WEB]
        assert driver.stats(WEB).memory_max_bytes is None

    def test_a_group_with_processes_cannot_be_made_again(
        self, driver: ResourceDriver, spawn: Callable[[Cgroup], int]
    ) -> None:
        pid = spawn(driver.create(WEB, Resources()))
        with pytest.raises(Conflict):
            driver.create(WEB, Resources())
        assert driver.processes(WEB) == [pid]

    def test_nothing_can_be_done_with_a_group_that_is_not_there(self, driver: ResourceDriver) -> None:
        with pytest.raises(NotFound):
            driver.update(NOTHING, Resources())
        for method in (driver.stats, driver.freeze, driver.thaw, driver.processes, driver.oom_kills):
            with pytest.raises(NotFound):
                method(NOTHING)

    # Parents

    def test_a_group_lies_in_the_parent_asked_for(self, driver: ResourceDriver, settings: ResourceSettings) -> None:
        placement = Placement("batch/night")
        said = driver.validate(Resources(), placement)
        cgroup = driver.create(WEB, Resources(), placement)
        assert cgroup.warnings == said
        if cgroup.path:
            assert Path(cgroup.path).is_relative_to(settings.parent)
            assert cgroup.path.endswith(f"/batch/night/{WEB}")
        else:
            assert any("parent" in warning for warning in said)
        assert list(driver.list()) == [WEB]

    def test_groups_of_several_parents_are_all_listed(self, driver: ResourceDriver) -> None:
        driver.create(WEB, Resources(), Placement("batch"))
        driver.create(OTHER, Resources())
        assert sorted(driver.list()) == sorted([WEB, OTHER])
        driver.remove(WEB)
        assert list(driver.list()) == [OTHER]

    def test_a_parent_stays_while_another_group_is_in_it(self, driver: ResourceDriver) -> None:
        driver.create(WEB, Resources(), Placement("batch/night"))
        driver.create(OTHER, Resources(), Placement("batch"))
        driver.remove(WEB)
        assert driver.processes(OTHER) == []
        driver.create(WEB, Resources(), Placement("batch/night"))
        assert sorted(driver.list()) == sorted([WEB, OTHER])

    def test_a_group_in_a_parent_can_do_what_others_can(
        self, driver: ResourceDriver, spawn: Callable[[Cgroup], int]
    ) -> None:
        cgroup = driver.create(WEB, Resources(), Placement("batch"))
        pid = spawn(cgroup)
        driver.update(WEB, Resources(pids_max=20))
        assert driver.processes(WEB) == [pid]
        assert driver.stats(WEB).pids_max in (None, 20)
        with pytest.raises(Conflict):
            driver.create(WEB, Resources(), Placement("batch"))
        with pytest.raises(Conflict):
            driver.remove(WEB)
        driver.kill(WEB)
        driver.remove(WEB)
        assert list(driver.list()) == []

    def test_a_group_left_in_one_parent_may_be_made_again_in_another(self, driver: ResourceDriver) -> None:
        driver.create(WEB, Resources(), Placement("batch"))
        driver.create(WEB, Resources(), Placement("night"))
        driver.create(WEB, Resources())
        assert list(driver.list()) == [WEB]

    # Limits and accounting

    def test_a_limit_is_set_or_warned_of(self, driver: ResourceDriver) -> None:
        asked = Resources(memory_max_bytes=64 * _MIB, pids_max=50)
        cgroup = driver.create(WEB, asked)
        _assert_set_or_warned(driver, cgroup.warnings, memory=64 * _MIB, pids=50)

    def test_update_changes_what_is_asked_and_nothing_else(self, driver: ResourceDriver) -> None:
        driver.create(WEB, Resources(memory_max_bytes=64 * _MIB, pids_max=50))
        warnings = driver.update(WEB, Resources(pids_max=20))
        stats = driver.stats(WEB)
        assert (stats.pids_max == 20) != any("PIDs" in warning for warning in warnings)
        assert stats.memory_max_bytes in (None, 64 * _MIB)
        assert not any("memory" in warning for warning in warnings)

    def test_a_warning_is_a_sentence(self, driver: ResourceDriver) -> None:
        everything = Resources(
            memory_max_bytes=64 * _MIB,
            memory_high_bytes=48 * _MIB,
            swap_max_bytes=0,
            cpu_quota_us=50_000,
            cpu_weight=200,
            pids_max=50,
        )
        warnings = driver.create(WEB, everything).warnings
        assert all(warning[0].isupper() and warning.endswith(".") for warning in warnings)
        assert len(set(warnings)) == len(warnings)

    def test_no_controllers_means_warnings_of_every_limit(self, driver: ResourceDriver) -> None:
        if driver.capabilities().controllers:
            pytest.skip("this host has controllers")
        warnings = driver.create(WEB, Resources(memory_max_bytes=64 * _MIB, pids_max=50)).warnings
        assert len(warnings) == 2

    def test_nobody_was_killed_in_a_new_group(self, driver: ResourceDriver) -> None:
        driver.create(WEB, Resources())
        assert driver.oom_kills(WEB) == 0

    # Processes

    def test_processes_are_those_that_joined(self, driver: ResourceDriver, spawn: Callable[[Cgroup], int]) -> None:
        cgroup = driver.create(WEB, Resources())
        assert driver.processes(WEB) == []
        pids = [spawn(cgroup), spawn(cgroup)]
        assert sorted(driver.processes(WEB)) == sorted(pids)

    def test_a_group_with_processes_cannot_be_removed(
        self, driver: ResourceDriver, spawn: Callable[[Cgroup], int]
    ) -> None:
        spawn(driver.create(WEB, Resources()))
        with pytest.raises(Conflict):
            driver.remove(WEB)
        assert list(driver.list()) == [WEB]

    def test_after_kill_the_group_can_be_removed(
        self, driver: ResourceDriver, spawn: Callable[[Cgroup], int]
    ) -> None:
        cgroup = driver.create(WEB, Resources())
        spawn(cgroup)
        spawn(cgroup)
        driver.kill(WEB)
        driver.remove(WEB)
        assert list(driver.list()) == []

    def test_kill_of_an_empty_or_missing_group_is_no_error(self, driver: ResourceDriver) -> None:
        driver.create(WEB, Resources())
        driver.kill(WEB)
        driver.kill(NOTHING)

    def test_a_frozen_group_can_be_thawed_and_killed(
        self, driver: ResourceDriver, spawn: Callable[[Cgroup], int]
    ) -> None:
        if not driver.capabilities().freeze:
            pytest.skip("this host can't freeze")
        spawn(driver.create(WEB, Resources()))
        assert not driver.is_frozen(WEB)
        driver.freeze(WEB)
        driver.freeze(WEB)
        assert driver.is_frozen(WEB)
        driver.thaw(WEB)
        driver.thaw(WEB)
        assert not driver.is_frozen(WEB)
        driver.freeze(WEB)
        driver.kill(WEB)
        driver.remove(WEB)
        assert list(driver.list()) == []

    def test_a_host_that_cannot_freeze_says_so(self, driver: ResourceDriver) -> None:
        if driver.capabilities().freeze:
            pytest.skip("this host can freeze")
        driver.create(WEB, Resources())
        with pytest.raises(Unsupported):
            driver.freeze(WEB)
        assert not driver.is_frozen(WEB)

    # Events

    def test_events_tell_when_the_last_process_ends(
        self, driver: ResourceDriver, spawn: Callable[[Cgroup], int]
    ) -> None:
        spawn(driver.create(WEB, Resources()))
        with _Listener(driver) as listener:
            driver.kill(WEB)
            assert listener.next() == GroupEvent(WEB, "empty")

    def test_events_of_a_group_made_later_are_told_too(
        self, driver: ResourceDriver, spawn: Callable[[Cgroup], int]
    ) -> None:
        with _Listener(driver) as listener:
            cgroup = driver.create(WEB, Resources())
            for _ in range(10):  # a process that comes and goes between two notifications may be missed
                spawn(cgroup)
                driver.kill(WEB)
                if (event := listener.next_within(2)) is not None:
                    break
            assert event == GroupEvent(WEB, "empty")

    def test_events_end_when_the_driver_is_closed(self, driver: ResourceDriver) -> None:
        with _Listener(driver) as listener:
            driver.close()
            assert listener.next() is None

    # Restarts

    def test_a_new_driver_on_the_slice_finds_groups_with_processes(
        self,
        factory: ResourceFactory,
        settings: ResourceSettings,
        driver: ResourceDriver,
        spawn: Callable[[Cgroup], int],
    ) -> None:
        pid = spawn(driver.create(WEB, Resources()))
        other = spawn(driver.create(OTHER, Resources(), Placement("batch/night")))
        again = self.reopened(factory, settings)
        assert sorted(again.list()) == sorted([WEB, OTHER])
        assert again.processes(WEB) == [pid]
        assert again.processes(OTHER) == [other]

    def reopened(self, factory: ResourceFactory, settings: ResourceSettings) -> ResourceDriver:
        """The driver of the next daemon on the same slice; an in-memory driver skips the test."""
        return factory(settings)


class _Listener:
    """Receives events in a separate thread, which ends when the driver is closed."""

    def __init__(self, driver: ResourceDriver) -> None:
        self._driver = driver
        self._events = driver.events()
        self._heard: queue.SimpleQueue[GroupEvent | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> _Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.close()
        self._thread.join(_DEADLINE_S)

    def next(self) -> GroupEvent | None:
        """The next event; `None` after the last. Fails the test if none comes."""
        return self._heard.get(timeout=_DEADLINE_S)

    def next_within(self, seconds: float) -> GroupEvent | None:
        """The next event; `None` if none comes in time, or after the last."""
        try:
            return self._heard.get(timeout=seconds)
        except queue.Empty:
            return None

    def _listen(self) -> None:
        for event in self._events:
            self._heard.put(event)
        self._heard.put(None)


def _assert_set_or_warned(driver: ResourceDriver, warnings: tuple[str, ...], *, memory: int, pids: int) -> None:
    stats = driver.stats(WEB)
    assert (stats.memory_max_bytes == memory) != any("memory limit" in warning for warning in warnings)
    assert (stats.pids_max == pids) != any("PIDs limit" in warning for warning in warnings)


def _mount_of_v2() -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        if words[words.index("-") + 1] == "cgroup2":
            return Path(words[4])
    pytest.skip("no cgroup2 file system is mounted")
