"""Helpers for commands that do the same to each argument."""

from __future__ import annotations

from collections.abc import Callable

from sampan.cli.errors import CliError, ConnectionFailed
from sampan.cli.session import Session


def for_each(session: Session, names: list[str], act: Callable[[str], str]) -> int:
    """Call `act` with each name and print its result, if any; after errors, which go to stderr, the status is 1."""
    status = 0
    for name in names:
        try:
            if answer := act(name):
                session.say(answer)
        except ConnectionFailed:
            raise
        except CliError as error:
            session.warn(str(error))
            status = 1
    return status


def segment(name: str) -> str:
    """A name quoted as one segment of a URL path."""
    if all(letter.isalnum() or letter in "-_.:" for letter in name) and name.isascii():
        return name
    from urllib.parse import quote

    return quote(name, safe="")
