"""The command line that every OCI runtime has in common (runc, crun, youki…)."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.runtime.device_filter import take_over
from sampan.runtime.failure import last_error

_PATIENCE_S = 60  # in a frozen cgroup it would wait forever, and block its thread


@dataclass(frozen=True)
class RuntimeCommand:
    """One OCI runtime: its name in the configuration, program, configured arguments, and state directory.

    `kind` is the program's name for itself (`runc`, `crun`).
    """

    name: str
    path: Path
    arguments: tuple[str, ...]
    state_dir: Path
    kind: str = ""

    def fitted(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The spec adapted to this program.

        To be called in a thread that sees cgroups as it does (see `device_filter`).
        """
        return take_over(spec) if self.kind == "crun" else spec

    def global_arguments(self, log: Path) -> tuple[str, ...]:
        """The arguments before the subcommand. `log` receives its errors, as JSON lines."""
        return (*self.arguments, "--root", str(self.state_dir), "--log", str(log), "--log-format", "json")

    def run(self, log: Path, *arguments: str) -> str | None:
        """Run a subcommand that needs no stdio; returns its error message, or `None`. Blocks."""
        log.unlink(missing_ok=True)
        try:
            done = subprocess.run(
                [str(self.path), *self.global_arguments(log), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={"PATH": os.defpath},
                cwd="/",
                start_new_session=True,
                timeout=_PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"it has not ended in {_PATIENCE_S} s"
        if done.returncode == 0:
            return None
        return last_error(log) or done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
