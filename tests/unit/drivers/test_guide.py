"""The plugin author's guide is complete: it has every hook, with its arguments."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from sampan.drivers import hookspecs

GUIDE = (Path(__file__).parents[3] / "docs/plugins.md").read_text()


def test_every_hook_is_in_the_guide_with_its_arguments() -> None:
    hooks = {
        f"{name}({', '.join(inspect.signature(function).parameters)})"
        for name, function in inspect.getmembers(hookspecs, inspect.isfunction)
        if name.startswith("sampan_")
    }
    assert hooks == set(re.findall(r"^\| `(sampan_\w+\([^)]*\))`", GUIDE, re.MULTILINE))


def test_every_hook_has_a_docstring() -> None:
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction):
        assert not name.startswith("sampan_") or function.__doc__, name
