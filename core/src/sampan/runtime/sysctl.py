"""The sysctls that a container may set: those of its own namespaces.

Source of list and messages: runc libcontainer/configs/validate/validator.go, sysctl. A runtime turns the name into a
path, so names must match a grammar (in CVE-2022-0811, CRI-O did not check that).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sampan.errdefs import InvalidArgument

_NAME = re.compile(r"[a-zA-Z0-9_-]+([./][a-zA-Z0-9_:@-]+)+")
_IPC = frozenset(
    {
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    }
)


def check(sysctls: Mapping[str, str], *, own_network: bool, own_ipc: bool, own_uts: bool) -> None:
    """Raise `InvalidArgument` for a sysctl that does not belong to the container's own namespaces."""
    for name, value in sysctls.items():
        plain = name.replace("/", ".")
        if not _NAME.fullmatch(name) or not value.isprintable():
            raise InvalidArgument(f'invalid sysctl "{name}={value}"')
        if plain in _IPC or plain.startswith("fs.mqueue."):
            if not own_ipc:
                raise InvalidArgument(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
        elif plain.startswith("net."):
            if not own_network:
                raise InvalidArgument(f'sysctl "{name}" not allowed in host network namespace')
        elif plain == "kernel.hostname":
            raise InvalidArgument(f'sysctl "{name}" is not allowed as it conflicts with the OCI "hostname" field')
        elif not (plain == "kernel.domainname" and own_uts):
            raise InvalidArgument(f'sysctl "{name}" is not in a separate kernel namespace')
