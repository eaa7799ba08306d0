"""Converts errors to Docker's responses: the class determines the status, the message is the body."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from sampan.errdefs import (
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InvalidArgument,
    NotFound,
    NotModified,
    SampanError,
    Unauthorized,
    Unavailable,
    Unsupported,
)

STATUS: dict[type[SampanError], int] = {
    InvalidArgument: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    NotModified: 304,
    Conflict: 409,
    Unavailable: 503,
    Unsupported: 501,
    DeadlineExceeded: 500,
}


def status_of(error: BaseException) -> int:
    """The HTTP status for an error's class; 500 if it is not a `SampanError`."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Docker's error response, `{"message": …}`, or no body if the status allows none."""
    if status in (204, 304):
        return Response(status_code=status, headers=headers)
    body = (
        json.dumps({"message": message}, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"
    )
    return Response(body, status, headers, media_type="application/json")


def response_of(error: SampanError) -> Response:
    """The response for a `SampanError`."""
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, Unavailable) else None
    return error_response(status_of(error), str(error), headers)


def install_handlers(app: FastAPI) -> None:
    """Convert errors of the framework and ours to Docker's format; all others are handled by `Edge`."""
    app.exception_handler(SampanError)(_on_sampan_error)
    app.exception_handler(RequestValidationError)(_on_validation_error)
    app.exception_handler(HTTPException)(_on_http_error)


async def _on_sampan_error(_: Request, error: SampanError) -> Response:
    return response_of(error)


async def _on_validation_error(_: Request, error: RequestValidationError) -> Response:
    return error_response(400, _complaint(error.errors()[0]))


def _complaint(problem: Mapping[str, Any]) -> str:
    """The problem in one line; the framework validates only parameters."""
    _, *path = problem["loc"]
    return f'invalid value for "{path[0] if path else ""}": {problem["msg"]}'


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    message = error.detail
    if error.status_code == 404 and message == HTTPStatus.NOT_FOUND.phrase:
        message = "page not found"
    elif error.status_code == 405:
        return error_response(405, "method not allowed", {"Allow": ", ".join(_allowed(request))})
    return error_response(error.status_code, message, error.headers)


def _allowed(request: Request) -> list[str]:
    """The methods of the path; the framework considers only those of the first matching route."""
    routes: Sequence[BaseRoute] = request.app.state.routes
    at_path = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in at_path if isinstance(route, Route) for method in route.methods or ()})
