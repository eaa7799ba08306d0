"""The supported versions of the Docker Engine API, and their parsing and formatting."""

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
    """The version as text, such as `1.56`."""
    return f"{version[0]}.{version[1]}"


def split_version(path: str) -> tuple[Version, str]:
    """Split a path into the version in its prefix, by default the newest, and the rest.

    Raises `InvalidArgument` with Docker's message for an unsupported version.
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
