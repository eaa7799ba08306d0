"""Linux capabilities by name: Docker's default set, and the effect of `--cap-add`, `--cap-drop`, `--privileged`.

Source: moby daemon/pkg/oci/caps. Numbers: include/uapi/linux/capability.h.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from sampan.errdefs import InvalidArgument

_NAMES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]
KNOWN = tuple(f"CAP_{name}" for name in _NAMES)
"""All capabilities, ordered by number."""

DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
_ALL = "ALL"


@functools.cache
def available() -> tuple[str, ...]:
    """Those that this process can pass on: its bounding set, as far as it is known here."""
    bounding = _status_set("CapBnd")
    return tuple(name for number, name in enumerate(KNOWN) if bounding >> number & 1)


def is_effective(name: str) -> bool:
    """Whether this process has the capability `CAP_…` now."""
    return bool(_status_set("CapEff") >> KNOWN.index(name) & 1)


def capability_set(add: Iterable[str], drop: Iterable[str], *, privileged: bool) -> tuple[str, ...]:
    """A container's capabilities. Raises `InvalidArgument` with Docker's message for an unknown or unavailable one.

    Defaults that this process itself does not have are omitted.
    """
    if privileged:
        return available()
    added, dropped = _normalized(add), _normalized(drop)
    if _ALL in added:
        return tuple(name for name in available() if name not in dropped)
    basics = () if _ALL in dropped else [name for name in DEFAULT if name in available() and name not in dropped]
    return tuple(dict.fromkeys([*basics, *added]))


def _normalized(names: Iterable[str]) -> list[str]:
    return [_normal(name) for name in names]


def _normal(name: str) -> str:
    upper = name.upper()
    if upper == _ALL:
        return upper
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in KNOWN:
        raise InvalidArgument(f'unknown capability: "{full}"')
    if full not in available():
        raise InvalidArgument(
            f'capability not supported by your kernel or not available in the current environment: "{full}"'
        )
    return full


def _status_set(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value, 16)
    raise OSError(f"/proc/self/status has no {field}")
