"""Translates an OCI runtime's errors into Docker's.

Docker's message consists of layers of prefixes around the runtime's own; clients match parts of it (docker's CLI
derives its exit status 126 or 127 from it). Source: moby daemon/errors.go, setExitCodeFromError.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from sampan.errdefs import InvalidArgument, SampanError, SystemFailure

NOT_EXECUTABLE = 126
NOT_FOUND = 127

_CREATE = "failed to create task for container: failed to create shim task: OCI runtime create failed: "
_EXEC = "OCI runtime exec failed: "
_CRUN_WORDS = (
    # crun's messages, and runc's equivalents that Docker's clients know (crun src/libcrun/container.c)
    (
        re.compile(r"executable file `(.*)` not found in \$PATH.*", re.DOTALL),
        "executable file not found in $PATH",
    ),
    (re.compile(r"open executable: (?:Permission denied|Operation not permitted)"), "permission denied"),
    (re.compile(r"open executable: No such file or directory"), "no such file or directory"),
)
_NOT_FOUND_SIGNS = ("executable file not found", "no such file or directory", "system cannot find the file specified")
_KIND_HINT = (
    ": Are you trying to mount a directory onto a file (or vice-versa)? "
    "Check if the specified host path exists and is the expected type"
)


class StartFailure(InvalidArgument):
    """The runtime could not start a process; `exit_code` is what Docker records for that (127 or 126)."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def create_failure(words: str, command: str = "") -> SampanError:
    """The error for a container that the runtime could not create or start; `command` is what it should have run."""
    return _classified(f"{_CREATE}{_known_words('crun create failed', words, command)}: unknown")


def exec_failure(words: str, command: str = "") -> SampanError:
    """The error for an exec that the runtime could not start."""
    return _classified(f"{_EXEC}{_known_words('exec failed', words, command)}: unknown")


def last_error(log: Path) -> str:
    """The last error in the runtime's JSON log, or "". runc repeats and wraps each cause once per process."""
    try:
        lines = log.read_bytes().splitlines()
    except FileNotFoundError:
        return ""
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal", "panic"):
            return str(entry.get("msg", ""))
    return ""


def _known_words(what: str, words: str, command: str) -> str:
    for pattern, known in _CRUN_WORDS:
        if found := pattern.search(words):
            named = found[1] if pattern.groups else command
            said = f'{words[: found.start()]}exec: "{named}": {known}{words[found.end() :]}'
            return f"{what}: unable to start container process: {said}"
    return words


def _classified(message: str) -> SampanError:
    lowered = message.lower()
    if "permission denied" in lowered:
        return StartFailure(message, NOT_EXECUTABLE)
    if "is a directory" in lowered:
        # The client looks for the text of EACCES to distinguish 126 from 125.
        return StartFailure(f"{message}: permission denied", NOT_EXECUTABLE)
    if "not a directory" in lowered:
        return StartFailure(message + _KIND_HINT, NOT_FOUND)
    if any(sign in lowered for sign in _NOT_FOUND_SIGNS):
        return StartFailure(message, NOT_FOUND)
    return SystemFailure(message)
