"""The programs that the engine uses, and the versions that they report."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_VERSION = re.compile(r"^(?P<name>\S+) version (?P<version>\S+)(?: - git\.(?P<git>\w+))?", re.MULTILINE)
_COMMIT = re.compile(r"^commit:\s*(\S+)", re.MULTILINE)
_PATIENCE_S = 10


@dataclass(frozen=True)
class Program:
    """One program. `version` and `commit` are empty if it does not report them."""

    name: str
    version: str = ""
    commit: str = ""


class Programs:
    """Asks each program once for its version."""

    def __init__(self, paths: Mapping[str, Path | None]) -> None:
        """`paths` are by role, such as `runtime`; `None` stands for a program that is not installed."""
        self._paths = {part: path for part, path in paths.items() if path is not None}
        self._known: dict[str, Program] = {}

    async def get(self, part: str) -> Program | None:
        """The program in the role `part`, `None` if there is none."""
        if part in self._paths and part not in self._known:
            self._known[part] = await asyncio.to_thread(_ask, self._paths[part])
        return self._known.get(part)

    async def list(self) -> list[Program]:
        """All programs."""
        return [program for part in self._paths if (program := await self.get(part))]


def _ask(path: Path) -> Program:
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=False, timeout=_PATIENCE_S, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return Program(path.name)
    return parse_version(path.name, done.stdout)


def parse_version(name: str, said: str) -> Program:
    """Parse the output of runc, crun, conmon, tini or catatonit.

    The name is the file's: catatonit calls itself tini.
    """
    found, commit = _VERSION.search(said), _COMMIT.search(said)
    if not found:
        return Program(name)
    told = found["git"] or (commit[1] if commit and commit[1] != "unknown" else "")
    return Program(name, found["version"], told)
