"""What a stalled conmon finds in its control FIFOs when it reads again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sampan.runtime import control
from sampan.runtime.control import tell_monitor
from sampan.runtime.watched import WatchedContainer


async def test_a_monitor_that_reads_late_finds_the_newest_message_of_each_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_CONTROL_PATIENCE_S", 0)
    for name in ("ctl", "winsz"):
        os.mkfifo(tmp_path / name)
    ends = [os.open(tmp_path / name, os.O_RDONLY | os.O_NONBLOCK) for name in ("ctl", "winsz")]
    container = cast("WatchedContainer", SimpleNamespace(bundle=tmp_path, control=asyncio.Lock()))
    for message in ("1 20 100\n", "2 0 0\n", "1 30 100\n", "2 0 0\n", "1 40 100\n"):
        await tell_monitor(container, message)
    assert os.read(ends[0], 4096) == b"2 0 0\n1 40 100\n"
    for end in ends:
        os.close(end)
