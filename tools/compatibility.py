"""`docs/compatibility.md`: each operation of Docker's API and each field of its request, and what becomes of it here.

It is made of what is: Docker's document (`docker_requests.json`), our own document, which is made of the routes and
models, and the table of fields that are taken and not served. `python -m tools.compatibility` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sampan.api.app import create_app
from sampan.api.operations import OPERATIONS, Operation
from sampan.api.unserved_fields import UNSERVED, Unserved, Verdict
from sampan.engine import Engine

PAGE = Path(__file__).parent.parent / "docs/compatibility.md"
REQUESTS: Mapping[str, Mapping[str, list[str]]] = json.loads(
    Path(__file__).with_name("docker_requests.json").read_text()
)
"""The parameters and body fields of each operation. Source: moby api/swagger.yaml 1.56, and for the
checkpoints of a start, which it leaves out, daemon/server/router/container."""

_UNSERVED = {(one.operation, one.field): one for one in UNSERVED}
_HEAD = """\
# What of Docker's API is served

Made by `python -m tools.compatibility` from the routes and models, and held to be true by tests; not to be edited.
The API is Docker's of version 1.56. Words: *served*; *ignored*, silently as Docker does or because it has no meaning
here; *ignored with a warning*, in the answer's `Warnings`; *refused*, with a status and Docker's words. An operation
that is not served answers 501 and says so.

"""


def page() -> str:
    """The whole page."""
    document = create_app(Engine()).openapi()
    ours = {one["operationId"]: one for methods in document["paths"].values() for one in methods.values()}
    served = [operation for operation in OPERATIONS if _is_served(ours[operation.id])]
    parts = [_HEAD, _summary(served)]
    for operation in served:
        parts.append(_section(operation, ours[operation.id], document["components"]["schemas"]))
    return "".join(parts).rstrip() + "\n"


def _is_served(operation: Mapping[str, Any]) -> bool:
    return bool(min(operation["responses"]) < "400")


def _summary(served: list[Operation]) -> str:
    lines = ["| group | served | not served |", "| --- | --- | --- |"]
    for tag in dict.fromkeys(operation.tag for operation in OPERATIONS):
        group = [operation for operation in OPERATIONS if operation.tag == tag]
        names = [
            ", ".join(f"`{one.method} {one.path}`" for one in group if (one in served) is wanted) or "–"
            for wanted in (True, False)
        ]
        lines.append(f"| {tag} | {names[0]} | {names[1]} |")
    return "\n".join(lines) + "\n"


def _section(operation: Operation, ours: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    rows = list(_rows(operation, ours, schemas))
    if not rows:
        return ""
    lines = [f"\n## {operation.method} {operation.path}\n", "| field | verdict | remark |", "| --- | --- | --- |"]
    return "\n".join([*lines, *rows]) + "\n"


def _rows(operation: Operation, ours: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    dockers = REQUESTS[operation.id]
    known = {(one["in"], one["name"].lower()) for one in ours.get("parameters", ())}
    for place in ("query", "header"):
        for name in dockers.get(place, ()):
            yield _row(operation, f"{place} `{name}`", name, served=(place, name.lower()) in known)
    content = ours.get("requestBody", {}).get("content", {}).get("application/json", {})
    fields = set(_paths(content.get("schema", {}), schemas)) if content else set()
    for field in dockers.get("body", ()):
        if not any((operation.id, parent) in _UNSERVED for parent in _parents(field)):
            yield _row(operation, f"`{field}`", field, served=field in fields)


def _parents(field: str) -> Iterator[str]:
    """What the field lies in, without the marks of lists and maps."""
    parts = field.split(".")
    for count in range(1, len(parts)):
        yield ".".join(parts[:count])
        yield ".".join(parts[:count]).rstrip("[]{}")


def _row(operation: Operation, shown: str, field: str, *, served: bool) -> str:
    if unserved := _UNSERVED.get((operation.id, field)):
        return f"| {shown} | {_verdict(unserved)} | {unserved.why} |"
    return f"| {shown} | {Verdict.SERVED if served else Verdict.IGNORED} | {'' if served else 'not read'} |"


def _verdict(unserved: Unserved) -> str:
    return f"{unserved.verdict} ({unserved.status})" if unserved.verdict is Verdict.REFUSED else unserved.verdict


def _paths(schema: Mapping[str, Any], schemas: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The fields of a schema, as `A.B`, `A[].B` and `A{}.B`."""
    for one in schema.get("anyOf", ()):
        yield from _paths(one, schemas, prefix)
    if "$ref" in schema:
        yield from _paths(schemas[schema["$ref"].rpartition("/")[2]], schemas, prefix)
    if isinstance(schema.get("items"), dict):
        yield from _paths(schema["items"], schemas, f"{prefix.removesuffix('.')}[].")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _paths(schema["additionalProperties"], schemas, f"{prefix.removesuffix('.')}{{}}.")
    for name, below in schema.get("properties", {}).items():
        yield f"{prefix}{name}"
        yield from _paths(below, schemas, f"{prefix}{name}.")


if __name__ == "__main__":
    PAGE.write_text(page())
