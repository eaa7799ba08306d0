"""What all models of the Docker API have in common."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from operator import not_
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63, json_schema_extra={"format": "int64"})]
"""An integer that Go's int64 can hold."""

_ABBREVIATIONS = {
    "id": "ID",
    "ids": "IDs",
    "io": "IO",
    "iops": "IOps",
    "ip": "IP",
    "ipam": "IPAM",
    "ips": "IPs",
    "ipv4": "IPv4",
    "ipv6": "IPv6",
    "os": "OS",
    "rw": "RW",
    "uts": "UTS",
}


def docker_name(attribute: str) -> str:
    """Docker's name of a field: `cpu_shares` is CpuShares, `image_id` ImageID, but `id` alone is Id."""
    words = attribute.rstrip("_").split("_")
    if len(words) == 1 and words[0] in ("id", "os"):
        return words[0].capitalize()
    return "".join(_ABBREVIATIONS.get(word, word.capitalize()) for word in words)


def omitempty(default: Any = None, *, alias: str | None = None, factory: Any = None) -> Any:
    """A field that is left out of the JSON while it is empty, as with Go's tag of that name."""
    if factory is not None:
        return Field(default_factory=factory, alias=alias, exclude_if=not_)
    return Field(default, alias=alias, exclude_if=not_)


def omitnull(*, alias: str | None = None) -> Any:
    """A field that is left out of the JSON while it is null, as with Go's `omitempty` on a pointer."""
    return Field(None, alias=alias, exclude_if=lambda value: value is None)


class Model(BaseModel):
    """A JSON object of Docker's API: snake_case attributes, Docker's names as aliases.

    It is read as Go reads JSON: unknown fields are ignored, null is as good as absent, names are matched without
    regard to case, and a value of the wrong type is an error. Serialise it with `by_alias=True`.
    """

    model_config = ConfigDict(
        alias_generator=docker_name,
        populate_by_name=True,
        extra="ignore",
        strict=True,
        defer_build=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _read_as_go_does(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        names = _names(cls)
        return {
            names.get(name) or names.get(name.lower(), name): given
            for name, given in value.items()
            if given is not None and isinstance(name, str)
        }


class Request(BaseModel):
    """What a job is asked to do. Its attributes are ours: a route fills them in from path, query and body."""

    model_config = ConfigDict(strict=True, extra="forbid", defer_build=True)


@cache
def _names(model: type[Model]) -> Mapping[str, str]:
    """Each name that is taken for a field of `model`: attribute and alias as they are, alias in lower case."""
    aliases = [field.alias or name for name, field in model.model_fields.items()]
    return {
        **{alias.lower(): alias for alias in aliases},
        **{name: name for name in model.model_fields},
        **{alias: alias for alias in aliases},
    }
