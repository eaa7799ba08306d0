"""Adapts responses to clients of older API versions, all in one place; `adapt.py` does the same for requests.

Source of each rule: the version history in moby's api/docs, and moby's daemon/server/router.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

from pydantic import BaseModel, TypeAdapter

from sampan.api.versions import Version
from sampan.models import (
    ContainerInspect,
    ContainerSummary,
    Event,
    ImageInspect,
    ImageSummary,
    SystemInfo,
)

Document: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[Document], None]


def dump_json(result: Any, version: Version) -> bytes:
    """The JSON of a result (a model, or a list of models) as expected by a client of `version`.

    Fields added later are removed before serialisation, so that lists need no second pass; other differences are
    applied to the JSON document.
    """
    kind: Any = type(result[0]) if isinstance(result, list) and result else type(result)
    if later := _later(kind, version):
        result = [_without(one, later) for one in result] if isinstance(result, list) else _without(result, later)
    changes = _changes(kind, version)
    adapter = _list_adapter(kind) if isinstance(result, list) else _adapter(kind)
    if not changes:
        return adapter.dump_json(result, by_alias=True)
    document = adapter.dump_python(result, by_alias=True, mode="json")
    for one in document if isinstance(document, list) else [document]:
        for change in changes:
            change(one)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _list_adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(list[kind])  # type: ignore[valid-type]


@cache
def _later(kind: type[BaseModel], version: Version) -> Sequence[str]:
    return tuple(name for model, since, name in _LATER if model is kind and version < since)


def _without(model: BaseModel, names: Sequence[str]) -> BaseModel:
    said = {name: None for name in names if getattr(model, name) is not None}
    return model.model_copy(update=said) if said else model


@cache
def _changes(kind: type[BaseModel], version: Version) -> Sequence[Change]:
    return tuple(change for model, below, change in _RULES if model is kind and version < below)


def _with(**fields: Any) -> Change:
    def change(document: Document) -> None:
        for name, value in fields.items():
            document.setdefault(name, value)

    return change


def _summary_annotations(document: Document) -> None:
    document["HostConfig"].pop("Annotations", None)


def _bridge_settings(document: Document) -> None:
    """Repeat the endpoint on the default bridge at the top level."""
    settings = document["NetworkSettings"]
    endpoint = (settings.get("Networks") or {}).get("bridge") or {}
    for name, empty in (
        ("EndpointID", ""),
        ("Gateway", ""),
        ("GlobalIPv6Address", ""),
        ("GlobalIPv6PrefixLen", 0),
        ("IPAddress", ""),
        ("IPPrefixLen", 0),
        ("IPv6Gateway", ""),
        ("MacAddress", ""),
    ):
        settings[name] = endpoint.get(name, empty)


def _id_among_aliases(document: Document) -> None:
    own = [document["Id"][:12], document["Config"].get("Hostname")]
    for name, endpoint in (document["NetworkSettings"].get("Networks") or {}).items():
        if name not in ("bridge", "host", "none"):
            aliases = [*(endpoint.get("Aliases") or []), *own]
            endpoint["Aliases"] = list(dict.fromkeys(alias for alias in aliases if alias))


def _virtual_size(document: Document) -> None:
    document["VirtualSize"] = document["Size"]


def _none_for_no_name(document: Document) -> None:
    if not document.get("RepoTags") and not document.get("RepoDigests"):
        document["RepoTags"], document["RepoDigests"] = ["<none>:<none>"], ["<none>@<none>"]
    for name in ("RepoTags", "RepoDigests"):
        document[name] = document.get(name) or None


def _container_fields_of_image(document: Document) -> None:
    """Add fields that an image's configuration only had because it was also a container's."""
    for name in ("Hostname", "Domainname", "Image"):
        document["Config"].setdefault(name, "")
    for name in ("AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin", "StdinOnce", "Tty"):
        document["Config"].setdefault(name, False)


def _unset_fields_of_image(document: Document) -> None:
    for name in ("Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes"):
        document["Config"].setdefault(name, None)
    for name in ("User", "WorkingDir"):
        document["Config"].setdefault(name, "")


def _uncounted_containers(document: Document) -> None:
    document["Containers"] = -1


def _runtimes_without_status(document: Document) -> None:
    for runtime in (document.get("Runtimes") or {}).values():
        runtime.pop("status", None)


def _expected_commits(document: Document) -> None:
    for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
        document[name]["Expected"] = document[name]["ID"]


def _event_top_fields(document: Document) -> None:
    """Add fields from before events had actors (moby daemon/server/router/system, backFillLegacy)."""
    actor = document["Actor"]
    if document["Type"] in ("container", "image"):
        document["status"], document["id"] = document["Action"], actor["ID"]
    if document["Type"] == "container" and (image := actor["Attributes"].get("image")):
        document["from"] = image


_LATER: tuple[tuple[type[BaseModel], Version, str], ...] = (
    (ContainerSummary, (1, 48), "image_manifest_descriptor"),
    (ContainerSummary, (1, 52), "health"),
    (ContainerInspect, (1, 48), "image_manifest_descriptor"),
    (ImageSummary, (1, 48), "descriptor"),
    (ImageInspect, (1, 48), "descriptor"),
    (SystemInfo, (1, 49), "firewall_backend"),
)

_RULES: tuple[tuple[type[BaseModel], Version, Change], ...] = (
    (ContainerSummary, (1, 46), _summary_annotations),
    (ContainerInspect, (1, 45), _id_among_aliases),
    (ContainerInspect, (1, 52), _bridge_settings),
    (ImageSummary, (1, 43), _none_for_no_name),
    (ImageSummary, (1, 44), _virtual_size),
    (ImageSummary, (1, 51), _uncounted_containers),
    (ImageInspect, (1, 44), _virtual_size),
    (ImageInspect, (1, 44), _with(Created="0001-01-01T00:00:00Z")),
    (ImageInspect, (1, 45), _with(Container="", ContainerConfig=None)),
    (ImageInspect, (1, 50), _container_fields_of_image),
    (ImageInspect, (1, 52), _unset_fields_of_image),
    (ImageInspect, (1, 52), _with(Parent="", Comment="", DockerVersion="", Author="")),
    (SystemInfo, (1, 44), _runtimes_without_status),
    (SystemInfo, (1, 49), _expected_commits),
    (SystemInfo, (1, 50), _with(BridgeNfIptables=False, BridgeNfIp6tables=False)),
    (Event, (1, 52), _event_top_fields),
)
