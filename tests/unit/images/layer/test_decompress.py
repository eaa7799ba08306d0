import bz2
import gzip
import lzma
import os
import sys
from collections.abc import Callable

import pytest

from sampan.errdefs import DataLoss
from sampan.images.layer.decompress import BLOCK_BYTES, decompress, sniff
from tests.unit.images.layer.building import in_blocks

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENT = os.urandom(300_000) + bytes(3_000_000) + os.urandom(1000)
SKIPPABLE = b"\x53\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": lambda content: zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1}),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def decompressed(blob: bytes, chunk: int = 64 << 10) -> tuple[str | None, bytes]:
    compression, chunks = sniff(in_blocks(blob, chunk))
    return compression, b"".join(decompress(compression, chunks))


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("chunk", [1 << 10, 64 << 10, 1 << 24])
def test_a_blob_is_decompressed_whatever_the_size_of_its_chunks(name: str, chunk: int) -> None:
    assert decompressed(COMPRESS[name](CONTENT), chunk) == (name, CONTENT)


@pytest.mark.parametrize("name", COMPRESS)
def test_a_blob_that_comes_byte_by_byte_is_recognised(name: str) -> None:
    assert decompressed(COMPRESS[name](b"content"), 1) == (name, b"content")


@pytest.mark.parametrize("name", COMPRESS)
def test_members_behind_each_other_are_one_stream(name: str) -> None:
    compress = COMPRESS[name]
    blob = compress(CONTENT) + compress(b"") + compress(b"tail")
    for chunk in (1, 7, 1000, 1 << 24) if len(blob) < 10_000 else (1000, 1 << 24):
        assert decompressed(blob, chunk) == (name, CONTENT + b"tail")


def test_skippable_frames_of_zstd_are_skipped_wherever_they_are() -> None:
    frame = zstd.compress(CONTENT)
    assert decompressed(SKIPPABLE + frame + SKIPPABLE + frame + SKIPPABLE) == ("zstd", CONTENT * 2)


def test_a_blob_that_is_not_compressed_stays_as_it_is() -> None:
    assert decompressed(b"plain" * 1000) == (None, b"plain" * 1000)
    assert decompressed(b"x") == (None, b"x")
    assert decompressed(b"") == (None, b"")


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_blob_that_is_cut_off_is_data_loss(name: str, kept: float) -> None:
    blob = COMPRESS[name](CONTENT)
    with pytest.raises(DataLoss, match=name):
        decompressed(blob[: int(len(blob) * kept)])


@pytest.mark.parametrize("name", COMPRESS)
def test_a_blob_with_a_flipped_bit_is_data_loss(name: str) -> None:
    blob = bytearray(COMPRESS[name](CONTENT))
    blob[len(blob) // 2] ^= 0x40
    with pytest.raises(DataLoss, match=name):
        decompressed(bytes(blob))


@pytest.mark.parametrize("name", COMPRESS)
def test_garbage_behind_the_compressed_data_is_data_loss(name: str) -> None:
    with pytest.raises(DataLoss, match="something else behind"):
        decompressed(COMPRESS[name](CONTENT) + b"garbage")


@pytest.mark.parametrize("name", COMPRESS)
def test_a_bomb_comes_in_small_blocks(name: str) -> None:
    compression, chunks = sniff(iter([COMPRESS[name](bytes(64 << 20))]))
    assert max(len(block) for block in decompress(compression, chunks)) <= BLOCK_BYTES
