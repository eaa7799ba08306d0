"""Written tars, read back by our own reader and by the standard library's."""

import io
import os
import tarfile
import tempfile
from collections.abc import Callable

import pytest

from sampan.images.layer import tar
from sampan.images.layer.limits import Limits
from sampan.images.layer.tar import Header, TarReader
from sampan.images.layer.tar_writer import Entry, TarWriter, pax_time


def written(write: Callable[[TarWriter], None]) -> bytes:
    with tempfile.TemporaryFile() as output:
        writer = TarWriter(output.fileno())
        write(writer)
        writer.close()
        output.seek(0)
        return output.read()


def read(content: bytes) -> Header:
    [header] = TarReader(iter([content]), Limits())
    return header


@pytest.mark.parametrize(
    "entry",
    [
        Entry(b"plain", tar.REGULAR, mode=0o4755, uid=7, gid=8, mtime_ns=10**18),
        Entry(b"d/", tar.DIRECTORY, mode=0o1777),
        Entry(b"link", tar.SYMLINK, linkname=b"to/" + b"far" * 100),
        Entry(b"hard", tar.LINK, linkname=b"plain"),
        Entry(b"device", tar.CHAR, device=(259, 70000)),
        Entry(b"long/" * 80 + b"name", tar.REGULAR),
        Entry(b"\xff\xfe", tar.REGULAR),
        Entry("ü/é".encode(), tar.REGULAR, linkname=b""),
        Entry(b"owner", tar.REGULAR, uid=3_000_000_000, gid=2**21),
        Entry(b"exact", tar.REGULAR, mtime_ns=1_234_567_890_123_456_789),
        Entry(b"before", tar.REGULAR, mtime_ns=-1_500_000_000),
        Entry(b"noted", tar.REGULAR, xattrs={b"user.note": b"\xff\0\n="}),
    ],
    ids=lambda entry: repr(entry.name[:10]),
)
def test_an_entry_is_read_as_it_was_written(entry: Entry) -> None:
    header = read(written(lambda writer: writer.add(entry)))
    for field in ("name", "kind", "mode", "uid", "gid", "mtime_ns", "linkname"):
        assert getattr(header, field) == getattr(entry, field), field
    assert header.device == entry.device
    assert (header.xattrs or {}) == entry.xattrs


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 64 << 10, (64 << 10) + 1, 3_000_001])
def test_content_comes_whole_whatever_its_size(size: int) -> None:
    content = os.urandom(size)
    with tempfile.TemporaryFile() as source:
        source.write(content)
        source.flush()
        archive = written(lambda writer: writer.add_file(Entry(b"f", tar.REGULAR, size=size), source.fileno()))
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        [member] = found
        file = found.extractfile(member)
        assert file is not None
        assert file.read() == content


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_a_file_that_has_become_shorter_is_filled_up_with_zeros(size: int) -> None:
    with tempfile.TemporaryFile() as source:
        source.write(b"short")
        source.flush()
        archive = written(lambda writer: writer.add_file(Entry(b"f", tar.REGULAR, size=size), source.fileno()))
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        file = found.extractfile("f")
        assert file is not None
        assert file.read() == b"short".ljust(size, b"\0")


def test_only_the_segments_of_a_sparse_file_are_in_the_archive() -> None:
    size, segments = 1 << 30, [(0, 5), (1 << 20, 3)]
    with tempfile.TemporaryFile() as source:
        os.pwrite(source.fileno(), b"first", 0)
        os.pwrite(source.fileno(), b"2nd", 1 << 20)
        entry = Entry(b"d/sparse", tar.REGULAR, size=size)
        archive = written(lambda writer: writer.add_file(entry, source.fileno(), segments))
    assert len(archive) < 8192
    header = read(archive)
    assert (header.name, header.size, header.segments) == (b"d/sparse", size, segments)


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [(0, b"0"), (10**9, b"1"), (1_500_000_000, b"1.5"), (1, b"0.000000001"), (-1_500_000_000, b"-1.5")],
)
def test_times_are_decimal_numbers(time_ns: int, text: bytes) -> None:
    assert pax_time(time_ns) == text
