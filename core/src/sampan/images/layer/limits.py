"""What a layer may cost before it is taken for a bomb."""

from __future__ import annotations

import enum


class WhiteoutFormat(enum.StrEnum):
    """What a whiteout in a layer becomes on the disk."""

    OVERLAY = "overlay"
    """For a layer in a directory of its own: a 0/0 character device, `trusted.overlay.opaque=y`."""
    APPLY = "apply"
    """For a layer on top of its mounted parents: what it hides is removed."""
    LITERAL = "literal"
    """For an archive that is no layer: a file of that name, like any other."""


class Limits:
    """Bounds of one layer; over one of them it is refused with `InvalidArgument`.

    `total_bytes` bounds the decompressed tar, and so do the sizes of all files together, holes counted. Above
    `ratio_from_bytes` the tar may be no more than `ratio` times as large as the blob: gzip alone makes 1:1032 of
    zeros, so small layers of honest zeros must pass. `entries` bounds the tar's entries. `told_bytes` bounds what
    must be told of the layer besides: the paths of directories that it has no entry for, of which one name may imply
    two thousand, and apart from them the extended attributes that are set from outside.
    """

    __slots__ = ("entries", "ratio", "ratio_from_bytes", "told_bytes", "total_bytes")

    def __init__(
        self,
        *,
        total_bytes: int = 1 << 40,
        ratio: int = 200,
        ratio_from_bytes: int = 8 << 30,
        entries: int = 4_000_000,
        told_bytes: int = 8 << 20,
    ) -> None:
        self.total_bytes = total_bytes
        self.ratio = ratio
        self.ratio_from_bytes = ratio_from_bytes
        self.entries = entries
        self.told_bytes = told_bytes

    def as_dict(self) -> dict[str, int]:
        """The bounds as keyword arguments for another `Limits`."""
        return {name: getattr(self, name) for name in self.__slots__}
