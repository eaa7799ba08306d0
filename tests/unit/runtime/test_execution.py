"""Starting an exec."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from sampan.errdefs import SystemFailure
from sampan.runtime.command import RuntimeCommand
from sampan.runtime.execution import ExecRequest, start
from sampan.syscalls.process import ends_within


@pytest.mark.parametrize("terminal", [True, False])
def test_what_the_host_has_run_out_of_is_told_and_nothing_is_left(tmp_path: Path, terminal: bool) -> None:
    missing = RuntimeCommand("runc", tmp_path / "no-such-program", (), tmp_path)
    request = ExecRequest(missing, "web", tmp_path / "exec", tmp_path, {"args": ["true"]}, terminal, stdin=True)
    with pytest.raises(SystemFailure, match=r"exec can't be started: .*No such file"):
        start(request)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def standing(tmp_path: Path) -> RuntimeCommand:
    """A runtime that hangs, with a child that hangs too."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nsleep 1000 & echo $$ >> $0.pids; echo $! >> $0.pids; wait\n")
    program.chmod(0o755)
    return RuntimeCommand("runc", program, (), tmp_path)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.runtime.execution._RUNTIME_PATIENCE_S", 0.5)
    monkeypatch.setattr("sampan.runtime.command._PATIENCE_S", 0.5)


@pytest.mark.usefixtures("impatient")
def test_a_runtime_that_stands_still_is_ended_with_all_of_its(tmp_path: Path, standing: RuntimeCommand) -> None:
    request = ExecRequest(
        standing, "web", tmp_path / "exec", tmp_path, {"args": ["true"]}, terminal=False, stdin=True
    )
    with pytest.raises(SystemFailure, match=r"runc exec has not ended in 0\.5 s"):
        start(request)
    started, child = map(int, (tmp_path / "program.pids").read_text().split())
    assert not Path(f"/proc/{started}").exists()
    with suppress(ProcessLookupError):
        assert ends_within(child, 10)


@pytest.mark.usefixtures("impatient")
def test_a_subcommand_that_stands_still_is_an_error(tmp_path: Path, standing: RuntimeCommand) -> None:
    assert standing.run(tmp_path / "log", "delete", "web") == "it has not ended in 0.5 s"
    _, child = map(int, (tmp_path / "program.pids").read_text().split())
    os.kill(child, signal.SIGKILL)
