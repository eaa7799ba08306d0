"""What kind of cgroup host this is, read from mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_NAMED = "name="


@dataclass(frozen=True)
class Host:
    """`kind` is `unified`, `hybrid`, `legacy` or `none`; `mount` is where cgroup v2 is mounted, if it is."""

    kind: str
    mount: Path | None

    def why_not(self) -> str | None:
        """Why cgroup v2 can't be used here, in one sentence; `None` if it can."""
        if self.mount is not None:
            return None
        if self.kind == "legacy":
            return "this host mounts cgroup v1 only; boot it with systemd.unified_cgroup_hierarchy=1"
        return "no cgroup2 file system is mounted; mount one on /sys/fs/cgroup"


def find_host(mountinfo: Path = Path("/proc/thread-self/mountinfo")) -> Host:
    """The host as the calling thread sees it.

    Controllers of a v1 mount are not available in v2. A named v1 hierarchy (systemd's) has no controllers.
    """
    v1_seen, v1_controllers, v2 = False, False, None
    for line in mountinfo.read_text().splitlines():
        words = line.split()
        kind, _, super_options = words[words.index("-") + 1 :][:3]
        if kind == "cgroup2" and v2 is None:
            v2 = Path(words[4])
        elif kind == "cgroup":
            v1_seen = True
            v1_controllers |= _NAMED not in super_options
    if v2 is None:
        return Host("legacy" if v1_seen else "none", None)
    return Host("hybrid" if v1_controllers else "unified", v2)
