"""AppArmor, if the kernel supports it (detected as in containerd's pkg/apparmor/apparmor_linux.go)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_ENABLED = Path("/sys/module/apparmor/parameters/enabled")
_INTERFACE = Path("/sys/kernel/security/apparmor")


@cache
def supported() -> bool:
    """Whether the kernel can confine processes by profiles."""
    try:
        return _INTERFACE.is_dir() and _ENABLED.read_text().startswith("Y")
    except OSError:
        return False
