"""Helpers for network requests and their answers."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import quote

from tests.api.daemon.in_process import InProcess


def free_port() -> int:
    """A TCP port that is currently unused on the host."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def create_network(house: InProcess, name: str, **fields: Any) -> str:
    answer = house.call("POST", "/networks/create", {"Name": name, **fields})
    assert answer.status == 201, answer
    assert answer.body["Warning"] == ""
    return str(answer.body["Id"])


def with_pool(**config: Any) -> dict[str, Any]:
    return {"IPAM": {"Config": [config]}}


def connect(house: InProcess, network: str, container: str, **settings: Any) -> None:
    body = {"Container": container, "EndpointConfig": settings}
    answer = house.call("POST", f"/networks/{network}/connect", body)
    assert (answer.status, answer.body) == (200, b""), answer


def disconnect(house: InProcess, network: str, container: str, **more: Any) -> None:
    answer = house.call("POST", f"/networks/{network}/disconnect", {"Container": container, **more})
    assert (answer.status, answer.body) == (200, b""), answer


def networks_of(house: InProcess, container: str) -> dict[str, Any]:
    settings = house.call("GET", f"/containers/{container}/json").body["NetworkSettings"]
    return dict(settings["Networks"])


def listed(house: InProcess, **filters: list[str]) -> set[str]:
    answer = house.call("GET", f"/networks?filters={quote(json.dumps(filters))}")
    assert answer.status == 200, answer
    return {network["Name"] for network in answer.body}
