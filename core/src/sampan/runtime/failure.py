"""A command that could not be started: Docker's words for it, and the exit code Docker shows for it."""

from __future__ import annotations

from sampan.errdefs import InvalidArgument


class StartFailure(InvalidArgument):
    """The runtime refused to start a process; `exit_code` is what Docker records for it (127 or 126)."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
