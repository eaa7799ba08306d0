"""Detects the detach keys in the user's input. Source: moby/term's ascii and proxy."""

from __future__ import annotations

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def key_bytes(sequence: str) -> bytes:
    """The bytes of `ctrl-p,ctrl-q` or `a,b`. Raises `ValueError` with docker's message."""
    return bytes(_byte(key, sequence) for key in sequence.split(","))


def _byte(key: str, sequence: str) -> int:
    if len(key) == 1 and key.isascii():
        return ord(key)
    control = key.removeprefix("ctrl-").lower()
    if not key.startswith("ctrl-") or len(control) != 1 or control not in _CONTROL:
        raise ValueError(f"invalid detach keys ({sequence}): Unknown character: '{key}'")
    return _CONTROL.index(control)


class DetachKeys:
    """Watches input for a sequence; a partial sequence is held back until it is completed or broken off."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._matched = 0
        self.detached = False

    def filter(self, typed: bytes) -> bytes:
        """The input to pass on to the container, including what was held back; sets `detached` on the sequence."""
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
