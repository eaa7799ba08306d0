"""One run of a health check: an exec with limited output and time.

Source: moby daemon/health.go, cmdProbe.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from sampan.daemon.clock import go_duration, now_ns
from sampan.daemon.container import Container, ProbeResult
from sampan.daemon.streams import exec
from sampan.errdefs import SampanError
from sampan.models import CreateExec
from sampan.runtime.interface import Attached, Exec

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)
_MAX_OUTPUT_BYTES = 4096
_START_DEADLINE_S = 30.0
_NO_RESULT = -1


class Probe(NamedTuple):
    """The command to run, and how long it may take once it runs."""

    command: tuple[str, ...]
    timeout_s: float


class _Output:
    """The beginning of a probe's output."""

    def __init__(self) -> None:
        self._content = bytearray()

    def add(self, content: bytes) -> None:
        self._content += content[: _MAX_OUTPUT_BYTES + 1 - len(self._content)]

    def text(self) -> str:
        kept = self._content[:_MAX_OUTPUT_BYTES].decode(errors="replace")
        return f"{kept}..." if len(self._content) > _MAX_OUTPUT_BYTES else kept


async def run_probe(daemon: Daemon, container: Container, probe: Probe) -> ProbeResult:
    """Run it once. Failures are results too. If cancelled, it leaves no process behind."""
    start_ns = now_ns()
    try:
        code, words = await _run(daemon, container, probe)
    except (SampanError, TimeoutError) as error:
        _log.warning("health check of container %s: %s", container.id[:12], error)
        code, words = _NO_RESULT, str(error)
    return ProbeResult(start_ns=start_ns, end_ns=now_ns(), exit_code=code, output=words)


async def _run(daemon: Daemon, container: Container, probe: Probe) -> tuple[int, str]:
    if not probe.command:
        return _NO_RESULT, f"healthcheck for container {container.id} has no command"
    output = _Output()
    async with _started(daemon, container, probe) as running:
        try:
            async with asyncio.timeout(probe.timeout_s):
                await _collect(running.attached, output)
                return await running.wait(), output.text()
        except TimeoutError:
            limit = f"Health check exceeded timeout ({go_duration(probe.timeout_s)})"
            return _NO_RESULT, f"{limit}: {output.text()}" if output.text() else limit


@asynccontextmanager
async def _started(daemon: Daemon, container: Container, probe: Probe) -> AsyncIterator[Exec]:
    """The probe's process, which has ended when the context is left.

    Starting it does not count against its timeout.
    """
    request = CreateExec(container=container.id, cmd=list(probe.command), attach_stdout=True, attach_stderr=True)
    instance = exec.register(daemon, container, request)
    starting = asyncio.create_task(exec.begin(daemon, instance))
    try:
        async with asyncio.timeout(_START_DEADLINE_S):
            running = await asyncio.shield(starting)
    except TimeoutError:
        daemon.spawn(_end_late(starting), f"exec {instance.id[:12]}")
        raise TimeoutError(f"timed out starting health check for container {container.id}") from None
    except asyncio.CancelledError:
        daemon.spawn(_end_late(starting), f"exec {instance.id[:12]}")
        raise
    try:
        yield running
    finally:
        await running.kill()
        await running.attached.close()
        await running.wait()


async def _end_late(starting: asyncio.Task[Exec]) -> None:
    try:
        running = await starting
    except SampanError:  # recorded in the exec's exit code
        return
    await running.kill()
    await running.attached.close()


async def _collect(attached: Attached, output: _Output) -> None:
    while (chunk := await attached.read()) is not None:
        output.add(chunk[1])
