"""Request bodies, parsed as Docker parses JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from pydantic import ValidationError

from sampan.api.complaint import complaint
from sampan.errdefs import InvalidArgument
from sampan.models.base import Model

ModelT = TypeVar("ModelT", bound=Model)


def json_body(model: type[ModelT], *, required: bool = False) -> Callable[[Request], Coroutine[Any, Any, ModelT]]:
    """A dependency that parses the body as `model`; an empty one, unless `required`, as an object without fields.

    Raises `InvalidArgument` with Docker's message.
    """

    async def read(request: Request) -> ModelT:
        content = await request.body()
        content_type = request.headers.get("content-type", "")
        if content and content_type.partition(";")[0].strip().lower() != "application/json":
            raise InvalidArgument(f"unsupported Content-Type header ({content_type}): must be 'application/json'")
        if not content and required:
            raise InvalidArgument("invalid JSON: got EOF while reading request body")
        try:
            return model.model_validate_json(content or b"{}")
        except ValidationError as error:
            raise InvalidArgument(f"invalid JSON: {complaint(error, model, content)}") from None

    return read


def body_schema(model: type[Model], *, required: bool = False) -> dict[str, Any]:
    """The description of the body in the OpenAPI document (`openapi_extra` of the route)."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}
