"""Where things lie in the exec root, all of it gone with the boot.

state/NAME/            the state of the OCI runtime NAME
containers/ID/         record.json, init.pid, conmon.pid, log (the runtime's errors)
containers/ID/ID       the exit code, once init has ended
containers/ID/exec/ID  of a running exec
tmp/                   console sockets, for a moment
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
        """A directory for each container."""
        return self.exec_root / "containers"

    @property
    def tmp(self) -> Path:
        """For what is there for a moment only."""
        return self.exec_root / "tmp"

    def state(self, runtime: str) -> Path:
        """What an OCI runtime notes of its containers."""
        return self.exec_root / "state" / runtime

    def container(self, id: str) -> Path:
        """What is noted of a container."""
        return self.containers / id

    def log(self, id: str) -> Path:
        """The runtime's errors."""
        return self.container(id) / "log"

    def exit_file(self, id: str) -> Path:
        """Written by conmon, at once and whole, when init has ended; its modification time is the time of that."""
        return self.container(id) / id

    def exec(self, id: str, exec_id: str) -> Path:
        """Of an exec while it runs."""
        return self.container(id) / "exec" / exec_id
