"""`cp`: which side is which, how a copy is named, and malicious archives."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from sampan.cli.copying.pack import pack
from sampan.cli.copying.paths import Place, local_source, plan, split_argument, split_entry, with_ending
from sampan.cli.copying.unpack import unpack
from sampan.cli.errors import CliError


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("web:/etc", ("web", "/etc")),
        ("web:", ("web", "")),
        ("web:a:b", ("web", "a:b")),
        ("/local:path", ("", "/local:path")),
        ("./local:path", ("", "./local:path")),
        ("local", ("", "local")),
        ("-", ("", "-")),
    ],
)
def test_a_colon_tells_a_container(argument: str, expected: tuple[str, str]) -> None:
    assert split_argument(argument) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a/b", ("/a", "b")), ("/a/b/", ("/a", "b")), ("/a/b/.", ("/a/b", ".")), ("/", ("/", "/")), ("a", (".", "a"))],
)
def test_a_path_has_a_directory_and_a_last_part(path: str, expected: tuple[str, str]) -> None:
    assert split_entry(path) == expected


def test_an_ending_is_kept() -> None:
    assert [with_ending("/a", one) for one in ("a", "a/", "a/.", ".")] == ["/a", "/a/", "/a/.", "/a/."]


@pytest.mark.parametrize(
    ("source", "target", "directory", "names"),
    [
        (Place("/x/f"), Place("/t", is_directory=True), "/t", {"f": "f"}),
        (Place("/x/f"), Place("/t/g"), "/t", {"f": "g"}),
        (Place("/x/f"), Place("/t/g", exists=False), "/t", {"f": "g"}),
        (Place("/x/d", is_directory=True), Place("/t/e", exists=False), "/t", {"d": "e", "d/f": "e/f"}),
        (Place("/x/d/.", is_directory=True), Place("/t/e", exists=False), "/t", {".": "e", "./f": "e/f"}),
        (Place("/", is_directory=True), Place("/t/e", exists=False), "/t", {"/etc": "e/etc"}),
        (Place("/x/real", base="link"), Place("/t/g", exists=False), "/t", {"link": "g"}),
    ],
)
def test_where_a_copy_goes(source: Place, target: Place, directory: str, names: dict[str, str]) -> None:
    found, rename = plan(source, target)
    assert found == directory
    assert {name: rename(name) for name in names} == names


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        (Place("/d", is_directory=True), Place("/t/f"), "cannot copy directory"),
        (Place("/f"), Place("/t/g/", exists=False), "no such directory"),
    ],
)
def test_what_can_not_be(source: Place, target: Place, error: str) -> None:
    with pytest.raises(CliError, match=error):
        plan(source, target)


def test_a_tree_goes_through_an_archive_and_is_the_same(tmp_path: Path) -> None:
    source = tmp_path / "x"
    (source / "deep").mkdir(parents=True)
    (source / "deep/f").write_bytes(b"f" * 100_000)
    (source / "deep/f").chmod(0o751)
    (source / "twin").hardlink_to(source / "deep/f")
    (source / "link").symlink_to("../nowhere")
    os.mkfifo(source / "fifo")
    Path(os.fsdecode(bytes(source) + b"/\xff")).write_text("bytes")
    directory, rename = plan(local_source(str(source), follow=False), Place(f"{tmp_path}/y", exists=False))
    unpack(pack(local_source(str(source), follow=False), rename), directory, lambda name: name)
    copied = tmp_path / "y"
    assert sorted(os.listdir(bytes(copied))) == sorted(os.listdir(bytes(source)))
    assert (copied / "deep/f").read_bytes() == b"f" * 100_000
    assert (copied / "deep/f").stat().st_mode == (source / "deep/f").stat().st_mode
    assert (copied / "twin").samefile(copied / "deep/f")
    assert (copied / "link").readlink() == Path("../nowhere")
    assert (copied / "fifo").is_fifo()


def archive(*members: tuple[str, bytes, str]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as written:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            written.addfile(member)
    return output.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [("../out", tarfile.REGTYPE, "")],
        [("a/../../out", tarfile.REGTYPE, "")],
        [("way", tarfile.SYMTYPE, ".."), ("way/out", tarfile.REGTYPE, "")],
        [("way", tarfile.SYMTYPE, "{root}"), ("way/out", tarfile.REGTYPE, "")],
        [("twin", tarfile.LNKTYPE, "../canary")],
        [("way", tarfile.SYMTYPE, ".."), ("twin", tarfile.LNKTYPE, "way/canary")],
    ],
)
def test_an_archive_writes_nowhere_else(tmp_path: Path, members: list[tuple[str, bytes, str]]) -> None:
    (tmp_path / "canary").write_text("sings")
    (tmp_path / "in").mkdir()
    content = archive(*((name, kind, link.format(root=tmp_path)) for name, kind, link in members))
    with pytest.raises(CliError):
        unpack(iter([content]), str(tmp_path / "in"), lambda name: name)
    assert sorted(os.listdir(tmp_path)) == ["canary", "in"]
    assert (tmp_path / "canary").stat().st_nlink == 1


def test_directories_and_files_do_not_replace_each_other(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").touch()
    for member, error in (
        (("d", tarfile.REGTYPE, ""), "cannot overwrite directory"),
        (("f", tarfile.DIRTYPE, ""), "cannot overwrite non-directory"),
    ):
        with pytest.raises(CliError, match=error):
            unpack(iter([archive(member)]), str(tmp_path), lambda name: name)


def test_an_archive_that_breaks_off_is_told_of(tmp_path: Path) -> None:
    content = archive(("f", tarfile.REGTYPE, ""))
    with pytest.raises(CliError, match="the archive is broken"):
        unpack(iter([content[:300]]), str(tmp_path), lambda name: name)
