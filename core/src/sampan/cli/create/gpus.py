"""`--gpus`. Source: docker/cli opts/gpus.go."""

from __future__ import annotations

import csv
from typing import Any


def device_request(text: str) -> dict[str, Any]:
    """The API's device request for `all`, a count, or `device=…,capabilities=…`. Raises `ValueError`."""
    request: dict[str, Any] = {"Driver": "", "Count": 0, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}
    seen: set[str] = set()
    for field in next(csv.reader([text], strict=True)):
        key, equals, value = field.partition("=")
        if key in seen:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        seen.add(key if equals else "count")
        request |= _field(key, value, field) if equals else {"Count": _count(key)}
    if "count" not in seen and request["DeviceIDs"] is None:
        request["Count"] = 1
    return request


def _field(key: str, value: str, field: str) -> dict[str, Any]:
    match key:
        case "driver":
            return {"Driver": value}
        case "count":
            return {"Count": _count(value)}
        case "device":
            return {"DeviceIDs": value.split(",")}
        case "capabilities":
            return {"Capabilities": [[*value.split(","), "gpu"]]}
        case "options":
            pairs = (one.partition("=") for one in next(csv.reader([value], strict=True)))
            return {"Options": {name: rest for name, _, rest in pairs}}
    raise ValueError(f"unexpected key '{key}' in '{field}'")


def _count(text: str) -> int:
    if text == "all":
        return -1
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f'invalid count ({text}): value must be either "all" or an integer: invalid syntax'
        ) from None
