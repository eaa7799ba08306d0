"""Starting an exec."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.errdefs import SystemFailure
from sampan.runtime.command import RuntimeCommand
from sampan.runtime.execution import ExecRequest, start


@pytest.mark.parametrize("terminal", [True, False])
def test_what_the_host_has_run_out_of_is_told_and_nothing_is_left(tmp_path: Path, terminal: bool) -> None:
    missing = RuntimeCommand("runc", tmp_path / "no-such-program", (), tmp_path)
    request = ExecRequest(missing, "web", tmp_path / "exec", tmp_path, {"args": ["true"]}, terminal, stdin=True)
    with pytest.raises(SystemFailure, match=r"exec can't be started: .*No such file"):
        start(request)
    assert list(tmp_path.iterdir()) == []
