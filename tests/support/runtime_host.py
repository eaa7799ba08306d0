"""The runtime on the real kernel, with a busybox root file system."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from sampan.drivers import Mount
from sampan.runtime import probe, spec
from sampan.runtime.interface import STDERR, STDOUT, Attached, Bundle
from sampan.runtime.log_files import LogFiles, LogLimits
from sampan.runtime.namespace import CGROUP_ROOT, HYBRID_ROOT, RuntimeNamespace, host_kind
from sampan.runtime.oci import OciRuntime
from sampan.runtime.spec import ProcessSettings, SpecMount, SpecSettings

APPLETS = [
    "sh",
    "true",
    "false",
    "echo",
    "cat",
    "sleep",
    "ls",
    "stty",
    "tty",
    "id",
    "env",
    "head",
    "kill",
    "tr",
    "grep",
    "mount",
    "ping",
    "wc",
]


PATIENCE_S = 20


def make_root(root: Path) -> None:
    """Create a busybox root file system in `root`."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "run"):
        (root / name).mkdir(parents=True)
    shutil.copy2("/bin/busybox", root / "bin" / "busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "bin" / "plain").write_text("no program")
    (root / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:33:33::/:/bin/sh\n")


def make_runtime(exec_root: Path, namespace: RuntimeNamespace, runtimes: dict[str, probe.FoundRuntime]) -> OciRuntime:
    runtime = OciRuntime(
        exec_root,
        namespace,
        runtimes=runtimes,
        default_runtime=probe.default_runtime(runtimes, None),
        conmon_path=Path(shutil.which("conmon") or "conmon"),
    )
    runtime.open()
    return runtime


class Host:
    """A runtime, and shortcuts for running things in it."""

    def __init__(self, runtime: OciRuntime, work: Path, rootfs: Path, slice_name: str) -> None:
        self.runtime = runtime
        self.work = work
        self.rootfs = rootfs
        self.slice_name = slice_name
        self.attached: list[Attached] = []

    def bundle(self, id: str, *args: str, mounts: tuple[SpecMount, ...] = (), **fields: Any) -> Bundle:
        terminal = fields.get("terminal", False)
        process = fields.pop("process", None) or ProcessSettings(args, ["PATH=/bin"], terminal=terminal)
        settings = SpecSettings(process, hostname=id, mounts=mounts, cgroups_path=f"{self.slice_name}/{id}")
        directory = self.work / "bundles" / id
        directory.mkdir(parents=True, exist_ok=True)
        return Bundle(
            id=id,
            dir=directory,
            spec=spec.build(settings),
            rootfs=(Mount("bind", str(self.rootfs), ("rbind", "ro")),),
            log_path=self.work / f"{id}.log",
            **fields,
        )

    def log(self, id: str) -> LogFiles:
        files = LogFiles(self.work / f"{id}.log", LogLimits())
        files.number_current()
        return files

    async def start(self, id: str, *args: str, **fields: Any) -> Attached:
        await self.runtime.create(self.bundle(id, *args, **fields))
        attached = await self.attach(id)
        await self.runtime.start(id)
        return attached

    async def attach(self, id: str) -> Attached:
        self.attached.append(await self.runtime.attach(id))
        return self.attached[-1]

    async def delete(self, id: str) -> None:
        """Delete as the daemon does; the cgroup is removed here in place of the resource driver."""
        await self.runtime.delete(id)
        root = HYBRID_ROOT if host_kind() == "hybrid" else CGROUP_ROOT
        with suppress(FileNotFoundError):
            (root / self.slice_name.lstrip("/") / id).rmdir()

    async def run(self, id: str, *args: str, **fields: Any) -> tuple[int, dict[int, bytes]]:
        attached = await self.start(id, *args, **fields)
        output = await everything(attached)
        await attached.close()
        status = await self.runtime.wait(id)
        await self.delete(id)
        return status.code, output

    async def exec(self, id: str, *args: str, **fields: Any) -> tuple[int, dict[int, bytes]]:
        process = spec.build_process(ProcessSettings(args, ["PATH=/bin"], **fields))
        running = await self.runtime.exec(id, f"x{os.urandom(4).hex()}", lambda: process, terminal=False, stdin=False)
        output = await everything(running.attached)
        return await running.wait(), output

    async def end(self) -> None:
        for attached in self.attached:
            await attached.close()
        for id in self.runtime.list():
            await self.delete(id)
        self.runtime.close()


async def everything(attached: Attached) -> dict[int, bytes]:
    output = {STDOUT: b"", STDERR: b""}
    async with asyncio.timeout(PATIENCE_S):
        while item := await attached.read():
            output[item[0]] += item[1]
    return output


async def until(attached: Attached, words: bytes) -> bytes:
    """Read until `words` appear."""
    seen = b""
    async with asyncio.timeout(PATIENCE_S):
        while words not in seen:
            item = await attached.read()
            assert item is not None, f"the output ended with {seen!r}, without {words!r}"
            seen += item[1]
    return seen
