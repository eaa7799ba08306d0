"""What schemathesis can't know of a container engine: which objects must exist before a call, and how to end it.

Loaded by schemathesis (see schemathesis.toml); the engine under test is at `SAMPAN_FUZZ_URL`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import requests
import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import MissingContentType
from schemathesis.transport.serialization import serialize_binary

from sampan.api.params import read_time
from sampan.errdefs import SampanError

URL = os.environ["SAMPAN_FUZZ_URL"]
_KEPT_IMAGE = "keeper:1"  # in no dictionary, so no call changes it
_COMMANDS = {"web": ("sleep", "0.1"), "made": ("true",), "done": ("true",)}  # all exit, so calls that follow them end
_ASKED = "Asked"  # prefix for a schema's name: its form in requests
_session = requests.Session()


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Relax request schemas to what Docker also accepts beyond the good style that the document describes."""
    schemas = raw_schema["components"]["schemas"]
    schemas |= {_ASKED + name: _lenient(schema) for name, schema in schemas.items()}
    for operation in [one for methods in raw_schema["paths"].values() for one in methods.values()]:
        if body := operation.get("requestBody", {}).get("content", {}).get("application/json"):
            body["schema"] = _lenient(body["schema"])
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _lenient_parameter(parameter["schema"])


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Ensure that the dictionaries' objects exist and that the call ends."""
    _furnish(case.operation.path)
    _name_what_is_new(case)
    if bound := _BOUNDS.get(case.operation.definition.raw["operationId"]):
        bound(case)


@schemathesis.hook
def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """An empty body needs no content type: a detached exec answers 200 with no content, as Docker does."""
    return not (isinstance(failure, MissingContentType) and not response.content)


@schemathesis.serializer("application/x-tar")
def as_it_is(context: Any, value: Any) -> bytes:
    """Schemathesis knows bytes as application/octet-stream only."""
    return serialize_binary(value)


def _furnish(path: str) -> None:
    """Ensure that the objects named in the dictionaries that concern the operation at `path` exist."""
    if path.startswith(("/containers/{", "/exec/", "/commit")):
        _furnish_containers()
    elif path.startswith("/images/{"):
        for reference in ("busybox:test", "labelled:1"):
            _call("POST", f"/images/{_KEPT_IMAGE}/tag?repo={reference}")
    elif path.startswith("/volumes/{"):
        _call("POST", "/volumes/create", {"Name": "data"})


def _furnish_containers() -> None:
    """`web` runs, briefly; `made` has never run, `done` has exited; there are no others."""
    states = {one["Names"][0][1:]: one["State"] for one in _call("GET", "/containers/json?all=1").json()}
    for name in states.keys() - _COMMANDS.keys():
        _call("DELETE", f"/containers/{name}?force=1")
    for name in _COMMANDS.keys() - states.keys():
        _call("POST", f"/containers/create?name={name}", {"Image": _KEPT_IMAGE, "Cmd": _COMMANDS[name]})
    if states.get("web") != "running":
        _call("POST", "/containers/web/start")
    if states.get("done") != "exited":
        _call("POST", "/containers/done/start")


def _name_what_is_new(case: Any) -> None:
    """Replace the dictionaries' placeholder ids with ones that the engine assigned."""
    if case.path_parameters.get("id") == "EXEC":
        made = _call("POST", "/containers/web/exec", {"Cmd": ["echo", "hi"], "AttachStdout": True})
        case.path_parameters["id"] = made.json().get("Id", "gone")
    elif case.path_parameters.get("id") == "JOB":
        case.path_parameters["id"] = _call("GET", "/info").headers["Sampan-Job"]


def _call(method: str, path: str, body: Any = None) -> requests.Response:
    return _session.request(method, URL + path, json=body, timeout=60)


# Bounds for calls that would never end or would reach the outside world.


def _bound_events(case: Any) -> None:
    """End the events at a time in the past."""
    try:
        until = read_time("until", str(case.query.get("until", "")))
    except SampanError:
        return
    if until is None or until > time.time_ns():
        case.query["until"] = "1"


def _bound_attach(case: Any) -> None:
    """No stream: it could wait for a container that nobody starts."""
    case.query["stream"] = "0"


def _bound_stats(case: Any) -> None:
    """No stream: it lasts as long as the container exists."""
    case.query["stream"] = "0"


def _bound_wait(case: Any) -> None:
    """No waiting for a start or a removal, which nobody requests."""
    if case.query.get("condition") in ("next-exit", "removed"):
        case.query["condition"] = "not-running"


def _bound_pull(case: Any) -> None:
    """Use a nonexistent registry on this host."""
    if image := case.query.get("fromImage"):
        case.query["fromImage"] = f"127.0.0.1:1/{image}"


def _bound_search(case: Any) -> None:
    """Use the same registry."""
    if term := case.query.get("term"):
        case.query["term"] = f"127.0.0.1:1/{term}"


def _bound_registry(case: Any) -> None:
    """Use the same registry."""
    case.path_parameters["name"] = f"127.0.0.1:1/{case.path_parameters['name']}"


def _bound_login(case: Any) -> None:
    """Use the same registry."""
    if isinstance(case.body, dict) and isinstance(case.body.get("serveraddress"), str):
        case.body["serveraddress"] = "127.0.0.1:1"


def _bound_volume(case: Any) -> None:
    """No cluster volumes: without a swarm, Docker answers 503."""
    if isinstance(case.body, dict):
        case.body.pop("ClusterVolumeSpec", None)


_BOUNDS: dict[str, Callable[[Any], None]] = {
    "VolumeCreate": _bound_volume,
    "SystemEvents": _bound_events,
    "ContainerAttach": _bound_attach,
    "ContainerStats": _bound_stats,
    "ContainerWait": _bound_wait,
    "DistributionInspect": _bound_registry,
    "ImageCreate": _bound_pull,
    "ImagePush": _bound_registry,
    "ImageSearch": _bound_search,
    "SystemAuth": _bound_login,
}


def _lenient_parameter(schema: dict[str, Any]) -> dict[str, Any]:
    """Accept any string for a boolean, and an empty one for an optional parameter."""
    if schema.get("type") == "boolean":
        return {"type": ["boolean", "string"]}
    if any(one.get("type") == "array" for one in schema.get("anyOf", ())):
        return {}  # any strings, repeated any number of times
    if {"type": "null"} in schema.get("anyOf", ()):
        return {**schema, "anyOf": [*schema["anyOf"], {"const": ""}]}
    return schema


def _lenient(schema: Any) -> Any:
    """As Go reads JSON: null is equivalent to absent. And a command may be a single string."""
    if isinstance(schema, list):
        return [_lenient(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: _lenient(one) for name, one in schema.items()}
    if isinstance(reference := schema.get("$ref"), str):
        changed["$ref"] = reference.replace("schemas/", f"schemas/{_ASKED}")
    for name, one in changed.get("properties", {}).items():
        more = [{"type": "null"}, *([{"type": "string"}] if name in ("Cmd", "Entrypoint") else [])]
        changed["properties"][name] = {"anyOf": [one, *more]}
    return changed
