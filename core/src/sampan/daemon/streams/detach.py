"""Detach keys: a sequence typed at a terminal that ends the attachment, not the process."""

from __future__ import annotations

from sampan.errdefs import InvalidArgument

DEFAULT_KEYS = "ctrl-p,ctrl-q"
_CONTROL = {chr(code + 96): code for code in range(1, 27)} | {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse_keys(text: str) -> bytes:
    """Parse `ctrl-p,ctrl-q` or `a,b` (moby/term ascii.go). Raises `InvalidArgument` with Docker's message."""
    keys = bytearray()
    for key in text.split(","):
        name = key.lower()
        if len(key) == 1 and key.isascii():
            keys.append(ord(key))
        elif name.startswith("ctrl-") and name[5:] in _CONTROL:
            keys.append(_CONTROL[name[5:]])
        else:
            raise InvalidArgument(f"Invalid detach keys ({text}) provided")
    return bytes(keys)


class DetachFilter:
    """Finds the keys in the input, even across reads, and holds back what may be the beginning of them."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""
        self.detached = False

    def feed(self, typed: bytes) -> bytes:
        """The part of `typed`, and of what was held back, that is for the process. Sets `detached` after the keys."""
        content = self._held + typed
        at = content.find(self._keys)
        if at >= 0:
            self.detached, self._held = True, b""
            return content[:at]
        held = next((n for n in range(len(self._keys) - 1, 0, -1) if content.endswith(self._keys[:n])), 0)
        self._held = content[len(content) - held :]
        return content[: len(content) - held]
