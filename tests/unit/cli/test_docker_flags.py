"""All of docker's commands for containers, execs and the system exist, with all their flags."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sampan.cli.commands import GROUPS, TOP
from sampan.cli.main import load

DOCKERS: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("docker_flags.json").read_text())
"""Flags shown by `docker COMMAND --help` of 28.2, with their short forms. Every command has `--help`."""


@pytest.mark.parametrize("name", DOCKERS)
def test_every_flag_of_dockers_is_there(name: str) -> None:
    group, _, member = name.rpartition(" ")
    entry = GROUPS[group].members[member] if group else TOP[member]
    ours = {flag.name: flag.short for flag in load(entry).flags}
    missing = {flag for flag, short in DOCKERS[name].items() if ours.get(flag) != short}
    assert not missing
