"""An exec's process: the container's settings, unless the request has its own."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.daemon.settings.process import exec_process
from sampan.errdefs import Conflict, InvalidArgument
from sampan.models import CreateExec
from tests.unit.daemon.making import container


def process(host: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
    one = container(**(host or {}))
    one.record.config.env, one.record.config.working_dir = ["A=1", "B=1"], "/work"
    asked = CreateExec(container="web", cmd=["true"], **request)
    return exec_process(one, asked, console_size=None)


async def test_an_exec_inherits_from_its_container() -> None:
    made = process(env=["B=2"])
    assert (made["args"], made["cwd"]) == (["true"], "/work")
    assert {"A=1", "B=2"} <= set(made["env"])
    assert "B=1" not in made["env"]


async def test_an_exec_may_be_somewhere_else() -> None:
    assert (process(working_dir="/tmp"))["cwd"] == "/tmp"


async def test_a_terminal_has_the_size_asked_for() -> None:
    made = process(tty=True, console_size=[24, 80])
    assert (made["terminal"], made["consoleSize"]) == (True, {"height": 24, "width": 80})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], False),
        (["no-new-privileges"], True),
        (["no-new-privileges:true"], True),
        (["no-new-privileges=true"], True),
        (["no-new-privileges=false"], False),
        (["seccomp=unconfined", "label=disable", "apparmor:unconfined"], False),
    ],
)
async def test_security_options(options: list[str], expected: bool) -> None:
    made = process({"SecurityOpt": options})
    assert made.get("noNewPrivileges", False) is expected


@pytest.mark.parametrize("option", ["nope", "nope=1", "nope:1"])
async def test_an_unknown_security_option_is_refused(option: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid --security-opt"):
        process({"SecurityOpt": [option]})


async def test_privileges_widen_the_capabilities() -> None:
    plain, privileged = process(), process(privileged=True)
    assert set(plain["capabilities"]["bounding"]) < set(privileged["capabilities"]["bounding"])


async def test_a_user_is_looked_up_in_the_container() -> None:
    assert process(user="root")["user"]["uid"] == 0
    with pytest.raises(InvalidArgument, match="unable to find user no-such-user"):
        process(user="no-such-user")


async def test_a_container_that_has_just_ended_has_no_users() -> None:
    one = container()
    one.state.pid = 2**22 + 1  # above the highest possible PID
    with pytest.raises(Conflict, match="is not running"):
        exec_process(one, CreateExec(container="web", cmd=["true"]), console_size=None)
