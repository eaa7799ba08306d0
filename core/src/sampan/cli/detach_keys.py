"""Finding the detach keys in what the user types. Source: moby/term's ascii and proxy."""

from __future__ import annotations

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def key_bytes(sequence: str) -> bytes:
    """The bytes of `ctrl-p,ctrl-q` or `a,b`. Raises `ValueError` in docker's words."""
    return bytes(_byte(key, sequence) for key in sequence.split(","))


def _byte(key: str, sequence: str) -> int:
    if len(key) == 1 and key.isascii():
        return ord(key)
    control = key.removeprefix("ctrl-").lower()
    if not key.startswith("ctrl-") or len(control) != 1 or control not in _CONTROL:
        raise ValueError(f"invalid detach keys ({sequence}): Unknown character: '{key}'")
    return _CONTROL.index(control)


class DetachKeys:
    """Watches typed bytes for a sequence; a begun sequence is held back until it is whole or broken off."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._matched = 0
        self.detached = False

    def filter(self, typed: bytes) -> bytes:
        """What of `typed` (and of what was held back) goes on to the container; sets `detached` when it is whole."""
        passed = bytearray()
        for byte in typed:
            if byte == self._sequence[self._matched]:
                self._matched += 1
                if self._matched == len(self._sequence):
                    self.detached = True
                    break
                continue
            passed += self._sequence[: self._matched]
            self._matched = 0
            if byte == self._sequence[0] and len(self._sequence) > 1:
                self._matched = 1
            else:
                passed.append(byte)
        return bytes(passed)
