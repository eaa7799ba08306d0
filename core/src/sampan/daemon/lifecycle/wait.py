"""container_wait: the exit code, once the condition holds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.engine import Job
from sampan.errdefs import InvalidArgument
from sampan.models import WaitContainer, WaitError, WaitResult

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_wait(daemon: Daemon, job: Job[WaitContainer]) -> None:
    """Send the container's exit code.

    The response's head is sent at once, as clients start the container only then.
    """
    output = job.require_output()
    container = daemon.containers.get(job.request.name)
    waiting = _waiting(container, job.request.condition or "not-running")
    await output.open()
    if waiting:
        await waiting.wait()
    state = container.state
    error = WaitError(message=state.error) if state.error else None
    if error is None or job.request.tells_errors:
        await output.write(WaitResult(status_code=state.exit_code, error=error))


def _waiting(container: Container, condition: str) -> asyncio.Event | None:
    match condition:
        case "not-running":
            return container.next_exit if container.active else None
        case "next-exit":
            return container.next_exit
        case "removed":
            return container.removed
        case _:
            raise InvalidArgument(f'invalid condition: "{condition}"')
