"""Asks for confirmation before something is removed."""

from __future__ import annotations

import sys

from sampan.cli.terminal import STDOUT, write_text


def confirmed(question: str) -> bool:
    """Ask, and read the reply from stdin; only `y` and `yes` confirm (docker/cli internal/prompt)."""
    write_text(STDOUT, f"{question} [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
