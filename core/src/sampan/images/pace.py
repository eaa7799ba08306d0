"""Detects downloads that are too slow: a trickling server would occupy a slot forever."""

from __future__ import annotations

import time

from sampan.errdefs import DeadlineExceeded

_WINDOW_BYTES_MIN = 16 << 10


class Pace:
    """Watches a response of `server` (its name in messages), in windows of `window_s` seconds."""

    def __init__(self, server: str, window_s: float) -> None:
        self._server = server
        self._window_s = window_s
        self._until_s = time.monotonic() + window_s
        self._bytes = 0

    def came(self, count: int) -> None:
        """Count received bytes. Raises `DeadlineExceeded` if they were too few for too long."""
        self._bytes += count
        now = time.monotonic()
        if now < self._until_s:
            return
        if self._bytes < _WINDOW_BYTES_MIN:
            raise DeadlineExceeded(
                f"the {self._server} sent {self._bytes} bytes in {self._window_s:g} s, which is too slow"
            )
        self._until_s, self._bytes = now + self._window_s, 0
