"""What the runtime records about a container in the exec root, so that a later daemon finds it again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_NAME = "record.json"


@dataclass(frozen=True)
class Process:
    """A process, unique until the next boot: a pid can be reused, but not with the same start time."""

    pid: int
    started: int


@dataclass(frozen=True)
class Record:
    """One container.

    `hooks`: its spec has hooks. `own_cgroup`: no resource driver created its cgroup, so it is removed with the
    container. `stdin_once`: its stdin ends when a caller disconnects. The processes are `None` until create has
    succeeded.
    """

    id: str
    bundle: str
    runtime: str
    terminal: bool
    hooks: bool
    own_cgroup: bool = False
    stdin_once: bool = True
    init: Process | None = None
    conmon: Process | None = None

    def save(self, directory: Path) -> None:
        """Write it atomically. The exec root does not outlive the boot, so no fsync is needed."""
        new = directory / f"{_NAME}.new"
        new.write_text(json.dumps(asdict(self)))
        new.replace(directory / _NAME)

    @classmethod
    def load(cls, directory: Path) -> Record | None:
        """The record in `directory`; `None` if there is none, or it can't be read."""
        try:
            fields: dict[str, Any] = json.loads((directory / _NAME).read_bytes())
            init, conmon = fields.pop("init"), fields.pop("conmon")
            return cls(**fields, init=Process(**init) if init else None, conmon=Process(**conmon) if conmon else None)
        except (OSError, ValueError, TypeError, KeyError):
            return None
