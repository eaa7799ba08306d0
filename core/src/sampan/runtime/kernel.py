"""The running kernel's version."""

from __future__ import annotations

import platform
import re


def is_at_least(version: str) -> bool:
    """Whether the kernel has this version (`5.12`) or a newer one. Raises `ValueError` for an invalid version."""
    return _numbers(platform.release()) >= _numbers(version)


def _numbers(version: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", version)
    if not match:
        raise ValueError(f"invalid kernel version: {version}")
    return int(match[1]), int(match[2])
