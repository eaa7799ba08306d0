"""Variables and labels: `--env`, `--env-file`, `--label`, `--label-file`. Source: docker/cli pkg/kvfile."""

from __future__ import annotations

import os
from pathlib import Path

from sampan.cli.command import Options


def environment(options: Options) -> list[str]:
    """The variables (`NAME=value`) of the files, then of the flags."""
    return _lines(options.texts("env-file"), "--env-file", from_environment=True) + options.texts("env")


def labels(options: Options) -> dict[str, str]:
    """The labels of the files, then of the flags."""
    return as_map(_lines(options.texts("label-file"), "--label-file") + options.texts("label"))


def as_map(texts: list[str]) -> dict[str, str]:
    """Convert `NAME=value` texts to a dict; a bare name has the value ""."""
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def _lines(paths: list[str], flag: str, *, from_environment: bool = False) -> list[str]:
    """The `NAME=value` lines of files; a bare NAME takes its value from the environment, or is left out."""
    found = []
    for path in paths:
        try:
            content = Path(path).read_text()
        except OSError as error:
            raise ValueError(f"{flag}: open {path}: {(error.strerror or '').lower()}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{flag}: env file {path} contains invalid utf8 bytes") from None
        for line in content.removeprefix("\ufeff").splitlines():
            if text := _line(line.lstrip(), flag, from_environment):
                found.append(text)
    return found


def _line(line: str, flag: str, from_environment: bool) -> str:
    name, equals, _ = line.partition("=")
    if not line or line.startswith("#"):
        return ""
    if not name:
        raise ValueError(f"{flag}: no variable name on line '{line}'")
    if any(letter.isspace() for letter in name.rstrip() if equals) or name != name.rstrip():
        raise ValueError(f"{flag}: variable '{name}' contains whitespaces")
    if equals:
        return line
    if not from_environment:
        return name
    return f"{name}={os.environ[name]}" if name in os.environ else ""
