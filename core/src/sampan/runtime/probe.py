"""Finds the OCI runtimes that are installed, whether they work on this host, and known flaws of their versions.

An installed program does not necessarily work: crun needs an eBPF program and so, before Linux 5.11, a higher
RLIMIT_MEMLOCK, which not every host allows. So each is tried once, with a container whose command does not exist: a
runtime that complains only about that has done everything else. The result is cached until program or kernel change.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sampan.errdefs import Unsupported
from sampan.runtime import spec
from sampan.runtime.command import RuntimeCommand
from sampan.runtime.namespace import RuntimeNamespace, host_kind

STOCK = ("crun", "runc")
"""The runtimes searched in PATH, best first."""

_TRIAL = 2
"""The version of the trial: cached results of another one are ignored."""

_TRIAL_COMMAND = "/sampan-trial"
_TRIAL_ID = "sampan-trial"
_NO_SUCH_COMMAND = re.compile(rf"{_TRIAL_COMMAND}.*(no such file|not found)", re.IGNORECASE | re.DOTALL)

# Per program: the flaws, and for each minor version the patch that fixes them; newer minors are not affected.
_FLAWS: Mapping[str, tuple[tuple[str, tuple[tuple[int, int, int], ...]], ...]] = {
    "runc": (
        ("CVE-2025-31133, CVE-2025-52565, CVE-2025-52881", ((1, 2, 8), (1, 3, 3))),
        ("CVE-2026-41579", ((1, 3, 6), (1, 4, 3))),
    ),
    "crun": (("CVE-2025-24965", ((1, 20, 0),)),),
}


@dataclass(frozen=True)
class FoundRuntime:
    """A runtime from the configuration or PATH. `kind` is the program's name for itself (`runc`, `crun`).

    `problem` says in one sentence why it can't be used here; `warnings` are sentences for the user.
    """

    name: str
    path: str
    arguments: tuple[str, ...] = ()
    kind: str = ""
    version: str = ""
    problem: str | None = None
    warnings: tuple[str, ...] = ()


async def find_runtimes(
    namespace: RuntimeNamespace, configured: Mapping[str, tuple[str, tuple[str, ...]]], *, cache: Path, work_dir: Path
) -> dict[str, FoundRuntime]:
    """The configured runtimes (name → program, arguments) and the stock ones in PATH, each of them tried.

    `cache` is a file for the results, `work_dir` a directory for trials. Takes about 50 ms for each program not
    cached.
    """
    wanted = {name: (path, ()) for name in STOCK if (path := shutil.which(name))} | dict(configured)
    known = _load(cache)
    found = {}
    for name, (program, arguments) in wanted.items():
        key = _key(program, arguments)
        if key not in known:
            known[key] = await namespace.run(
                lambda n=name, p=program, a=arguments: asdict(_try(n, p, a, namespace, work_dir))  # type: ignore[misc]
            )
            await asyncio.to_thread(cache.write_text, json.dumps(known))
        entry = known[key] | {"name": name, "arguments": arguments}
        found[name] = FoundRuntime(**{**entry, "warnings": tuple(entry["warnings"])})
    return found


def default_runtime(found: Mapping[str, FoundRuntime], wanted: str | None) -> str:
    """The name of the runtime to use: the one `wanted`, or the best that works. Raises `Unsupported`."""
    if wanted is not None:
        if wanted not in found:
            raise Unsupported(f"specified default runtime '{wanted}' does not exist")
        if problem := found[wanted].problem:
            raise Unsupported(f"the OCI runtime {wanted} does not work on this host: {problem}")
        return wanted
    for name in (*STOCK, *found):
        if name in found and found[name].problem is None:
            return name
    tried = "; ".join(f"{one.name}: {one.problem}" for one in found.values())
    raise Unsupported(f"no OCI runtime works on this host ({tried or 'none is installed'}): install crun or runc")


def flaws(program: str, version: str) -> tuple[str, ...]:
    """Sentences about known flaws of this version of `runc` or `crun`."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    if not match:
        return ()
    number = (int(match[1]), int(match[2]), int(match[3] or 0))
    return tuple(
        f"{program} {version} has known flaws ({names}), unless your distribution has mended them: "
        f"update to {'.'.join(map(str, fixes[-1]))} or newer"
        for names, fixes in _FLAWS.get(program, ())
        if _lacks(number, fixes)
    )


def _lacks(version: tuple[int, int, int], fixes: tuple[tuple[int, int, int], ...]) -> bool:
    for fix in fixes:
        if version[:2] == fix[:2]:
            return version < fix
    return version < fixes[-1]


def _try(
    name: str, program: str, arguments: tuple[str, ...], namespace: RuntimeNamespace, work_dir: Path
) -> FoundRuntime:
    path = shutil.which(program)
    if path is None:
        return FoundRuntime(name, program, problem=f"{program} is not installed or not executable")
    try:
        text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return FoundRuntime(name, path, problem=f"{path} --version failed: {error}")
    kind, version = _version(text)
    problem = _trial(RuntimeCommand(name, Path(path), arguments, work_dir, kind), namespace, work_dir)
    return FoundRuntime(name, path, kind=kind, version=version, problem=problem, warnings=flaws(kind, version))


def _version(text: str) -> tuple[str, str]:
    """Program and version in the first line (`runc version 1.1.5+ds1`, `crun version 1.8.1`)."""
    match = re.match(r"(\S+) version (\S+)", text)
    return (match[1], match[2]) if match else ("", text.partition("\n")[0])


def _trial(command: RuntimeCommand, namespace: RuntimeNamespace, work_dir: Path) -> str | None:
    """The runtime's error for a container, unless it is only that the command does not exist."""
    with tempfile.TemporaryDirectory(dir=work_dir, prefix="trial-") as name:
        directory = Path(name)
        (directory / "rootfs").mkdir()
        (directory / "config.json").write_text(json.dumps(command.fitted(_trial_spec(namespace))))
        trial = RuntimeCommand(command.name, command.path, command.arguments, directory / "state", command.kind)
        words = trial.run(directory / "log", "create", "--bundle", str(directory), _TRIAL_ID)
        trial.run(directory / "log", "delete", "--force", _TRIAL_ID)
    if words is None:
        return "it claims to have started a command that does not exist"
    return None if _NO_SUCH_COMMAND.search(words) else words


def _trial_spec(namespace: RuntimeNamespace) -> dict[str, Any]:
    """The spec of an ordinary container: what fails with it would fail with any."""
    # Named like a container's, so that the resource driver finds it if we are killed in the meantime.
    id = hashlib.sha256(f"{_TRIAL_ID}-{os.getpid()}".encode()).hexdigest()
    path = namespace.cgroups_path(f"{namespace.slice.rstrip('/')}/{id}")
    return spec.build(spec.SpecSettings(spec.ProcessSettings([_TRIAL_COMMAND]), cgroups_path=path))


def _key(program: str, arguments: tuple[str, ...]) -> str:
    path = shutil.which(program)
    status = Path(path).stat() if path else None
    version = (status.st_mtime_ns, status.st_size) if status else None
    return json.dumps([_TRIAL, path, version, arguments, platform.release(), host_kind()])


def _load(cache: Path) -> dict[str, dict[str, Any]]:
    try:
        known = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
