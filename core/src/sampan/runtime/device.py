"""A container's devices: nodes copied from the host's, and device cgroup rules.

Source: moby daemon/pkg/oci/devices_linux.go, oci.go; containerd pkg/oci/utils_unix.go (which entries of /dev to
skip).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.errdefs import InvalidArgument

ALL = {"allow": True, "access": "rwm"}
"""The rule of a privileged container."""

_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")
_NOT_COPIED = frozenset({"pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"})


@dataclass(frozen=True)
class DeviceMapping:
    """`--device HOST:CONTAINER:ACCESS`; a directory means all devices in it. `access` is a subset of `rwm`."""

    host_path: str
    path: str
    access: str = "rwm"


def default_rules() -> list[dict[str, Any]]:
    """Only null, zero, urandom, random, tty and console; the runtime adds the devices that it creates itself."""
    allowed = [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1)]
    return [
        {"allow": False, "access": "rwm"},
        *({"allow": True, "type": "c", "major": a, "minor": b, "access": "rwm"} for a, b in allowed),
        {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
    ]


def parse_rule(text: str) -> dict[str, Any]:
    """Parse a rule as in `--device-cgroup-rule` (`c 42:* rmw`). Raises `InvalidArgument` with Docker's message."""
    match = _RULE.fullmatch(text)
    if not match:
        raise InvalidArgument(f"invalid device cgroup rule format: '{text}'")
    kind, major, minor, access = match.groups()
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    for name, number in (("major", major), ("minor", minor)):
        rule[name] = -1 if number == "*" else int(number)
    return rule


def mapped(mapping: DeviceMapping) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The nodes and the rules for one mapping. Raises `InvalidArgument` with Docker's message."""
    source = Path(mapping.host_path).resolve()
    nodes = [node for path in _tree(source) if (node := _node(path, _moved(path, source, mapping.path)))]
    if not nodes:
        why = "not a device node" if source.exists() else "no such file or directory"
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{mapping.host_path}": {why}'
        )
    return nodes, [
        {"allow": True, "type": n["type"], "major": n["major"], "minor": n["minor"], "access": mapping.access}
        for n in nodes
    ]


def host_nodes() -> list[dict[str, Any]]:
    """All devices in the host's /dev, for a privileged container."""
    return [node for path in _tree(Path("/dev")) if (node := _node(path, str(path)))]


def _tree(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for entry in sorted(path.iterdir()):
        if entry.is_symlink() or (path == Path("/dev") and entry.name in _NOT_COPIED):
            continue
        yield from _tree(entry)


def _moved(path: Path, source: Path, target: str) -> str:
    return target if path == source else str(Path(target) / path.relative_to(source))


def _node(path: Path, inside: str) -> dict[str, Any] | None:
    try:
        status = path.lstat()
    except OSError:  # disappeared in the meantime
        return None
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return None
    return {
        "path": inside,
        "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
