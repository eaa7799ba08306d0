"""Errors of the command line; `main` turns each into a message and an exit status.

Statuses follow docker's: 1 for a failed command, 125 for a failed `run` or an unknown flag,
126 and 127 for a command that the container can't start.
"""

from __future__ import annotations


class CliError(Exception):
    """The command failed: `str(error)` is printed to stderr unless empty, and `status` is the exit status."""

    def __init__(self, message: str = "", status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class UsageError(Exception):
    """The command line is invalid; `main` adds the usage to the message.

    `prefixed` errors begin with the program's name, as docker's do for a wrong number of arguments.
    """

    def __init__(self, message: str, *, status: int = 125, prefixed: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.prefixed = prefixed


class ConnectionFailed(CliError):
    """No daemon answers at the address."""


class DaemonError(CliError):
    """The daemon returned an error; `code` is its HTTP status and `reason` its bare message."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"Error response from daemon: {reason}")
        self.code = code
        self.reason = reason
