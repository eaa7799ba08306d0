import io
import tarfile

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sampan.errdefs import DataLoss, InvalidArgument, SampanError
from sampan.images.layer import tar as reading
from sampan.images.layer.limits import Limits
from sampan.images.layer.tar import Header, TarReader, parse_records
from tests.unit.images.layer.building import (
    block,
    directory,
    entry,
    hard_link,
    in_blocks,
    octal,
    padded,
    pax,
    records,
    symlink,
    tar,
    with_tarfile,
)


def read(content: bytes, chunk: int = 1 << 20, limits: Limits | None = None) -> list[tuple[Header, bytes]]:
    reader = TarReader(in_blocks(content, chunk), limits or Limits())
    entries = []
    for header in reader:
        body = reader.stream.take(header.stored)
        reader.consumed(header.stored)
        entries.append((header, body))
    return entries


def only(content: bytes) -> Header:
    ((header, _),) = read(content)
    return header


@pytest.mark.parametrize("chunk", [1, 100, 512, 1000, 1 << 20])
def test_entries_come_with_their_content_whatever_the_size_of_blocks(chunk: int) -> None:
    content = tar(entry(b"a", b"1" * 1000), directory(b"d/"), entry(b"d/b", b""), entry(b"d/c", b"3" * 512))
    assert [(header.name, body) for header, body in read(content, chunk)] == [
        (b"a", b"1" * 1000),
        (b"d/", b""),
        (b"d/b", b""),
        (b"d/c", b"3" * 512),
    ]


def test_content_that_nobody_read_is_skipped() -> None:
    content = tar(entry(b"a", b"1" * 5000), entry(b"b", b"2"))
    assert [header.name for header in TarReader(in_blocks(content, 700), Limits())] == [b"a", b"b"]


def test_fields_are_read() -> None:
    header = only(tar(block(b"x", b"3", mode=0o4755, uid=12, gid=34, mtime=56, device=(7, 8))))
    assert (header.kind, header.mode, header.uid, header.gid) == (reading.CHAR, 0o4755, 12, 34)
    assert (header.mtime_ns, header.device) == (56_000_000_000, (7, 8))


def test_links_name_their_targets() -> None:
    (link, _), (hard, _) = read(tar(symlink(b"s", b"../t"), hard_link(b"h", b"t")))
    assert (link.kind, link.linkname) == (reading.SYMLINK, b"../t")
    assert (hard.kind, hard.linkname) == (reading.LINK, b"t")


def test_a_size_in_the_header_of_a_link_means_nothing() -> None:
    content = tar(block(b"h", b"1", 1000, linkname=b"a"), entry(b"b", b"2"))
    assert [header.name for header, _ in read(content)] == [b"h", b"b"]


def test_a_prefix_goes_before_the_name_in_ustar_only() -> None:
    assert only(tar(block(b"name", prefix=b"pre/fix"))).name == b"pre/fix/name"
    assert only(tar(block(b"name", prefix=b"pre/fix", magic=b"ustar  \0"))).name == b"name"


def test_names_of_gnu_and_pax_are_long() -> None:
    name = b"d/" * 1000 + b"n"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        header = tarfile.TarInfo(name.decode())
        header.type, header.linkname = tarfile.SYMTYPE, "t" * 300
        assert only(with_tarfile(form, (header, b""))).name == name
        assert only(with_tarfile(form, (header, b""))).linkname == b"t" * 300


def test_names_need_not_be_utf_8() -> None:
    assert only(tar(entry(b"\xff\xfe"))).name == b"\xff\xfe"
    assert only(tar(pax((b"path", b"\xff/\xfe")), entry(b"x"))).name == b"\xff/\xfe"


def test_numbers_may_be_base_256_negative_or_filled_with_spaces() -> None:
    big = (1 << 40).to_bytes(11, "big")
    assert only(tar(block(b"x", b"5", uid=b"\x80\0\0\0\xff\xff\xff\xfe", mtime=b"\x80" + big))).uid == 0xFFFFFFFE
    assert only(tar(block(b"x", mtime=b"\xff" * 12))).mtime_ns == -1_000_000_000
    assert only(tar(block(b"x", mode=b"   644 \0"))).mode == 0o644


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        (b"1", 1_000_000_000),
        (b"1.5", 1_500_000_000),
        (b"1.1234567899", 1_123_456_789),
        (b"-1.5", -1_500_000_000),
        (b"-0.25", -250_000_000),
        (b"99999999999999", 0),
    ],
)
def test_pax_times_have_fractions_and_signs(text: bytes, time_ns: int) -> None:
    assert only(tar(pax((b"mtime", text)), entry(b"x"))).mtime_ns == time_ns


def test_pax_overrides_the_header_and_empty_values_do_not() -> None:
    header = only(
        tar(pax((b"uid", b"4000000000"), (b"gid", b""), (b"size", b"3")), block(b"x", gid=5), padded(b"abc"))
    )
    assert (header.uid, header.gid, header.size) == (4_000_000_000, 5, 3)


def test_extended_attributes_are_bytes() -> None:
    value = b"\0\xff=\n1"
    header = only(tar(pax((b"SCHILY.xattr.user.a", value), (b"comment", b"x")), entry(b"x")))
    assert header.xattrs == {b"user.a": value}


def test_global_headers_are_read_and_ignored() -> None:
    content = tar(pax((b"comment", b"deadbeef"), (b"uid", b"7"), kind=b"g"), entry(b"x"), entry(b"y"))
    assert [(header.name, header.uid) for header, _ in read(content)] == [(b"x", 0), (b"y", 0)]


def test_old_tars_mark_directories_by_a_slash_and_files_by_a_zero() -> None:
    (one, _), (two, _), (three, _) = read(
        tar(entry(b"d/", kind=b"\0"), entry(b"f", b"1", kind=b"\0"), entry(b"c", kind=b"7"))
    )
    assert (one.kind, two.kind, three.kind) == (reading.DIRECTORY, reading.REGULAR, reading.REGULAR)


def old_sparse(segments: list[tuple[int, int]], size: int, content: bytes) -> bytes:
    fields = [octal(offset, 12) + octal(length, 12) for offset, length in segments]
    rest = bytes(41) + b"".join(fields[:4]).ljust(96, b"\0") + (b"\1" if fields[4:] else b"\0") + octal(size, 12)
    blocks = block(b"s", b"S", len(content), magic=b"ustar  \0", rest=rest)
    fields = fields[4:]
    while fields:
        more = b"\1" if fields[21:] else b"\0"
        blocks += (b"".join(fields[:21]).ljust(504, b"\0") + more).ljust(512, b"\0")
        fields = fields[21:]
    return blocks + padded(content)


SEGMENTS = [(4096 * number, 10) for number in range(50)]
CONTENT = bytes(range(250)) * 2
SIZE = 4096 * 60
MAP = b",".join(b"%d,%d" % segment for segment in SEGMENTS)
LINES = b"50\n" + b"".join(b"%d\n%d\n" % segment for segment in SEGMENTS)


@pytest.mark.parametrize(
    "content",
    [
        old_sparse(SEGMENTS, SIZE, CONTENT),
        pax(
            (b"GNU.sparse.size", b"%d" % SIZE),
            (b"GNU.sparse.numblocks", b"50"),
            *((key, b"%d" % number) for pair in SEGMENTS for key, number in zip(
                (b"GNU.sparse.offset", b"GNU.sparse.numbytes"), pair, strict=True)),
        ) + entry(b"s", CONTENT),
        pax((b"GNU.sparse.name", b"s"), (b"GNU.sparse.size", b"%d" % SIZE), (b"GNU.sparse.map", MAP))
        + entry(b"GNUSparseFile.0/s", CONTENT),
        pax(
            (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"s"),
            (b"GNU.sparse.realsize", b"%d" % SIZE),
        ) + entry(b"GNUSparseFile.0/s", padded(LINES) + CONTENT),
    ],
    ids=["old", "0.0", "0.1", "1.0"],
)  # fmt: skip
def test_sparse_files_of_every_form_have_their_segments(content: bytes) -> None:
    (header, body), (after, _) = read(tar(content, entry(b"after")))
    assert (header.name, header.kind, header.size, header.segments) == (b"s", reading.REGULAR, SIZE, SEGMENTS)
    assert body == CONTENT
    assert after.name == b"after"


@pytest.mark.parametrize(
    "segments",
    [[(0, 10), (5, 10)], [(100, 10), (0, 10)], [(0, 1 << 40)], [(0, 5)], [(1 << 62, 20)]],
    ids=["overlap", "disorder", "beyond", "too few", "far beyond"],
)
def test_a_sparse_map_that_does_not_fit_is_refused(segments: list[tuple[int, int]]) -> None:
    text = b",".join(b"%d,%d" % segment for segment in segments)
    content = pax((b"GNU.sparse.size", b"1000"), (b"GNU.sparse.map", text)) + entry(b"s", bytes(20))
    with pytest.raises(InvalidArgument, match="sparse map"):
        read(tar(content))


def test_a_sparse_map_without_end_is_refused() -> None:
    endless = block(b"s", b"S", 0, magic=b"ustar  \0", rest=bytes(137) + b"\1") + (bytes(504) + b"\1" + bytes(7)) * 10
    with pytest.raises(DataLoss):
        read(endless)
    full = octal(0, 12) * 42 + b"\1" + bytes(7)
    with pytest.raises(InvalidArgument, match="too many"):
        read(block(b"s", b"S", 0, magic=b"ustar  \0", rest=bytes(137) + b"\1") + full * 4000)


def test_an_empty_tar_has_no_entries() -> None:
    assert read(b"") == []
    assert read(bytes(1024)) == []
    assert read(bytes(512)) == []


def test_a_tar_may_end_without_zeros_between_two_entries() -> None:
    assert [header.name for header, _ in read(entry(b"a", b"1"))] == [b"a"]


@pytest.mark.parametrize("cut", [1, 511, 513, 1023])
def test_a_tar_that_is_cut_off_is_data_loss(cut: int) -> None:
    with pytest.raises(DataLoss, match="unexpected EOF"):
        read((entry(b"a", b"1" * 400) + entry(b"b", b"2"))[:cut])


def test_a_tar_that_ends_after_an_extended_header_is_data_loss() -> None:
    with pytest.raises(DataLoss):
        read(tar(pax((b"path", b"x"))))


@pytest.mark.parametrize(
    "content",
    [
        b"garbage!" * 100,
        block(b"x")[:148] + b"0000000\0" + block(b"x")[156:],
        block(b"x", uid=b"0x7"),
        block(b"x", size=b"1_0"),
        block(b"x", size=b"\xff" * 12),
        tar(entry(b"PaxHeaders", b"nonsense", b"x"), entry(b"a")),
        tar(entry(b"PaxHeaders", b"5 a=b\n", b"x"), entry(b"a")),
        tar(pax((b"path", b"a\0b")), entry(b"a")),
        tar(pax((b"size", b"-1")), entry(b"a")),
        tar(pax((b"mtime", b"1.x")), entry(b"a")),
        bytes(512) + entry(b"a"),
    ],
)
def test_nonsense_is_an_invalid_header(content: bytes) -> None:
    with pytest.raises(InvalidArgument, match="invalid tar header"):
        read(content)


def test_a_checksum_over_signed_bytes_is_right_too() -> None:
    header = block(b"\xff\xfe")
    signed = sum(byte - 256 if byte > 127 else byte for byte in header[:148] + b" " * 8 + header[156:])
    assert only(header[:148] + b"%06o\0 " % signed + header[156:]).name == b"\xff\xfe"


def test_an_entry_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="m: unhandled tar header type 77"):
        read(tar(entry(b"m", kind=b"M")))


def test_extended_headers_are_bounded_before_they_are_read() -> None:
    for kind in (b"x", b"g", b"L", b"K"):
        with pytest.raises(InvalidArgument, match="larger than 1048576"):
            read(block(b"bomb", kind, 1 << 30))


def test_names_are_bounded() -> None:
    for long in (pax((b"path", b"n" * 4096)), entry(b"././@LongLink", b"n" * 4096 + b"\0", b"L")):
        with pytest.raises(InvalidArgument, match="a name of 4096 bytes is too long"):
            read(tar(long, entry(b"x")))
    assert len(only(tar(pax((b"path", b"n" * 4095)), entry(b"x"))).name) == 4095


def test_entries_and_bytes_are_bounded() -> None:
    with pytest.raises(InvalidArgument, match="more than 2 entries"):
        read(tar(*(entry(b"a") for _ in range(3))), limits=Limits(entries=2))
    with pytest.raises(InvalidArgument, match="a: the layer's files take more than 99 bytes"):
        read(tar(entry(b"a", bytes(100))), limits=Limits(total_bytes=99))


def test_holes_count_as_bytes() -> None:
    content = pax((b"GNU.sparse.size", b"%d" % (1 << 62)), (b"GNU.sparse.map", b"")) + entry(b"s")
    with pytest.raises(InvalidArgument, match="take more than"):
        read(tar(content))


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=20), st.binary(max_size=200)), max_size=8))
def test_records_are_read_as_written(pairs: list[tuple[bytes, bytes]]) -> None:
    pairs = [(key.replace(b"=", b"_").replace(b"GNU.sparse.", b"-"), value) for key, value in pairs]
    assert parse_records(records(*pairs)) == dict(pairs)


SEED = tar(
    pax((b"path", b"p/q"), (b"mtime", b"-1.5"), (b"SCHILY.xattr.user.a", b"1")),
    entry(b"x", b"1" * 600),
    entry(b"././@LongLink", b"n" * 200 + b"\0", b"L"),
    entry(b"n", b"2"),
    old_sparse(SEGMENTS[:6], SIZE, CONTENT[:60]),
    pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"%d" % SIZE)),
    entry(b"s", padded(LINES) + CONTENT),
)
SMALL = Limits(total_bytes=1 << 24, entries=1000)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), max_size=12),
    st.integers(0, len(SEED)),
    st.integers(1, 2000),
)
@example([], len(SEED), 512)
def test_a_damaged_tar_is_read_or_refused_and_nothing_else(
    damage: list[tuple[int, int]], end: int, chunk: int
) -> None:
    content = bytearray(SEED)
    for position, byte in damage:
        start = position // 512 * 512
        content[position] = byte
        # Usually fix what may be a checksum, so that the damage gets past it.
        header = content[start : start + 148] + b" " * 8 + content[start + 156 : start + 512]
        if position % 3:
            content[start + 148 : start + 156] = b"%06o\0 " % sum(header)
    try:
        read(bytes(content[:end]), chunk, SMALL)
    except SampanError as error:
        assert str(error)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000))
def test_noise_is_refused(content: bytes) -> None:
    try:
        entries = read(content, limits=SMALL)
    except SampanError:
        return
    assert entries == []


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=300)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(names, st.binary(max_size=2000), st.integers(0, 2**31), st.integers(0, 2**40)), max_size=6),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_what_tarfile_writes_is_read_as_tarfile_reads_it(files: list[tuple[str, bytes, int, int]], form: int) -> None:
    headers = []
    for name, content, uid, mtime in files:
        header = tarfile.TarInfo(name)
        header.uid, header.gid, header.mtime = uid, uid + 1, mtime % (1 << 33)
        headers.append((header, content))
    archive = with_tarfile(form, *headers)
    with tarfile.open(fileobj=io.BytesIO(archive)) as theirs:
        expected = [(m.name, m.uid, m.gid, m.mtime) for m in theirs]
    ours = [(h.name.decode(), h.uid, h.gid, h.mtime_ns // 10**9) for h, _ in read(archive)]
    assert ours == expected
    assert [body for _, body in read(archive)] == [content for _, content in headers]
