"""Downloads a blob, continuing after interruptions."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from sampan.images.interruption import Interrupted
from sampan.images.manifest import Descriptor
from sampan.images.registry import Repository
from sampan.images.registry_config import RegistryConfig

_log = logging.getLogger(__name__)
_SMALL_RETRY_DELAY = 0.05  # relative to a layer's delay: 250 ms, as moby has for configs
AnswerT = TypeVar("AnswerT")


async def fetch(
    repository: Repository, blob: Descriptor, config: RegistryConfig, *, offset: int, retrying: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    """The bytes of `blob` from `offset` on. `retrying` is called each second with the seconds until the next attempt.

    After an attempt that brings at least a byte, all attempts are available again. Raises what `Repository.blob`
    raises, its `Interrupted` after the last attempt.
    """
    failures = 0
    while offset < blob.size_bytes:
        start = offset
        try:
            async with aclosing(repository.blob(blob, offset)) as chunks:
                async for chunk in chunks:
                    offset += len(chunk)
                    yield chunk
            return
        except Interrupted as error:
            failures = 1 if offset > start else failures + 1
            if failures >= config.attempts:
                raise
            _log.info("blob %s broke off at %d: %s", blob.digest, offset, error)
        await _wait(failures * config.retry_delay_s, retrying)


async def _wait(delay_s: float, retrying: Callable[[int], None]) -> None:
    for left in range(math.ceil(delay_s), 0, -1):
        retrying(left)
        await asyncio.sleep(1)


async def retried(ask: Callable[[], Awaitable[AnswerT]], config: RegistryConfig) -> AnswerT:
    """The response to a small request, repeated on network failures. Raises as `ask` does."""
    for attempt in range(1, config.attempts):
        try:
            return await ask()
        except Interrupted as error:
            _log.info("attempt %d: %s", attempt, error)
        await asyncio.sleep(_SMALL_RETRY_DELAY * config.retry_delay_s * attempt)
    return await ask()
