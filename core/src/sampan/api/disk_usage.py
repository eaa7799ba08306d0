"""The response to `GET /system/df`, whose format depends on the client's version and on its parameters.

Source: moby daemon/server/router/system, getDiskUsage and disk_usage.go.
"""

from __future__ import annotations

import json
from typing import Any

from sampan.api.compat import dump_json
from sampan.api.versions import NEWEST, Version
from sampan.models import DiskUsage

_USAGES_SINCE = (1, 52)
_NO_VIRTUAL_SIZE_SINCE = (1, 44)
_LISTS = {
    "ImageUsage": "Images",
    "ContainerUsage": "Containers",
    "VolumeUsage": "Volumes",
    "BuildCacheUsage": "BuildCache",
}


def dump_disk_usage(usage: DiskUsage, version: Version, *, verbose: bool) -> bytes:
    """Lists of objects, with totals since 1.52; with `verbose`, the objects are nested in the totals instead."""
    document: dict[str, Any] = json.loads(dump_json(usage, NEWEST))
    if usage.container_usage and usage.container_usage.items:
        document["ContainerUsage"]["Items"] = json.loads(dump_json(usage.container_usage.items, version))
    if version >= _USAGES_SINCE and verbose:
        return _dumped(document)
    lists = _lists(document, version)
    if version < _USAGES_SINCE:
        return _dumped(lists)
    for sums in document.values():
        sums.pop("Items", None)
    return _dumped({**lists, **document})


def _lists(document: dict[str, Any], version: Version) -> dict[str, Any]:
    lists: dict[str, Any] = {
        name: document[usage].get("Items", []) for usage, name in _LISTS.items() if usage in document
    }
    if "SampanLogUsage" in document:
        lists["SampanLogUsage"] = document["SampanLogUsage"]
    if size := document.get("ImageUsage", {}).get("TotalSize"):
        lists = {"LayersSize": size, **lists}
    if version < _NO_VIRTUAL_SIZE_SINCE:
        lists |= {"Images": [_old_image(image) for image in lists.get("Images", [])]}
    return lists


def _old_image(image: dict[str, Any]) -> dict[str, Any]:
    return {**image, "VirtualSize": image["Size"], "RepoDigests": image["RepoDigests"] or None}


def _dumped(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
