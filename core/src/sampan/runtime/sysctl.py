"""Which sysctls a container may set: those that belong to a namespace of its own.

Source of list and words: runc libcontainer/configs/validate/validator.go, sysctl. A runtime makes a path of a name,
so names are held to a grammar (CVE-2022-0811 of CRI-O was a name that was not).
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
    """Raise `InvalidArgument` for a sysctl that is not of the container's own namespaces."""
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
