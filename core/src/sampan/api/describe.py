"""Descriptions of routes' responses for the OpenAPI document.

Models are only named. Given the models themselves, FastAPI would create a validator for each response of each route
at every start, which takes 0.2 s and 2 MB and is never used, as the routes return bytes.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from sampan.api.framing import MULTIPLEXED_STREAM, RAW_STREAM

_DESCRIPTIONS = {
    101: "The connection becomes a raw stream, both ways",
    200: "The answer",
    201: "Made",
    204: "Done",
    304: "It is already so",
    400: "The request makes no sense",
    401: "The registry does not take these credentials",
    403: "Not allowed here",
    404: "No such thing",
    409: "Its state does not allow this",
    500: "Something failed",
    501: "Not served by this engine",
    503: "Not now: the engine is full or stopping; try again after Retry-After seconds",
}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Descriptions of the statuses that a route may return besides success, with 400, 500 and 503 added."""
    return only(400, *statuses, 500, 503)


def only(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Descriptions of the statuses that a route may return besides success."""
    documented: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        documented[status] = {"description": _DESCRIPTIONS[status]}
        if status >= 400:
            documented[status]["content"] = _json(_reference("ErrorResponse"))
    return documented


def returns(model: type[BaseModel], status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The description of a response with one JSON object."""
    return {status: {"description": _DESCRIPTIONS[status], "content": _json(_reference(model.__name__))}}


def lists(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The description of a response with a list of JSON objects."""
    schema = {"type": "array", "items": _reference(model.__name__)}
    return {200: {"description": _DESCRIPTIONS[200], "content": _json(schema)}}


def stream(description: str, *media_types: str, **more: dict[str, Any]) -> dict[str, Any]:
    """The description of a streamed response."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in media_types}
    return {"description": description, "content": {**content, **more}}


OUTPUT = stream(
    "The output: raw bytes with a terminal; without one frames of an 8-byte header (stream number, three zeros, "
    "big-endian length) and their content",
    RAW_STREAM,
    MULTIPLEXED_STREAM,
)
"""The description of a response with the output of processes."""


def item(description: str, model: str) -> dict[str, Any]:
    """The description of one JSON object written by a job."""
    return {"description": description, "content": _json(_reference(model))}


def items(description: str, model: str, *media_types: str) -> dict[str, Any]:
    """The description of a stream of JSON objects, one per line.

    The whole stream is not a JSON document, so there is no `schema`, by which generated clients would parse it.
    OpenAPI 3.2 has `itemSchema` for this.
    """
    return {
        "description": description,
        "content": {kind: {"x-itemSchema": _reference(model)} for kind in media_types},
    }


def _reference(model: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{model}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
