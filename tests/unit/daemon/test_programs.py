"""Program versions, as the programs report them."""

from pathlib import Path

import pytest

from sampan.daemon.reports.programs import Program, Programs, parse_version


@pytest.mark.parametrize(
    ("said", "version", "commit"),
    [
        (
            "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\n",
            "1.1.5+ds1",
            "1.1.5+ds1-1+deb12u1",
        ),
        ("crun version 1.8.1\ncommit: f8a096be060b\nrundir: /run/crun\n", "1.8.1", "f8a096be060b"),
        ("conmon version 2.1.6\ncommit: unknown\n", "2.1.6", ""),
        ("tini version 0.19.0 - git.de40ad0\n", "0.19.0", "de40ad0"),
        ("tini version 0.1.7_catatonit\n", "0.1.7_catatonit", ""),
        ("Usage: something else\n", "", ""),
    ],
)
def test_versions_are_read(said: str, version: str, commit: str) -> None:
    assert parse_version("plank", said) == Program("plank", version, commit)


async def test_each_program_is_asked_once_and_a_missing_one_is_none(tmp_path: Path) -> None:
    program, asked = tmp_path / "plank", tmp_path / "asked"
    program.write_text(f"#!/bin/sh\necho x >>{asked}\necho plank version 3\n")
    program.chmod(0o755)
    programs = Programs({"runtime": program, "monitor": tmp_path / "gone", "init": None})
    assert await programs.get("runtime") == await programs.get("runtime") == Program("plank", "3")
    assert asked.read_text() == "x\n"
    assert await programs.get("init") is None
    assert await programs.list() == [Program("plank", "3"), Program("gone")]
