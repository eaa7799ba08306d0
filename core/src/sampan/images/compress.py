"""Compresses the blob of a layer that was loaded as a bare tar, for registries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from isal import isal_zlib

from sampan.digest import Digest
from sampan.errdefs import DataLoss
from sampan.images.content import Ingest
from sampan.images.layer.decompress import BLOCK_BYTES, decompress, sniff

_LEVEL = 2  # of 0 to 3: ten times as fast as zlib's level 3, and a tenth larger
_GZIP = 31  # window bits for gzip's header (zlib.h, deflateInit2), with time 0 for reproducible output


def compress(blob: Path, into: Ingest, *, diff_id: Digest) -> None:
    """Write the tar in `blob`, however compressed, to `into` as gzip. Blocks.

    Raises `DataLoss` if the tar no longer has the digest `diff_id`, `SystemFailure` if the disk is full.
    """
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
    tar = hashlib.sha256()
    compression, chunks = sniff(_chunks(blob))
    for block in decompress(compression, chunks):
        tar.update(block)
        into.write(compressor.compress(block))
    into.write(compressor.flush())
    if Digest(f"sha256:{tar.hexdigest()}") != diff_id:
        raise DataLoss(f"the blob of layer {diff_id} has changed on the disk")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(BLOCK_BYTES):
            yield chunk
