"""JSON is read as Go reads it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sampan.models import (
    ContainerConfig,
    CreateContainer,
    CreateContainerBody,
    Event,
    HostConfig,
    ImageInspect,
    Mount,
    Progress,
    ProgressDetail,
    PullImage,
    StartContainer,
)


def test_null_is_as_good_as_absent() -> None:
    nulls = dict.fromkeys(("Cmd", "Env", "Tty", "Hostname", "Labels", "HostConfig", "NetworkingConfig"))
    assert CreateContainerBody.model_validate(nulls) == CreateContainerBody()


def test_unknown_fields_are_ignored() -> None:
    assert ContainerConfig.model_validate({"Nope": 1, "Image": "a"}) == ContainerConfig(image="a")


def test_names_are_matched_without_regard_to_case() -> None:
    assert ContainerConfig.model_validate({"image": "a", "WORKINGDIR": "/"}) == ContainerConfig(
        image="a", working_dir="/"
    )


def test_an_exact_name_is_an_alias_or_an_attribute() -> None:
    assert HostConfig.model_validate({"NanoCpus": 1}) == HostConfig.model_validate({"nano_cpus": 1})


def test_a_command_may_be_a_string_or_a_list() -> None:
    read = ContainerConfig.model_validate({"Cmd": "ls -l", "Entrypoint": ["sh", "-c"]})
    assert (read.cmd, read.entrypoint) == (["ls -l"], ["sh", "-c"])


def test_an_empty_entrypoint_is_not_an_absent_one() -> None:
    assert ContainerConfig.model_validate({"Entrypoint": []}).entrypoint == []
    assert ContainerConfig.model_validate({}).entrypoint is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"Tty": "true"},
        {"Tty": 1},
        {"Cmd": [1]},
        {"Cmd": 5},
        {"Env": "A=b"},
        {"Labels": {"a": 1}},
        {"Labels": ["a"]},
        {"StopTimeout": "5"},
        {"StopTimeout": 1.5},
        {"HostConfig": []},
        {"HostConfig": {"Memory": 2**63}},
        {"HostConfig": {"Memory": True}},
        {"HostConfig": {"BlkioWeight": -1}},
        {"HostConfig": {"ConsoleSize": [1]}},
        {"HostConfig": {"PortBindings": {"80/tcp": {}}}},
        [],
        "x",
    ],
)
def test_a_wrong_type_is_an_error(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        CreateContainerBody.model_validate(wrong)


def test_what_is_empty_is_left_out_where_docker_leaves_it_out() -> None:
    assert Mount(type="bind", source="/a", target="/b").model_dump(by_alias=True) == {
        "Type": "bind",
        "Source": "/a",
        "Target": "/b",
    }
    written = HostConfig().model_dump(by_alias=True)
    assert "Annotations" not in written
    assert "Init" not in written
    assert written["Binds"] is None
    assert written["LogConfig"] == {"Type": "", "Config": None}
    assert HostConfig(init=False).model_dump(by_alias=True)["Init"] is False
    assert Progress(status="Done", progress_detail=ProgressDetail()).model_dump(by_alias=True) == {
        "status": "Done",
        "progressDetail": {},
    }


def test_an_image_says_only_what_it_says() -> None:
    image = ImageInspect(id="sha256:ab", config=ContainerConfig(cmd=["sh"], hostname="x"))
    assert image.model_dump(by_alias=True)["Config"] == {"Cmd": ["sh"]}


def test_requests_are_plain_and_refuse_what_they_do_not_know() -> None:
    assert StartContainer(name="web").model_dump() == {"name": "web", "checkpoint": "", "detach_keys": ""}
    with pytest.raises(ValidationError):
        StartContainer.model_validate({"name": "web", "nme": ""})
    assert CreateContainer(config=ContainerConfig()).host_config == HostConfig()


def test_credentials_are_not_in_the_repr_of_a_request() -> None:
    pull = PullImage.model_validate({"reference": "a", "auth": {"username": "u", "password": "secret"}})
    assert "secret" not in repr(pull)


def test_an_events_keyword_field_has_its_name() -> None:
    event = Event.model_validate({"Type": "a", "Action": "b", "Actor": {"ID": "c"}, "from": "d"})
    assert event.from_ == "d"
    assert event.model_dump(by_alias=True)["from"] == "d"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["Memory", "Cmd", "HostConfig", "Env", "x"]), inner)
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_read_or_refused(document: Any) -> None:
    try:
        body = CreateContainerBody.model_validate(document)
    except ValidationError:
        return
    assert CreateContainerBody.model_validate_json(body.model_dump_json(by_alias=True)) == body
