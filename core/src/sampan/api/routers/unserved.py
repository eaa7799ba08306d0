"""Docker's operations that this engine doesn't serve yet: they return 501, never 404 or success."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi import APIRouter, Response

from sampan.api.describe import only
from sampan.api.operations import OPERATIONS, Operation
from sampan.errdefs import Unsupported

_SWARM = frozenset({"Swarm", "Node", "Service", "Task", "Secret", "Config"})
_PARAMETER = re.compile(r"{([a-z]+)(?::path)?}")


def unserved_router(served: Iterable[tuple[str, str]]) -> APIRouter:
    """Routes for all of Docker's operations except the `served` ones, given as method and path."""
    router = APIRouter()
    known = {(method, shape_of(path)) for method, path in served}
    for operation in OPERATIONS:
        if (operation.method, shape_of(operation.path)) not in known:
            _add(router, operation)
    return router


def shape_of(path: str) -> str:
    """A path without the names of its parameters."""
    return _PARAMETER.sub("{}", path)


def _add(router: APIRouter, operation: Operation) -> None:
    router.add_api_route(
        _PARAMETER.sub(r"{\1:path}", operation.path),
        _refusal(operation),
        methods=[operation.method],
        tags=[operation.tag],
        summary=f"{operation.method} {operation.path}: not served yet",
        operation_id=operation.id,
        response_class=Response,
        status_code=501,
        responses=only(404, 501),
        openapi_extra={"parameters": [_parameter(name) for name in _PARAMETER.findall(operation.path)]},
    )


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _refusal(operation: Operation) -> Callable[[], Coroutine[Any, Any, Response]]:
    reason = "it has no swarm" if operation.tag in _SWARM else "it is left for a later version"

    async def refuse() -> Response:
        raise Unsupported(f"sampan does not serve {operation.method} {operation.path} yet: {reason}")

    refuse.__doc__ = "Part of Docker's API; this engine answers 501."
    return refuse
