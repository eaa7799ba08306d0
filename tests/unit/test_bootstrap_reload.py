"""SIGHUP: the new configuration is applied, or the log says why not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from sampan.bootstrap.reload import RELOADED, Reload
from sampan.config import DaemonConfig
from sampan.errdefs import InvalidArgument, Unsupported


class Daemon:
    """Records the configurations it is given, and may refuse them."""

    def __init__(self) -> None:
        self.given: list[DaemonConfig] = []
        self.told = asyncio.Event()
        self.refusal: Unsupported | None = None

    async def apply(self, config: DaemonConfig) -> None:
        self.told.set()
        if self.refusal:
            raise self.refusal
        self.given.append(config)


def reading(*configs: DaemonConfig) -> Callable[[], DaemonConfig]:
    left = list(configs)
    return lambda: left.pop(0)


async def settled(reload: Reload) -> None:
    assert reload._task
    await asyncio.wait_for(asyncio.shield(reload._task), 30)


async def test_what_can_change_does_and_the_rest_waits_for_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    daemon, before = Daemon(), DaemonConfig(labels=("old",))
    found = DaemonConfig(labels=("new",), debug=True, workers=9, data_root=Path("/elsewhere"))
    reload = Reload(before, reading(found))
    reload.ready(daemon.apply)
    reload.ask()
    await settled(reload)
    [config] = daemon.given
    assert (config.labels, config.debug, config.workers, config.data_root) == (("new",), True, 32, before.data_root)
    assert reload.config == config
    assert caplog.messages == [
        "these settings have changed, which takes effect only after a restart of sampand: data-root, workers"
    ]


@pytest.mark.parametrize("fault", ["read", "apply"])
async def test_what_fails_changes_nothing(caplog: pytest.LogCaptureFixture, fault: str) -> None:
    daemon, before = Daemon(), DaemonConfig()

    def read() -> DaemonConfig:
        if fault == "read":
            raise InvalidArgument("no good")
        return DaemonConfig(debug=True)

    daemon.refusal = Unsupported("no good")
    reload = Reload(before, read)
    reload.ready(daemon.apply)
    reload.ask()
    await settled(reload)
    assert (reload.config, daemon.given) == (before, [])
    assert caplog.messages == ["the configuration is not changed: no good"]


async def test_asked_while_it_reads_it_reads_once_more() -> None:
    daemon, reads = Daemon(), []

    def read() -> DaemonConfig:
        reads.append(1)
        return DaemonConfig(shutdown_timeout=len(reads))

    reload = Reload(DaemonConfig(), read)
    reload.ready(daemon.apply)
    reload.ask()
    await daemon.told.wait()
    for _ in range(3):
        reload.ask()
    await settled(reload)
    assert reload.config.shutdown_timeout == len(reads) <= 2


async def test_a_daemon_that_only_just_starts_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    Reload(DaemonConfig(), reading()).ask()
    assert caplog.messages == ["SIGHUP is ignored: the daemon is starting and reads its configuration anyway"]


def test_only_settings_are_reloaded() -> None:
    assert set(RELOADED) <= DaemonConfig.model_fields.keys()
