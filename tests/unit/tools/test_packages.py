"""This repository's distributions: their metadata, and which versions of each other they accept."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
DIRECTORIES = [ROOT, ROOT / "core", *sorted((ROOT / "plugins").iterdir())]


def project(directory: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((directory / "pyproject.toml").read_text())["project"]
    return table


VERSIONS = {about["name"]: about["version"] for about in map(project, DIRECTORIES)}


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
def test_distributions_of_this_repository_go_with_one_minor_version_of_each_other(directory: Path) -> None:
    for dependency in project(directory)["dependencies"]:
        name = re.split(r"[^\w.-]", dependency)[0]
        if name in VERSIONS:
            major, minor, _ = VERSIONS[name].split(".")
            assert dependency == f"{name}>={major}.{minor},<{major}.{int(minor) + 1}"


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
def test_each_distribution_carries_the_licence(directory: Path) -> None:
    about = project(directory)
    assert (about["license"], about["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert (directory / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
def test_each_distribution_names_the_pythons_that_the_set_up_looks_for(directory: Path) -> None:
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project(directory)["classifiers"]))
    looked_for = re.findall(r"python(3\.\d+)", (ROOT / "tools/setup").read_text())
    assert named == sorted(set(looked_for), key=lambda version: int(version[2:]))
