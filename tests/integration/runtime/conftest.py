"""Fixtures shared by the runtime tests."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sampan.runtime import probe
from sampan.runtime.namespace import RuntimeNamespace
from tests.support.runtime_host import Host, make_root, make_runtime


@pytest.fixture(scope="session")
def rootfs(session_dir: Path) -> Path:
    root = session_dir / "rootfs"
    make_root(root)
    return root


@pytest.fixture(scope="session")
def slice_name(session_dir: Path) -> str:
    return f"/{session_dir.name}-rt"


@pytest.fixture(scope="session")
def namespace(slice_name: str) -> Iterator[RuntimeNamespace]:
    namespace = RuntimeNamespace(slice_name)
    yield namespace
    namespace.close()


@pytest.fixture(scope="session")
def runtimes(namespace: RuntimeNamespace, session_dir: Path) -> dict[str, probe.FoundRuntime]:
    return asyncio.run(probe.find_runtimes(namespace, {}, cache=session_dir / "runtimes.json", work_dir=session_dir))


@pytest.fixture
async def host(
    session_dir: Path,
    rootfs: Path,
    slice_name: str,
    namespace: RuntimeNamespace,
    runtimes: dict[str, probe.FoundRuntime],
) -> AsyncIterator[Host]:
    work = session_dir / f"rt{os.urandom(3).hex()}"
    runtime = make_runtime(work / "run", namespace, runtimes)
    host = Host(runtime, work, rootfs, slice_name)
    yield host
    await host.end()
    shutil.rmtree(work)
