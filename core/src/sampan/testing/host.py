"""Snapshots of a host's kernel objects, to find what a test leaves behind; needs no pytest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_PROC = Path("/proc")
T = TypeVar("T")


@dataclass(frozen=True)
class HostState:
    """Kernel objects at one moment: for each kind, their keys and human-readable descriptions."""

    things: Mapping[str, Mapping[str, str]]

    def difference(self, before: HostState, marks: Iterable[str] = ()) -> tuple[str, ...]:
        """One message for each object that did not exist in `before`.

        With `marks`, only objects with one of these texts in their description count (a temporary directory, a
        daemon's instance name), so that tests may run in parallel; open files are always the process's own.
        """
        wanted = tuple(marks)
        return tuple(
            f"{kind} left over: {description}"
            for kind, found in self.things.items()
            for key, description in found.items()
            if key not in before.things.get(kind, {})
            if not wanted or kind == "open file" or any(mark in description for mark in wanted)
        )


def snapshot_host() -> HostState:
    """Mounts, network namespaces, interfaces, cgroups, nftables, processes of this host; open files of this process.

    Needs root to see everything; what can't be read is left out.
    """
    return HostState(
        {
            "mount": dict(_mounts()),
            "network namespace": dict(_network_namespaces()),
            "interface": {name: name for name in _names("/sys/class/net")},
            "cgroup": {path: path for path in _cgroups()},
            "nftables": {text: text for text in _nftables()},
            "process": dict(_processes()),
            "open file": dict(_open_files()),
        }
    )


class Leaked(AssertionError):
    """Something was left behind; the message has one line for each object."""


class LeakCheck:
    """Compares the host now with its state when this object was created.

    `marks` are as in `HostState.difference`; a test may add more to the list later.
    """

    def __init__(self, marks: Iterable[str] = ()) -> None:
        self.marks = list(marks)
        self._before = snapshot_host()

    def leaks(self) -> tuple[str, ...]:
        """Messages for everything that exists now but did not before."""
        return snapshot_host().difference(self._before, self.marks)

    def assert_clean(self, deadline_s: float = 5.0) -> None:
        """Raise `Leaked` if something is still left at the deadline.

        The kernel removes a network namespace or a dead process shortly after its last user is gone, without any
        notification, so the check can only poll.
        """
        end = time.monotonic() + deadline_s
        while left := self.leaks():
            if time.monotonic() > end:
                raise Leaked("\n".join(left))
            time.sleep(0.05)


def _mounts() -> Iterator[tuple[str, str]]:
    for line in (_PROC / "self/mountinfo").read_text().splitlines():
        words = line.split()
        yield words[0], f"{words[4]} ({' '.join(words[words.index('-') + 1 :])})"


def _network_namespaces() -> Iterator[tuple[str, str]]:
    """Those of processes, and those kept by a mount (`net:[…]` is their root in mountinfo), by inode."""
    for pid in _pids():
        if name := _read((_PROC / pid / "ns/net").readlink):
            yield str(name), f"{name} of process {pid} {_command(pid)}"
    for line in (_PROC / "self/mountinfo").read_text().splitlines():
        root, target = line.split()[3:5]
        if root.startswith("net:["):
            yield root, f"{root} at {target}"


def _cgroups() -> Iterator[str]:
    for line in (_PROC / "self/mountinfo").read_text().splitlines():
        words = line.split()
        if words[words.index("-") + 1] == "cgroup2":
            yield from (directory for directory, _, _ in os.walk(words[4]))


def _nftables() -> Iterator[str]:
    """Every table, chain, rule, set, map and element as one line, without handles and counters."""
    if os.geteuid() != 0 or not shutil.which("nft"):
        return
    listed = subprocess.run(["nft", "-j", "-s", "list", "ruleset"], check=True, capture_output=True).stdout
    for item in json.loads(listed)["nftables"]:
        for kind, body in item.items():
            if kind == "metainfo":
                continue
            elements = body.pop("elem", [])
            body.pop("handle", None)
            yield json.dumps({kind: body}, sort_keys=True)
            for element in elements:
                yield json.dumps(
                    {"element": element, "of": body.get("name"), "table": body.get("table")}, sort_keys=True
                )


def _processes() -> Iterator[tuple[str, str]]:
    """Processes, by pid and start time, so that a reused pid is not mistaken. Kernel threads are left out."""
    for pid in _pids():
        fields = (_read((_PROC / pid / "stat").read_text) or "").rpartition(")")[2].split()
        if fields and _command(pid):
            cgroup = _read((_PROC / pid / "cgroup").read_text) or ""
            own = cgroup.rpartition("0::")[2].strip()
            yield f"{pid}@{fields[19]}", f"{pid} {_command(pid)} (parent {fields[1]}, cgroup {own})"


def _open_files() -> Iterator[tuple[str, str]]:
    for number in _names("/proc/self/fd"):
        if target := _read(Path(f"/proc/self/fd/{number}").readlink):
            yield f"{number} {target}", f"{number} -> {target}"


def _pids() -> Iterator[str]:
    return (name for name in _names("/proc") if name.isdigit())


def _command(pid: str) -> str:
    content = _read((_PROC / pid / "cmdline").read_bytes) or b""
    return content.replace(b"\0", b" ").decode(errors="replace").strip()


def _names(directory: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries]
    return iter(names)


def _read(reading: Callable[[], T]) -> T | None:
    """The result of `reading`, or `None` for a process or file that has vanished or may not be read."""
    try:
        return reading()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
