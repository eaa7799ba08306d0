"""`docs/compatibility.md` is up to date and correct."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from sampan.api.operations import OPERATIONS
from sampan.api.unserved_fields import UNSERVED, Unserved, Verdict
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import IMAGE, InProcess
from tools import compatibility

PATHS = {operation.id: operation.path for operation in OPERATIONS}


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house()


def test_the_page_is_of_now() -> None:
    """If this fails, run `python -m tools.compatibility`."""
    assert compatibility.PAGE.read_text() == compatibility.page()


@pytest.mark.parametrize("unserved", UNSERVED, ids=lambda one: f"{one.operation} {one.field}")
def test_what_is_not_served_is_answered_as_said(shared: InProcess, unserved: Unserved) -> None:
    answer = shared.call("POST", *_request(shared, unserved))
    assert answer.status == unserved.status, answer
    if unserved.verdict is Verdict.REFUSED:
        assert unserved.words in answer.message
    elif unserved.operation in {"ContainerCreate", "ContainerUpdate"}:
        warnings = answer.body["Warnings"] or []
        assert bool(warnings) is (unserved.verdict is Verdict.WARNED)
        assert all(unserved.words in warning for warning in warnings)


def _request(house: InProcess, unserved: Unserved) -> tuple[str, Any]:
    path = PATHS[unserved.operation]
    match unserved.operation:
        case "ContainerCreate":
            return path, {"Image": IMAGE, **unserved.request}
        case "ContainerStart":
            return f"{path.format(id=house.create())}?{urlencode(unserved.request)}", None
        case "NetworkConnect":
            network = house.call("POST", "/networks/create", {"Name": unserved.field}).body["Id"]
            return path.format(id=network), {"Container": house.create(), **unserved.request}
        case _:
            return path.format(id=house.create()) if "{id}" in path else path, unserved.request


def test_what_is_said_not_to_be_served_is_dockers() -> None:
    for unserved in UNSERVED:
        request = compatibility.REQUESTS[unserved.operation]
        assert unserved.field in [*request.get("query", ()), *request.get("body", ())]
