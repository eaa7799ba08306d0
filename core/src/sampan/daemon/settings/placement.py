"""Where a container's cgroup is placed: Docker's `CgroupParent` as a path below the resource driver's slice.

dockerd with the cgroupfs driver resolves the parent from the root of the hierarchy (moby daemon/oci_linux.go,
WithCgroups). Here the slice is the root of what the daemon may touch, so `/batch` means `batch` in the slice.
"""

from __future__ import annotations

import json
import os
import re

from sampan.drivers import Placement
from sampan.errdefs import InvalidArgument
from sampan.models import HostConfig

_ID = re.compile(r"[0-9a-f]{64}")
_MOST = 1024
_NAME_BYTES = 255  # NAME_MAX of include/uapi/linux/limits.h


def placement_of(host: HostConfig, labels: dict[str, str]) -> Placement:
    """The placement asked for. Raises `InvalidArgument` for an invalid parent."""
    return Placement(_parent(host.cgroup_parent), labels)


def _parent(asked: str) -> str:
    names = [name for name in asked.split("/") if name not in ("", ".")]
    if names and names[-1].endswith(".slice"):
        raise InvalidArgument("systemd slice received as cgroup parent when using cgroupfs")  # Podman's message
    if len(asked) > _MOST or not all(map(_can_be, names)):
        raise InvalidArgument(f"invalid cgroup-parent: {json.dumps(asked)}")
    return "/".join(names)


def _can_be(name: str) -> bool:
    """The kernel accepts no line breaks, and a container's cgroup can't be another container's parent."""
    printable = name.isprintable() and len(os.fsencode(name)) <= _NAME_BYTES
    return printable and name != ".." and not _ID.fullmatch(name)
