"""Limits beyond which a layer is considered a decompression bomb."""

from __future__ import annotations

import enum


class WhiteoutFormat(enum.StrEnum):
    """How a whiteout in a layer is written to disk."""

    OVERLAY = "overlay"
    """For a layer in its own directory: a 0/0 character device, `trusted.overlay.opaque=y`."""
    APPLY = "apply"
    """For a layer on top of its mounted parents: what it hides is removed."""
    LITERAL = "literal"
    """For an archive that is not a layer: an ordinary file of that name."""


class Limits:
    """Limits for one layer; if it exceeds one of them, it is refused with `InvalidArgument`.

    `total_bytes` limits the decompressed tar, and also the total size of all files including holes. Above
    `ratio_from_bytes`, the tar may be at most `ratio` times as large as the blob: gzip alone compresses zeros at
    1032:1, so small layers of legitimate zeros must pass. `entries` limits the number of the tar's entries.
    `told_bytes` limits what is reported in addition: the paths of directories without an entry, of which one name may
    imply two thousand, and separately the extended attributes that are set from outside.
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
        """The limits as keyword arguments for another `Limits`."""
        return {name: getattr(self, name) for name in self.__slots__}
