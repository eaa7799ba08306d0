"""The overlay mount options of this driver, each set on purpose (kernel Documentation/filesystems/overlayfs.rst)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

ALWAYS = (
    # One lower layer serves many containers, and a layer may be copied or restored: index=on would bind lower and
    # upper directories to each other by file handle, and refuse the mount after that.
    "index=off",
    # Commit turns an upper layer into an image's layer, which must then mean the same on top of any parent, while a
    # redirect or a metadata-only copy refers to the layer that was below. `nofollow` also keeps a hostile layer's
    # `trusted.overlay.redirect` from naming files elsewhere. The price: rename(2) of a directory of the image fails
    # with EXDEV, as under Docker, and mv(1) copies.
    "redirect_dir=nofollow",
    "metacopy=off",
    # All layers are on one file system, so their inode numbers are unique as they are. Encoding the layer's number
    # into them, which the kernel may do by default, could only overflow (xino, same document).
    "xino=off",
)
# Never `volatile`: it omits every fsync(2), so a database in a container could lose data that it reported as written.


def writable(upper: Path, work: Path, lowers: Sequence[Path]) -> tuple[str, ...]:
    """`upper` over `lowers`, topmost first."""
    return (*ALWAYS, f"lowerdir={_joined(lowers)}", f"upperdir={upper}", f"workdir={work}")


def read_only(lowers: Sequence[Path]) -> tuple[str, ...]:
    """At least two `lowers`, topmost first: without an upper, overlayfs accepts no fewer."""
    return ("ro", *ALWAYS, f"lowerdir={_joined(lowers)}")


def _joined(lowers: Sequence[Path]) -> str:
    return ":".join(map(str, lowers))
