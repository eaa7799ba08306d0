"""Numbers in tar headers."""

from __future__ import annotations

from functools import lru_cache

from sampan.errdefs import InvalidArgument


@lru_cache(maxsize=8192)
def number(field: bytes) -> int:
    """Parse a number: octal text, or base 256 if the first bit is set (GNU). Raises `InvalidArgument`."""
    if field[0] & 0x80:
        negative = field[0] & 0x40
        content = bytes((field[0] | 0x80 if negative else field[0] & 0x7F,)) + field[1:]
        return int.from_bytes(content, "big", signed=bool(negative))
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    # int() by itself would accept signs and underscores.
    if digits.translate(None, b"01234567"):
        raise InvalidArgument("archive/tar: invalid tar header: a number is malformed")
    return int(digits, 8)
