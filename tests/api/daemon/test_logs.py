"""Log drivers and their options, through the API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import InProcess, frames


@pytest.fixture(scope="module")
def shared(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house()


def log_config(kind: str, **options: str) -> dict[str, Any]:
    return {
        "HostConfig": {"LogConfig": {"Type": kind, "Config": {k.replace("_", "-"): v for k, v in options.items()}}}
    }


def ended(house: InProcess, *command: str, **fields: Any) -> str:
    id = house.launch(*command, **fields)
    assert house.call("POST", f"/containers/{id}/wait").status == 200
    return id


def test_details_are_the_labels_and_variables_that_the_options_name(shared: InProcess) -> None:
    options = log_config("json-file", labels="tier", env="COLOUR", tag="{{.Name}}")
    id = ended(
        shared, "sh", "-c", "echo a; echo b", name="detailed", Labels={"tier": "1"}, Env=["COLOUR=red"], **options
    )
    body = shared.call("GET", f"/containers/{id}/logs?stdout=1&details=1").body
    assert b"".join(content for _, content in frames(body)) == (
        b"COLOUR=red,tag=detailed,tier=1 a\nCOLOUR=red,tag=detailed,tier=1 b\n"
    )


def test_without_options_details_are_a_space(shared: InProcess) -> None:
    id = ended(shared, "echo", "a")
    assert frames(shared.call("GET", f"/containers/{id}/logs?stdout=1&details=1").body) == [(1, b" a\n")]


def test_the_driver_none_keeps_nothing_and_says_so(shared: InProcess) -> None:
    id = ended(shared, "echo", "a", **log_config("none"))
    answer = shared.call("GET", f"/containers/{id}/logs?stdout=1")
    assert (answer.status, answer.message) == (501, "configured logging driver does not support reading")
    assert shared.call("GET", f"/containers/{id}/json").body["LogPath"] == ""
    replay = shared.call("POST", f"/containers/{id}/attach?logs=1&stdout=1")
    assert (replay.status, replay.message) == (501, "configured logging driver does not support reading")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (log_config("fluentd"), "logger: no log driver named 'fluentd' is registered"),
        (log_config("json-file", max_size="big"), "invalid size: 'big'"),
        (log_config("local", max_files="3"), "unknown log opt 'max-files' for log driver local"),
        (
            log_config("json-file", tag="{{.Nope}}"),
            'template: log-tag:1: executing "log-tag" at <.Nope>: can\'t evaluate field Nope in type *logger.Info',
        ),
    ],
)
def test_bad_options_are_refused_in_dockers_words(shared: InProcess, options: Any, message: str) -> None:
    answer = shared.call("POST", "/containers/create", {"Image": "busybox:test", "Cmd": ["true"], **options})
    assert (answer.status, answer.message) == (400, message)


def test_the_daemons_default_is_shown_and_used(make_house: MakeHouse) -> None:
    from sampan.models import LogConfig  # noqa: PLC0415

    house = make_house(log_config=LogConfig(type="local", config={"max-size": "1m"}))
    id = house.create("true")
    shown = house.call("GET", f"/containers/{id}/json").body["HostConfig"]["LogConfig"]
    assert shown == {"Type": "local", "Config": {"max-size": "1m"}}
    assert house.call("GET", "/info").body["LoggingDriver"] == "local"
    assert house.call("GET", "/info").body["Plugins"]["Log"] == ["json-file", "local"]


def test_a_second_start_goes_on_in_the_same_log(shared: InProcess) -> None:
    id = ended(shared, "echo", "again")
    assert shared.call("POST", f"/containers/{id}/start").status == 204
    assert shared.call("POST", f"/containers/{id}/wait").status == 200
    assert frames(shared.call("GET", f"/containers/{id}/logs?stdout=1").body) == [(1, b"again\nagain\n")]
