"""OCI runtime errors, reworded as Docker does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sampan.errdefs import InvalidArgument, SystemFailure
from sampan.runtime.failure import StartFailure, create_failure, exec_failure, last_error

PREFIX = "failed to create task for container: failed to create shim task: OCI runtime create failed: "


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ('runc create failed: unable to start container process: exec: "x": executable file not found in $PATH', 127),
        (
            'runc create failed: unable to start container process: exec: "/x": stat /x: no such file or directory',
            127,
        ),
        ('runc create failed: unable to start container process: exec: "/x": permission denied', 126),
        ("runc create failed: error mounting: not a directory", 127),
    ],
)
def test_what_the_caller_can_mend_has_the_exit_code_docker_records(words: str, code: int) -> None:
    failure = create_failure(words)
    assert isinstance(failure, StartFailure)
    assert isinstance(failure, InvalidArgument)
    assert failure.exit_code == code
    assert str(failure).startswith(f"{PREFIX}{words}: unknown")


@pytest.mark.parametrize(
    ("words", "known", "code"),
    [
        (
            "executable file `x` not found in $PATH: No such file or directory",
            'crun create failed: unable to start container process: exec: "x": executable file not found in $PATH',
            127,
        ),
        (
            "open executable: Permission denied",
            'crun create failed: unable to start container process: exec: "/etc": permission denied',
            126,
        ),
        (
            "open executable: Operation not permitted",
            'crun create failed: unable to start container process: exec: "/etc": permission denied',
            126,
        ),
    ],
)
def test_cruns_words_become_those_that_clients_look_for(words: str, known: str, code: int) -> None:
    failure = create_failure(words, "/etc")
    assert isinstance(failure, StartFailure)
    assert failure.exit_code == code
    assert str(failure) == f"{PREFIX}{known}: unknown"


def test_a_directory_for_a_command_carries_the_words_that_clients_look_for() -> None:
    failure = create_failure('exec: "/tmp": is a directory')
    assert isinstance(failure, StartFailure)
    assert failure.exit_code == 126
    assert str(failure).endswith(": unknown: permission denied")


def test_a_mount_of_the_wrong_kind_is_explained() -> None:
    failure = str(create_failure("mount /a: not a directory"))
    assert failure.endswith("Check if the specified host path exists and is the expected type")


def test_anything_else_is_the_systems_failure() -> None:
    assert isinstance(create_failure("cgroups: device or resource busy"), SystemFailure)


def test_an_exec_has_its_own_prefix() -> None:
    assert str(exec_failure("exec failed: x: executable file not found in $PATH")) == (
        "OCI runtime exec failed: exec failed: x: executable file not found in $PATH: unknown"
    )


def test_the_last_error_of_a_log_counts(tmp_path: Path) -> None:
    entries = [
        {"level": "error", "msg": "first"},
        {"level": "warning", "msg": "a warning"},
        {"level": "error", "msg": "second"},
        {"level": "info", "msg": "information"},
    ]
    (tmp_path / "log").write_text("".join(json.dumps(entry) + "\n" for entry in entries) + "no json\n3\n")
    assert last_error(tmp_path / "log") == "second"
    assert last_error(tmp_path / "nosuch") == ""
