"""What breaks off and may go on later, told from what is wrong and stays so."""

from __future__ import annotations

import asyncio

from sampan.errdefs import DeadlineExceeded, SystemFailure, Unavailable


class Interrupted(SystemFailure):
    """The registry or the way to it failed; trying again may help."""


def may_go_on(error: BaseException | None) -> bool:
    """Whether what was fetched before `error` is good for another attempt: a caller left, or the network failed."""
    return isinstance(error, (asyncio.CancelledError, ConnectionError, Interrupted, DeadlineExceeded, Unavailable))
