"""Versions of the Docker Engine API: which are served, and how they are written."""

from __future__ import annotations

import re
from typing import TypeAlias

from sampan.errdefs import InvalidArgument
from sampan.models.versions import NEWEST_API, OLDEST_API

Version: TypeAlias = tuple[int, int]

_PREFIX = re.compile(r"/v([0-9]{1,4})\.([0-9]{1,4})(?=/)")


def _read(text: str) -> Version:
    major, minor = map(int, text.split("."))
    return major, minor


OLDEST, NEWEST = _read(OLDEST_API), _read(NEWEST_API)


def text(version: Version) -> str:
    """`1.56`."""
    return f"{version[0]}.{version[1]}"


def split_version(path: str) -> tuple[Version, str]:
    """The version that a path asks for, and the path without it. Without a prefix it is the newest.

    Raises `InvalidArgument` in Docker's words for a version that isn't served.
    """
    found = _PREFIX.match(path)
    if not found:
        return NEWEST, path
    version = (int(found[1]), int(found[2]))
    if version > NEWEST:
        raise InvalidArgument(
            f"client version {text(version)} is too new. Maximum supported API version is {text(NEWEST)}"
        )
    if version < OLDEST:
        raise InvalidArgument(
            f"client version {text(version)} is too old. Minimum supported API version is {text(OLDEST)}, "
            "please upgrade your client to a newer version"
        )
    return version, path[found.end() :]
