"""The overlay mount options of this driver, each chosen (kernel Documentation/filesystems/overlayfs.rst)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

ALWAYS = (
    # One lower layer serves many containers, and a layer may be copied or restored: index=on would bind lower and
    # upper directories to each other by file handle, and refuse the mount after that.
    "index=off",
    # An upper layer becomes an image's layer by commit, and must then mean the same over any parent. A redirect or
    # a metadata-only copy refers to the layer that was below. `nofollow` also keeps a hostile layer's
    # `trusted.overlay.redirect` from naming files elsewhere. The price: rename(2) of a directory of the image
    # answers EXDEV, as under Docker, and mv(1) copies.
    "redirect_dir=nofollow",
    "metacopy=off",
    # All layers lie on one file system, so that the inode numbers of the layers are unique as they are. Folding the
    # number of a layer into them, which the kernel may do by default, could only overflow (xino, same document).
    "xino=off",
)
# Never `volatile`: it leaves out every fsync(2), so that a database in a container lies about its data.


def writable(upper: Path, work: Path, lowers: Sequence[Path]) -> tuple[str, ...]:
    """`upper` over `lowers`, topmost first."""
    return (*ALWAYS, f"lowerdir={_joined(lowers)}", f"upperdir={upper}", f"workdir={work}")


def read_only(lowers: Sequence[Path]) -> tuple[str, ...]:
    """At least two `lowers`, topmost first: overlayfs takes no fewer without an upper."""
    return ("ro", *ALWAYS, f"lowerdir={_joined(lowers)}")


def _joined(lowers: Sequence[Path]) -> str:
    return ":".join(map(str, lowers))
