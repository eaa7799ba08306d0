"""Parameters of routes, parsed as Docker does."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import time
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Header, Path, Query, Request
from pydantic import BeforeValidator, ValidationError, WithJsonSchema

from sampan.api.run import Runner
from sampan.errdefs import InvalidArgument
from sampan.models import RegistryAuth
from sampan.models.image import Platform


async def _runner(request: Request) -> Runner:  # async, so that FastAPI doesn't call it in a thread
    return Runner(request)


Run = Annotated[Runner, Depends(_runner)]
"""Runs the jobs of the request."""

_FALSE = frozenset({"", "0", "no", "false", "none"})


def _flag(value: Any) -> Any:
    return value.strip().lower() not in _FALSE if isinstance(value, str) else value


def _empty_is_absent(value: Any) -> Any:
    return None if value == "" else value


Flag = Annotated[bool, BeforeValidator(_flag), Query()]
"""A boolean: empty, 0, no, false and none are false, everything else is true."""

Number = Annotated[int | None, BeforeValidator(_empty_is_absent), Query()]
"""An integer; an empty value is treated as absent."""

Size = Annotated[int, Query(ge=0, lt=2**16)]
"""Height or width of a terminal, in characters."""

Name = Annotated[str, Path(description="ID or name", examples=["web"])]
"""A name or an ID in the path."""

RegistryHeader = Annotated[
    str | None, Header(alias="X-Registry-Auth", description="credentials: JSON in URL-safe base64")
]
"""Credentials for a registry, parsed by `read_auth`."""

Filters = Annotated[
    str,
    Query(
        description='JSON: `{"label": ["a=b"]}`, each filter with a list of values, one of which must match',
        examples=['{"label": ["com.example.role=web"]}'],
    ),
]
"""Docker's filters, as JSON, parsed by `read_filters`."""

Timestamp = Annotated[
    str,
    Query(description="seconds since the epoch with an optional fraction, RFC 3339, or a duration ago such as `10m`"),
    WithJsonSchema({"type": "string"}),
]
"""A time as clients write it, parsed by `read_time`."""


async def _container_path(
    request: Request,
    path: Annotated[str, Query(description="a path in the container, absolute or from its root")] = "",
) -> bytes:
    """The path as bytes, as in the raw query: file names need not be valid text."""
    if not path:
        raise InvalidArgument("bad parameter: path cannot be empty")
    pairs = parse_qsl(request.url.query, errors="surrogateescape")
    return os.fsencode(next(value for name, value in pairs if name == "path"))


ContainerPath = Annotated[bytes, Depends(_container_path)]
"""The parameter `path`, a file in a container."""

_SEQUENCE = "seq:"
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]*)?|\.[0-9]+)([hms])")
_DURATION = re.compile(f"(?:{_PART.pattern})+")


def read_filters(text: str) -> dict[str, list[str]]:
    """Parse filters into lists of values. Old clients send `{"label": {"a=b": true}}`.

    Raises `InvalidArgument` with Docker's message.
    """
    if not text:
        return {}
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidArgument("invalid filter") from None
    if not isinstance(document, dict):
        raise InvalidArgument("invalid filter")
    return {name: _filter_values(values) for name, values in document.items()}


def _filter_values(values: Any) -> list[str]:
    if isinstance(values, dict):
        values = [value for value, wanted in values.items() if wanted is True]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidArgument("invalid filter")
    return values


def read_time(name: str, text: str) -> int | None:
    """Parse a time into nanoseconds since the epoch; `None` if empty or 0. `InvalidArgument` names the parameter."""
    return None if text == "0" else read_moment(name, text)


def read_moment(name: str, text: str) -> int | None:
    """Like `read_time`, but 0 is the epoch."""
    if not text:
        return None
    try:
        return _unix_ns(text)
    except ValueError:
        pass
    try:
        return _ago_ns(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgument(
            f'invalid value for "{name}": failed to parse value as time or duration: "{text}"'
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000) * 1000


def read_sequence(text: str) -> int | None:
    """The number in `seq:NUMBER`; `None` for text without that prefix. Raises `InvalidArgument`."""
    if not text.startswith(_SEQUENCE):
        return None
    number = text.removeprefix(_SEQUENCE)
    if not (number.isascii() and number.isdecimal() and len(number) < 19):
        raise InvalidArgument(f'invalid value for "since": "{text}" must be "{_SEQUENCE}" and the number of an event')
    return int(number)


def _unix_ns(text: str) -> int:
    """Parse `SECONDS[.FRACTION]` without floating-point rounding."""
    seconds, _, fraction = text.partition(".")
    if not seconds.lstrip("-").isdecimal() or (fraction and not fraction.isdecimal()) or len(seconds) > 12:
        raise ValueError(text)
    return int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or 0)


def _ago_ns(text: str) -> int:
    """The time a duration such as `1h2m3s` ago."""
    if len(text) > 32 or not _DURATION.fullmatch(text):
        raise ValueError(text)
    total = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    return time.time_ns() - int(total * 1_000_000_000)


def read_tail(text: str) -> int | None:
    """A number of lines; `None`, meaning all, for anything that is not a number, as in Docker."""
    return int(text) if text.isdecimal() and len(text) < 10 else None


def read_auth(text: str | None) -> RegistryAuth | None:
    """Parse the header X-Registry-Auth: JSON in URL-safe base64. An invalid one is ignored, as by Docker."""
    if not text:
        return None
    try:
        return RegistryAuth.model_validate_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValidationError, binascii.Error, ValueError):
        return None


def read_platform(text: str) -> str | None:
    """Convert a platform, JSON (`{"os": …}`) or text, to os/architecture[/variant]. Raises `InvalidArgument`."""
    if not text.startswith("{"):
        return text or None
    try:
        platform = Platform.model_validate_json(text)
    except ValidationError:
        raise InvalidArgument("failed to parse platform") from None
    if not platform.os or not platform.architecture:
        raise InvalidArgument("both OS and Architecture must be provided")
    return "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)
