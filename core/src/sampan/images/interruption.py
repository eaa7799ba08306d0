"""Distinguishes interruptions, after which one may continue, from permanent errors."""

from __future__ import annotations

import asyncio

from sampan.errdefs import DeadlineExceeded, SystemFailure, Unavailable


class Interrupted(SystemFailure):
    """The registry or the connection to it failed; trying again may help."""


def may_go_on(error: BaseException | None) -> bool:
    """Whether a download can be continued after `error`: the caller left, or the network failed."""
    return isinstance(error, (asyncio.CancelledError, ConnectionError, Interrupted, DeadlineExceeded, Unavailable))
