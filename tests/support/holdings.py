"""The resources a sampand holds for its containers: in the kernel, on disk and in its databases."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.support.engines import Sampand

TABLES = ("containers", "endpoints", "addresses", "volumes", "images", "layers")


def holdings(engine: Sampand) -> dict[str, list[str]]:
    """All resources by kind. A daemon with the same containers, images and volumes holds the same."""
    return {
        "monitors": sorted(monitored(engine)),
        "processes": sorted(_processes(engine)),
        "mounts": [
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(engine.root) in line
        ],
        "cgroups": _entries(*groups(engine)),
        "interfaces": sorted(path.name for path in Path("/sys/class/net").glob(f"*{engine.instance}*/brif/*")),
        "nftables elements": sorted(_elements(engine)),
        "snapshots": snapshots(engine),
        "directories": _entries(
            engine.data_root / "containers",
            engine.data_root / "volumes",
            engine.exec_root / "bundles",
            engine.exec_root / "runtime/containers",
            *(engine.exec_root / "runtime/state").iterdir(),
        ),
        **{f"rows of {table}": rows(engine, table) for table in TABLES},
    }


def difference(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """A line for each item that appeared (`left`) or disappeared (`lost`)."""
    return [
        f"{kind}: {word} {thing}"
        for kind, found in after.items()
        for word, things in (("left", set(found) - set(before[kind])), ("lost", set(before[kind]) - set(found)))
        for thing in sorted(things)
    ]


def monitored(engine: Sampand) -> set[str]:
    """The ids of the containers that have a monitor."""
    listed = subprocess.run(["pgrep", "-af", f"conmon .*{engine.root}/"], capture_output=True, text=True, check=False)
    return set(re.findall(r"--cid ([0-9a-f]{64})", listed.stdout))


def groups(engine: Sampand) -> list[Path]:
    """The directory of its containers' cgroups, if it exists."""
    roots = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
    return [root / f"sampan-{engine.instance}" for root in roots if (root / f"sampan-{engine.instance}").is_dir()]


def snapshots(engine: Sampand) -> list[str]:
    """The names of all snapshots."""
    return _query(engine.data_root / "drivers/overlayfs/metadata.db", "SELECT name FROM snapshots ORDER BY name")


def rows(engine: Sampand, table: str) -> list[str]:
    """The rows of a table of the daemon's database; `addresses` and `ports` hold those in use."""
    return _query(engine.data_root / "state.db", f"SELECT * FROM {table}")


def _query(path: Path, query: str) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [" ".join(map(str, row)) for row in database.execute(query)]


def _processes(engine: Sampand) -> Iterator[str]:
    """The processes in its containers' cgroups: pid, name, state and parent of each.

    What a killed daemon left is reparented, mostly to the host's init, which reaps in its own time: zombies count
    only where they are the daemon's children.
    """
    assert engine.process is not None
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if f"/sampan-{engine.instance}/" in path.read_text():
                number, name, state, parent = _stat(path.parent / "stat")
                if state != "Z" or int(parent) == engine.process.pid:
                    yield f"{number} {name} {state}, child of {parent}"
        except (FileNotFoundError, ProcessLookupError):
            continue


def _stat(path: Path) -> tuple[str, str, str, str]:
    """Pid, name, state and parent. See proc(5): the name is in parentheses and may contain anything."""
    number, _, rest = path.read_text().partition(" (")
    name, _, rest = rest.rpartition(") ")
    state, parent, _ = rest.split(" ", 2)
    return number, name, state, parent


def _elements(engine: Sampand) -> Iterator[str]:
    """The elements of all sets and maps in its nftables table."""
    table = f"sampan_{engine.instance}"
    listed = subprocess.run(["nft", "-j", "-s", "list", "table", "inet", table], capture_output=True, check=True)
    for item in json.loads(listed.stdout)["nftables"]:
        for body in item.values():
            for element in body.get("elem", ()) if isinstance(body, dict) else ():
                yield f"{body['name']}: {json.dumps(element, sort_keys=True)}"


def _entries(*directories: Path) -> list[str]:
    return sorted(str(entry) for directory in directories for entry in directory.iterdir() if entry.is_dir())
