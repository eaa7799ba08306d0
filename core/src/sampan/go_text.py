"""Parses booleans and sizes like Go's strconv and Docker's go-units, for the daemon, clients and drivers."""

from __future__ import annotations

import re

BINARY, DECIMAL = 1024, 1000
"""The value of `k` in go-units' RAMInBytes and FromHumanSize, respectively."""

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_NUMBER = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")
_SUFFIX = re.compile(r"b?|([kmgtp])(?:b|ib)?")


def parse_bool(text: str) -> bool:
    """Parse a boolean. Raises `ValueError` with Go's message."""
    if text not in _BOOLEANS:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return _BOOLEANS[text]


def parse_size(text: str, kilo: int = BINARY) -> int:
    """Parse a size such as `64m`, `1.5GiB`, `512 kb` into bytes. Raises `ValueError` with go-units' message."""
    behind = max(map(text.rfind, "0123456789. ")) + 1
    number, suffix = text[:behind].removesuffix(" "), text[behind:].lower()
    if not _NUMBER.fullmatch(number):
        raise ValueError(f"invalid size: '{text}'")
    unit = _SUFFIX.fullmatch(suffix)
    if unit is None:
        raise ValueError(f"invalid suffix: '{suffix}'")
    size = float(number) * kilo ** " kmgtp".index(unit[1] or " ")
    if size >= 1 << 63:
        raise ValueError(f"invalid size: '{text}'")
    return int(size)
