"""The OpenAPI document: FastAPI's, corrected where it lacks information."""

from __future__ import annotations

import copy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from sampan import models
from sampan.api.examples import REQUESTS, RESPONSES
from sampan.api.versions import NEWEST, OLDEST, text

_SWARM = ("Swarm", "Node", "Service", "Task", "Secret", "Config")
_SCHEMAS = "#/components/schemas/"
_DESCRIPTION = f"""\
The Docker Engine API, versions {text(OLDEST)} to {text(NEWEST)}, and what sampan adds to it: jobs, drivers, metrics.

Any path may begin with a version, as in `/v{text(NEWEST)}/info`; without one the newest is used. Every error is
`{{"message": …}}`. If a job made the answer, its ID is in the header `Sampan-Job`.
"""
_TAGS = (
    ("Container", "Processes of an image, with their own files, network and limits"),
    ("Exec", "Further processes in a running container"),
    ("Image", "What containers are created from"),
    ("Network", "What containers communicate over"),
    ("Volume", "Files that outlive containers"),
    ("System", "The engine itself, and what happens in it"),
    ("Job", "What the engine is doing, and for whom: sampan's own"),
    ("Driver", "The drivers and their packages: sampan's own"),
    ("Plugin", "The packages that provide drivers, as Docker's clients list them"),
    ("Distribution", "Images in registries"),
    ("Session", "Part of Docker's API that this engine refuses"),
    *((name, "Part of Docker's swarm mode, which this engine does not have") for name in _SWARM),
)


def document(app: FastAPI) -> dict[str, Any]:
    """The document, which is generated once."""
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
        tags=[{"name": name, "description": text} for name, text in _TAGS],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    for methods in made["paths"].values():
        for method, operation in methods.items():
            if method not in ("get", "head"):
                operation["responses"]["403"] = copy.deepcopy(_FORBIDDEN)
            _finish(operation)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= _schemas_of(_named(made["paths"]) - set(schemas))
    return made


def _named(node: Any) -> set[str]:
    """The names of the schemas that `node` refers to."""
    if isinstance(node, dict):
        own = {node["$ref"].removeprefix(_SCHEMAS)} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(_named, node.values()))
    return set().union(*map(_named, node)) if isinstance(node, list) else set()


def _schemas_of(names: set[str]) -> dict[str, Any]:
    """The schemas of our models with these names, and of all models they refer to."""
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (getattr(models, name), "validation") for name in sorted(names)
    ]
    _, made = models_json_schema(wanted, ref_template=_SCHEMAS + "{model}")
    schemas: dict[str, Any] = made["$defs"]
    return schemas


def _finish(operation: dict[str, Any]) -> None:
    """Remove 422 (we return 400), and add examples and the header with the job's id."""
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
