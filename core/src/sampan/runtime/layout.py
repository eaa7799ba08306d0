"""The layout of the exec root, which does not outlive the boot.

state/NAME/            the state of the OCI runtime NAME
containers/ID/         record.json, init.pid, conmon.pid, log (the runtime's errors)
containers/ID/ID       the exit code, once init has ended
containers/ID/exec/ID  files of a running exec
tmp/                   short-lived console sockets
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths below one exec root."""

    exec_root: Path

    @property
    def containers(self) -> Path:
        """The directory with one directory for each container."""
        return self.exec_root / "containers"

    @property
    def tmp(self) -> Path:
        """The directory for short-lived files."""
        return self.exec_root / "tmp"

    def state(self, runtime: str) -> Path:
        """The state directory of an OCI runtime."""
        return self.exec_root / "state" / runtime

    def container(self, id: str) -> Path:
        """The directory with a container's files."""
        return self.containers / id

    def log(self, id: str) -> Path:
        """The runtime's errors."""
        return self.container(id) / "log"

    def exit_file(self, id: str) -> Path:
        """Written by conmon, atomically, when init has ended; its modification time is the time of the exit."""
        return self.container(id) / id

    def exec(self, id: str, exec_id: str) -> Path:
        """The directory of an exec while it runs."""
        return self.container(id) / "exec" / exec_id
