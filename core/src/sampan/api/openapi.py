"""The OpenAPI document: FastAPI's, made right where it can't know."""

from __future__ import annotations

import copy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from sampan.api.examples import REQUESTS, RESPONSES
from sampan.api.versions import NEWEST, OLDEST, text
from sampan.models import CreateContainerBody, CreateVolume, Event, ExecConfig, ExecStartBody, Progress, WaitResult

# Models that routes name in their descriptions, but that FastAPI does not read or write itself.
_NAMED_ONLY = (CreateContainerBody, CreateVolume, Event, ExecConfig, ExecStartBody, Progress, WaitResult)
_DESCRIPTION = f"""\
The Docker Engine API, versions {text(OLDEST)} to {text(NEWEST)}, and what sampan adds to it: jobs, drivers, metrics.

Any path may begin with a version, as in `/v{text(NEWEST)}/info`; without one it is the newest. Every error is
`{{"message": …}}`. Every answer made by a job names it in the header `Sampan-Job`.
"""


def document(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _make(app)
    return app.openapi_schema


def _make(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=_DESCRIPTION,
        routes=app.routes,
        separate_input_output_schemas=False,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    schemas = made["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    _, others = models_json_schema(
        [(model, "validation") for model in _NAMED_ONLY], ref_template="#/components/schemas/{model}"
    )
    schemas |= others["$defs"]
    for methods in made["paths"].values():
        for method, operation in methods.items():
            if method not in ("get", "head"):
                operation["responses"]["403"] = copy.deepcopy(_FORBIDDEN)
            _finish(operation)
    return made


def _finish(operation: dict[str, Any]) -> None:
    """No 422 (we answer 400), bodies and answers with examples, and the header that names the job."""
    operation["responses"].pop("422", None)
    for status, response in operation["responses"].items():
        if status not in ("101", "304"):
            response.setdefault("headers", {})["Sampan-Job"] = _JOB_HEADER
        content = response.get("content", {}).get("application/json")
        if content is not None and status >= "400":
            content["example"] = {"message": response["description"]}
    if example := RESPONSES.get(operation["operationId"]):
        for status in ("200", "201"):
            for content in operation["responses"].get(status, {}).get("content", {}).values():
                content["example"] = example
    if example := REQUESTS.get(operation["operationId"]):
        operation["requestBody"]["content"]["application/json"]["example"] = example


_JOB_HEADER = {"description": "The job that made this answer, if one did", "schema": {"type": "string"}}
_FORBIDDEN = {
    "description": "Not allowed on a listener that is read-only",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}},
}
