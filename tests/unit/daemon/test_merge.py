"""The image's settings, where the user gave none."""

from __future__ import annotations

import pytest

from sampan.daemon.settings.checks import check_texts
from sampan.daemon.settings.merge import command_line, merge
from sampan.errdefs import InvalidArgument
from sampan.models import ContainerConfig, Healthcheck

IMAGE = ContainerConfig(
    env=["PATH=/image", "A=image"], cmd=["serve"], entrypoint=["/entry"], user="app", working_dir="/srv",
    labels={"a": "image", "b": "image"}, exposed_ports={"80/tcp": {}}, volumes={"/data": {}}, stop_signal="SIGQUIT",
)  # fmt: skip


def test_the_image_fills_in_what_the_user_left_out() -> None:
    merged = merge(ContainerConfig(), IMAGE)
    assert (merged.user, merged.working_dir, merged.stop_signal) == ("app", "/srv", "SIGQUIT")
    assert command_line(merged) == ["/entry", "serve"]
    assert set(merged.volumes or ()) == {"/data"}


def test_the_users_environment_wins_by_name() -> None:
    assert merge(ContainerConfig(env=["A=user", "B=user"]), IMAGE).env == ["A=user", "B=user", "PATH=/image"]


def test_labels_ports_and_volumes_are_joined() -> None:
    merged = merge(ContainerConfig(labels={"a": "user"}, exposed_ports={"81/tcp": {}}, volumes={"/x": {}}), IMAGE)
    assert merged.labels == {"a": "user", "b": "image"}
    assert set(merged.exposed_ports or ()) == {"80/tcp", "81/tcp"}
    assert set(merged.volumes or ()) == {"/data", "/x"}


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "line"),
    [
        (None, None, ["/entry", "serve"]),
        (None, ["other"], ["/entry", "other"]),
        (["/mine"], None, ["/mine"]),
        (["/mine"], ["arg"], ["/mine", "arg"]),
        ([""], ["sh"], ["sh"]),
        ([], ["sh"], ["sh"]),
    ],
)
def test_the_rules_of_entrypoint_and_command(
    entrypoint: list[str] | None, cmd: list[str] | None, line: list[str]
) -> None:
    assert command_line(merge(ContainerConfig(entrypoint=entrypoint, cmd=cmd), IMAGE)) == line


def test_no_command_at_all_is_an_error() -> None:
    with pytest.raises(InvalidArgument, match="no command specified"):
        command_line(merge(ContainerConfig(), ContainerConfig()))


def test_a_health_check_keeps_what_the_image_says_beside_the_users_part() -> None:
    image = ContainerConfig(healthcheck=Healthcheck(test=["CMD", "true"], interval=5))
    merged = merge(ContainerConfig(healthcheck=Healthcheck(interval=7)), image)
    assert merged.healthcheck == Healthcheck(test=["CMD", "true"], interval=7)


@pytest.mark.parametrize(
    "image",
    [
        ContainerConfig(working_dir="/a\0b"),
        ContainerConfig(user="a\0"),
        ContainerConfig(env=["A=\0"]),
        ContainerConfig(volumes={"/a\0": {}}),
    ],
)
def test_an_image_cannot_say_what_no_system_call_takes(image: ContainerConfig) -> None:
    with pytest.raises(InvalidArgument, match="can't contain a NUL character"):
        check_texts(merge(ContainerConfig(cmd=["true"]), image))
