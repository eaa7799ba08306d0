"""The fields of an image's config that are used; they are validated, and nothing else is kept in memory.

Fields: OCI image-spec config.md, moby daemon/internal/image/image.go. The document itself is stored as a blob.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from sampan.errdefs import InvalidArgument
from sampan.models import ContainerConfig
from sampan.models.base import Model, omitempty

_ERRORS_MAX = 1000  # creating objects for a million errors would block the event loop for seconds


class _RootFS(Model):
    type: str = omitempty("", alias="type")
    diff_ids: list[str] = omitempty(factory=list, alias="diff_ids")


class _Step(Model):
    created: str = omitempty("", alias="created")
    created_by: str = omitempty("", alias="created_by")
    author: str = omitempty("", alias="author")
    comment: str = omitempty("", alias="comment")
    empty_layer: bool = omitempty(False, alias="empty_layer")


class _Document(Model):
    architecture: str = omitempty("", alias="architecture")
    variant: str = omitempty("", alias="variant")
    os: str = omitempty("", alias="os")
    os_version: str = omitempty("", alias="os.version")
    os_features: list[str] = omitempty(factory=list, alias="os.features")
    created: str = omitempty("", alias="created")
    author: str = omitempty("", alias="author")
    comment: str = omitempty("", alias="comment")
    config: ContainerConfig | None = omitempty(alias="config")
    rootfs: _RootFS = Field(alias="rootfs")
    history: list[_Step] = omitempty(factory=list, alias="history")


def known_fields(content: bytes) -> dict[str, Any]:
    """The fields of a config that are used here, as far as they are set.

    Names are matched as in Go, regardless of case. Raises `InvalidArgument` if it is not a JSON object, or a field
    has the wrong type.
    """
    try:
        checked = _Document.model_validate_json(content)
    except ValidationError as error:
        raise InvalidArgument(_told(error)) from None
    return checked.model_dump(by_alias=True, exclude_unset=True)


def _told(error: ValidationError) -> str:
    if error.error_count() > _ERRORS_MAX:
        return f"invalid image configuration: {error.error_count()} values are of another type"
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    kind, where, problem = first["type"], first["loc"], first["msg"]
    if kind == "json_invalid":
        return f"the image configuration is not JSON: {problem.removeprefix('Invalid JSON: ')}"
    if not where:
        return "the image configuration is not a JSON object"
    if kind == "missing" and where == ("rootfs",):
        return "invalid image JSON, no RootFS key"
    field = ".".join(map(str, where))
    return f"invalid {field[:200]} in image configuration: {problem}"
