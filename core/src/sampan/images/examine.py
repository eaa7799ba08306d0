"""Examines a blob: its actual digest, and the diff ID of the tar in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from sampan.digest import Digest
from sampan.errdefs import DataLoss, InvalidArgument
from sampan.images.layer.limits import Limits
from sampan.images.layer.pipeline import unhashed_blocks

_PIECE_BYTES = 1 << 20


class _Hash(Protocol):
    def update(self, content: bytes, /) -> None: ...


@dataclass(frozen=True)
class Examined:
    """`diff_id` is `None` if the blob can't be decompressed, or is a decompression bomb."""

    digest: Digest
    diff_id: Digest | None


def digest_of(blob: Path, algorithm: str) -> Digest:
    """The digest of the file's content. Blocks; raises `OSError`."""
    with blob.open("rb") as file:
        return Digest(f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}")


def examine(blob: Path, algorithm: str) -> Examined:
    """Read a layer's blob once. Blocks as long as decompression takes; raises `OSError`."""
    whole, tar = hashlib.new(algorithm), hashlib.sha256()
    with blob.open("rb", buffering=0) as file:
        pieces = _pieces(file, whole)
        is_sound = True
        try:
            for block in unhashed_blocks(pieces, Limits()):
                tar.update(block)
        except (DataLoss, InvalidArgument):
            is_sound = False
        for _ in pieces:  # what follows the compressed data, or the place where it is corrupt
            pass
    diff_id = Digest(f"sha256:{tar.hexdigest()}") if is_sound else None
    return Examined(Digest(f"{algorithm}:{whole.hexdigest()}"), diff_id)


def _pieces(file: BinaryIO, whole: _Hash) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        whole.update(piece)
        yield piece
